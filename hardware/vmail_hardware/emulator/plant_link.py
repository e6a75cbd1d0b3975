"""Between servo registers and the plant: ticks to joint angles and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.control_table import RAD_PER_TICK, RAD_S_PER_UNIT, VOLT_PER_UNIT
from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.plant import Plant
from vmail_hardware.emulator.servo import EmulatedServo

_MEASURED_ADDRESS = 120
_MEASURED = np.dtype(  # the registers from there on
    [
        ("realtime_tick", "<u2"),
        ("moving", "u1"),
        ("moving_status", "u1"),
        ("present_pwm", "<i2"),
        ("present_current", "<i2"),
        ("present_velocity", "<i4"),
        ("present_position", "<i4"),
        ("velocity_trajectory", "<i4"),
        ("position_trajectory", "<i4"),
        ("present_input_voltage", "<u2"),
        ("present_temperature", "u1"),
    ]
)
_MOST_CURRENT = 32767
_ROOM_TEMPERATURE_C = 30
_STALL_MA, _STALL_RAD = 2300.0, 0.3  # current of a stuck servo, reached so far from its goal (XM430-W210 at 12 V)


class PlantLink:
    """Keeps the servos' measured registers and the plant's goals equal to each other.

    Goals reach the plant in the position modes (3, 4, 5). In any other mode a servo's joint is limp: a plant
    takes positions only.
    """

    def __init__(self, spec: RobotSpec, servos: list[EmulatedServo], plant: Plant, faults: Faults) -> None:
        """Link N servos to the N joints of the plant, in the spec's order."""
        self._servos = servos
        self._plant = plant
        self._faults = faults
        self._stuck: dict[int, float] = {}  # servo id to the joint angle (rad) that it does not leave
        self._zero_rad, self._direction = spec.zero_rad, spec.direction
        self._zero_ticks = spec.zero_rad / RAD_PER_TICK
        units = np.array([[RAD_PER_TICK], [RAD_S_PER_UNIT], [servos[0].model.current_unit_ma]])
        self._per_unit = spec.direction / units  # (3, N): of position, velocity and current
        self._nominal_v = servos[0].model.nominal_voltage_v
        self._registers = np.zeros(len(servos), _MEASURED)
        self._sent: tuple[list[tuple[int, float]], dict[int, float]] | None = None

    def measure(self, clock_ms: int) -> None:
        """Write what the plant does now into the registers 120 to 146."""
        # All servos at once, for a host waits for it: real servos measure beforehand.
        registers, hot, weak = self._registers, self._faults.temperatures_c, self._faults.voltages_v
        measured = np.array((self._plant.positions(), self._plant.velocities(), self._currents_ma()))
        measured *= self._per_unit
        measured[0] += self._zero_ticks + self._origins()
        position, velocity, current = np.rint(measured)
        registers["realtime_tick"] = clock_ms & 0x7FFF
        registers["moving"] = np.abs(velocity) > [servo.get("moving_threshold") for servo in self._servos]
        registers["present_current"] = np.minimum(np.maximum(current, -_MOST_CURRENT), _MOST_CURRENT)
        registers["present_velocity"] = velocity
        registers["present_position"] = position
        registers["position_trajectory"] = [servo.get("goal_position") for servo in self._servos]
        registers["present_input_voltage"] = self._each(weak, self._nominal_v, 1.0 / VOLT_PER_UNIT)
        registers["present_temperature"] = self._each(hot, _ROOM_TEMPERATURE_C, 1.0)
        content, size = registers.tobytes(), _MEASURED.itemsize
        for index, servo in enumerate(self._servos):
            servo.set_bytes(_MEASURED_ADDRESS, content[index * size : (index + 1) * size])

    def _each(self, found: Mapping[int, float], usual: float, per_unit: float) -> list[int] | int:
        """A register of every servo, from values by servo id; one number for all where none differs."""
        if not found:
            return round(usual * per_unit)
        return [round(found.get(servo.servo_id, usual) * per_unit) for servo in self._servos]

    def move(self) -> None:
        """Hand goals and torque to the plant, if they changed."""
        self._hold_stuck_ones()
        told = [(servo.get("goal_position"), servo.strength) for servo in self._servos]
        if (told, self._stuck) == self._sent:
            return
        self._sent = (told, dict(self._stuck))
        goals, strength = self._goals_rad(), np.array([servo.strength for servo in self._servos])
        for index, servo in enumerate(self._servos):
            if servo.servo_id in self._stuck:
                goals[index], strength[index] = self._stuck[servo.servo_id], 1.0
        self._plant.set_goals(goals, strength)

    @property
    def stuck_ids(self) -> set[int]:
        """Servos whose joint does not move."""
        return set(self._stuck)

    def _hold_stuck_ones(self) -> None:
        if set(self._stuck) == self._faults.stuck_ids:
            return
        present = {servo.servo_id: angle for servo, angle in zip(self._servos, self._plant.positions(), strict=True)}
        self._stuck = {i: self._stuck.get(i, float(present[i])) for i in self._faults.stuck_ids if i in present}

    def _goals_rad(self) -> np.ndarray:
        ticks = np.array([servo.get("goal_position") for servo in self._servos], np.float64) - self._origins()
        return (ticks * RAD_PER_TICK - self._zero_rad) * self._direction

    def _currents_ma(self) -> np.ndarray:
        """Of the plant; a servo that is stuck pushes by how far it is from its goal."""
        if not self._stuck:
            return self._plant.currents_ma()
        currents = np.array(self._plant.currents_ma(), np.float64)
        for index, servo in enumerate(self._servos):
            if servo.servo_id in self._stuck:
                missing = self._goals_rad()[index] - self._stuck[servo.servo_id]
                push = _STALL_MA * np.clip(missing / _STALL_RAD, -1.0, 1.0)
                currents[index] = push if servo.holds_position else 0.0
        return currents

    def stop_at_present(self, servos: Iterable[EmulatedServo]) -> None:
        """Set these servos' goals to where they are now, so that nothing pulls."""
        ticks = dict(zip(self._servos, self._ticks(), strict=True))
        for servo in servos:
            servo.set("goal_position", ticks[servo])
        self.move()

    def _ticks(self) -> list[int]:
        return _whole(self._zero_ticks + self._origins() + self._per_unit[0] * self._plant.positions())

    def _origins(self) -> list[int]:
        return [servo.origin for servo in self._servos]


def _whole(values: np.ndarray) -> list[Any]:
    """The nearest whole numbers, in lists as the array is."""
    return np.rint(values).astype(int).tolist()
