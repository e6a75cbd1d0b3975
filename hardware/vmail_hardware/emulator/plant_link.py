"""Between servo registers and the plant: ticks to joint angles and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Set

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.control_table import RAD_PER_TICK, RAD_S_PER_UNIT, VOLT_PER_UNIT
from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.plant import Plant
from vmail_hardware.emulator.servo import EmulatedServo

_PRESENT_ADDRESS, _PRESENT = 126, struct.Struct("<hii")  # present current, velocity, position
_PRESENT_END = _PRESENT_ADDRESS + _PRESENT.size
_BEFORE_ADDRESS, _BEFORE = 120, struct.Struct("<HBBh")  # realtime tick, moving, moving status, present PWM
_BEHIND = struct.Struct("<iiHB")  # velocity and position trajectory, input voltage, temperature
_MOST_CURRENT = 32767
_ROOM_TEMPERATURE_C = 30
_FRESH_S = 0.002  # so long what was measured ahead holds
_STALL_MA, _STALL_RAD = 2300.0, 0.3  # current of a stuck servo, reached so far from its goal (XM430-W210 at 12 V)


class PlantLink:
    """Keeps the servos' measured registers and the plant's goals equal to each other.

    Goals reach the plant in the position modes (3, 4, 5). In any other mode a servo's joint is limp: a plant
    takes positions only. A host waits for what is measured here, so it goes joint by joint, without numpy, which takes
    longer for so few.
    """

    def __init__(self, spec: RobotSpec, servos: list[EmulatedServo], plant: Plant, faults: Faults) -> None:
        """Link N servos to the N joints of the plant, in the spec's order."""
        self._servos = servos
        self._plant = plant
        self._faults = faults
        self._stuck: dict[int, float] = {}  # servo id to the joint angle (rad) that it does not leave
        self._zero_rad, self._direction = spec.zero_rad, spec.direction
        self._zero_ticks: list[float] = (spec.zero_rad / RAD_PER_TICK).tolist()
        units = np.array([RAD_PER_TICK, RAD_S_PER_UNIT, servos[0].model.current_unit_ma])
        self._per_unit: list[list[float]] = (spec.direction[:, None] / units).tolist()  # position, velocity, current
        self._nominal_v = servos[0].model.nominal_voltage_v
        self._sent: tuple[list[tuple[int, float]], dict[int, float]] | None = None
        self._ahead_at, self._ahead_pushes = -math.inf, 0

    def measure(self, clock_ms: int, first: int = _BEFORE_ADDRESS, end: int = _PRESENT_END + _BEHIND.size) -> None:
        """Write what the plant does now into the registers 120 to 146.

        Args:
            clock_ms: of a clock that may have begun at any time.
            first, end: what is read, from the first address to the one behind the last; others may stay as they are.
        """
        positions, velocities, currents = self._plant.measured()
        if self._stuck:
            currents = self._with_stuck(currents)
        others = first < _PRESENT_ADDRESS or end > _PRESENT_END
        joints = zip(self._servos, self._zero_ticks, self._per_unit, positions, velocities, currents, strict=True)
        for servo, zero, (per_rad, per_rad_s, per_ma), position, velocity, current in joints:
            units = round(current * per_ma)
            if not -_MOST_CURRENT <= units <= _MOST_CURRENT:
                units = int(math.copysign(_MOST_CURRENT, units))
            speed, ticks = round(velocity * per_rad_s), round(position * per_rad + (zero + servo.origin))
            servo.set_bytes(_PRESENT_ADDRESS, _PRESENT.pack(units, speed, ticks))
            if others:
                self._measure_others(servo, clock_ms, speed)

    def measure_ahead(self, now: float) -> None:
        """Measure what a host asks for in every cycle, shortly before it does; `now` is a clock's, in seconds."""
        self._ahead_pushes = self._plant.pushes
        self.measure(0, _PRESENT_ADDRESS, _PRESENT_END)
        self._ahead_at = now

    def forget_ahead(self) -> None:
        """Measure anew what is asked for from now on."""
        self._ahead_at = -math.inf

    def is_fresh(self, now: float, first: int, end: int) -> bool:
        """Whether these registers were measured ahead, a moment ago, and nothing was written or pushed since.

        The plant may have moved, as it may between a real servo's own measurement and the question.
        """
        recent = now - self._ahead_at <= _FRESH_S and self._ahead_pushes == self._plant.pushes
        return recent and first >= _PRESENT_ADDRESS and end <= _PRESENT_END

    def _measure_others(self, servo: EmulatedServo, clock_ms: int, speed: int) -> None:
        moving = abs(speed) > servo.get("moving_threshold")
        servo.set_bytes(_BEFORE_ADDRESS, _BEFORE.pack(clock_ms & 0x7FFF, moving, 0, 0))
        voltage = round(self._faults.voltages_v.get(servo.servo_id, self._nominal_v) / VOLT_PER_UNIT)
        temperature = round(self._faults.temperatures_c.get(servo.servo_id, _ROOM_TEMPERATURE_C))
        servo.set_bytes(_PRESENT_END, _BEHIND.pack(0, servo.get("goal_position"), voltage, temperature))

    def move(self) -> None:
        """Hand goals and torque to the plant, if they changed."""
        self.forget_ahead()
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
    def stuck_ids(self) -> Set[int]:
        """Servos whose joint does not move."""
        return self._stuck.keys()

    def _hold_stuck_ones(self) -> None:
        if self._stuck.keys() == self._faults.stuck_ids:
            return
        positions, _, _ = self._plant.measured()
        present = {servo.servo_id: angle for servo, angle in zip(self._servos, positions, strict=True)}
        self._stuck = {i: self._stuck.get(i, present[i]) for i in self._faults.stuck_ids if i in present}

    def _goals_rad(self) -> np.ndarray:
        ticks = np.array([servo.get("goal_position") - servo.origin for servo in self._servos], np.float64)
        return (ticks * RAD_PER_TICK - self._zero_rad) * self._direction

    def _with_stuck(self, currents_ma: list[float]) -> list[float]:
        """The plant's currents; a servo that is stuck pushes by how far it is from its goal."""
        currents, goals = list(currents_ma), self._goals_rad()
        for index, servo in enumerate(self._servos):
            if servo.servo_id in self._stuck:
                missing = float(goals[index]) - self._stuck[servo.servo_id]
                push = _STALL_MA * min(max(missing / _STALL_RAD, -1.0), 1.0)
                currents[index] = push if servo.holds_position else 0.0
        return currents

    def stop_at_present(self, servos: Iterable[EmulatedServo]) -> None:
        """Set these servos' goals to where they are now, so that nothing pulls."""
        self.measure(0, _PRESENT_ADDRESS, _PRESENT_END)  # which shows no clock
        for servo in servos:
            servo.set("goal_position", servo.get("present_position"))
        self.move()
