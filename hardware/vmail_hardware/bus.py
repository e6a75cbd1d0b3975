"""The Dynamixel bus of a robot: joint angles in, joint angles out."""

from __future__ import annotations

import math
import struct
import time

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware import bus_checks
from vmail_hardware.bus_errors import BusError, BusOpenError, BusReadError, BusWriteError
from vmail_hardware.control_table import (
    RAD_PER_TICK,
    RAD_S_PER_UNIT,
    VOLT_PER_UNIT,
    WATCHDOG_UNIT_S,
    hardware_error_names,
)
from vmail_hardware.framing import ALERT_BIT
from vmail_hardware.joint_state import JointState, ServoHealth
from vmail_hardware.sdk_link import SdkLink
from vmail_hardware.servo_group import ServoGroup
from vmail_hardware.torque_on import switch_on
from vmail_hardware.torque_ramp import ramp, wake

_HEAD = 2  # of an answer: error byte, id
_PRESENT = "hii"  # present current, velocity, position, from 126
_PRESENT_SIZE = 10
_SUPPLY = struct.Struct("<HB")  # present input voltage, temperature: 3 bytes from 144
_SUPPLY_OFFSET = 144 - 126
_WIDE = _SUPPLY_OFFSET + _SUPPLY.size  # bytes of an answer with both
_LENGTHS = 12  # of answers: from 126 up to 135, and up to 146
_FEW = 3  # servos that can be asked in six orders or fewer
_SOUND_READS = 200  # after which no late answer is on its way any more
_PLAIN_READS = 100  # that must succeed after any that failed
_CLOSE_PATIENCE_S = 0.5
_CLOSE_PAUSE_S = 0.02


class DynamixelBus:
    """N servos on one port, read and written together through the Dynamixel SDK.

    One thread may use it; `close` may also be called from a signal handler of that thread. Nothing here limits
    goals: that is the guard's job.
    """

    def __init__(
        self,
        port: str,
        spec: RobotSpec,
        *,
        reply_timeout_ms: float = 4.0,
        watchdog_s: float = 0.5,
        fast_reads: bool = True,
    ) -> None:
        """Describe the bus; nothing is opened.

        Args:
            port: device file, e.g. /dev/dynamixel-FT4THVLW, or the emulated bus's path.
            spec: the robot.
            reply_timeout_ms: how long past the bytes' own time an answer is waited for. With nine servos at 1 Mbaud and
                4 ms, a read takes up to 6 ms when one is silent, and up to 9 ms (10 with supply) in the first, where a
                fast read fails before a plain one: a 100 Hz loop keeps its time.
            watchdog_s: servos stop moving by themselves when the bus was silent for so long, 0 for never. Reading
                counts as traffic: this guards against a lost computer or cable, not against a silent policy. Limp
                servos are tested for it before they get any force.
            fast_reads: read all joints with one answer, where all servos know that (Fast Sync Read).

        Raises:
            ValueError: watchdog_s beyond what servos can count, or a joint's direction is neither +1 nor -1.
        """
        bus_checks.check_directions(spec)
        if not 0.0 <= watchdog_s <= 127 * WATCHDOG_UNIT_S:
            raise ValueError(f"watchdog_s is {watchdog_s}, servos can count 0 to {127 * WATCHDOG_UNIT_S} seconds")
        self.port = port
        self.spec = spec
        self._ids = spec.servo_ids
        self._link = SdkLink(port, spec.servo_baud, reply_timeout_ms)
        self._servos = ServoGroup(spec, self._link)
        self._zero_angles = spec.direction * spec.zero_rad  # (N,) rad
        # Lists: goals go joint by joint, for so few numpy takes longer.
        self._zeros: list[float] = self._zero_angles.tolist()
        self._ticks_per_rad: list[float] = (spec.direction / RAD_PER_TICK).tolist()
        self._units = self._units_of(self._servos.current_unit_ma)
        self._layouts: dict[int, struct.Struct] = {}
        self._watchdog = round(watchdog_s / WATCHDOG_UNIT_S)
        self._next_health = 0
        self._extra = self._sound_reads = 0
        self._fast_allowed, self._fast = fast_reads, False  # the second: the servos know them, too
        self._plain_reads = 0  # that are to succeed before it is tried again
        self._torque_may_be_on = False

    # Opening and closing -----------------------------------------------------------------------------------

    def open(self, configure: bool = False) -> None:
        """Open the port and check everything that must be right. Torque is left as it is.

        Args:
            configure: write return delay, operating and drive mode, shutdown and homing offset of servos that have them
                wrong. Their torque is switched off for that. After a homing offset the bus stays closed once, for the
                joints' zeros are others then.

        Raises:
            BusOpenError: what is wrong, on which device or servo, and the next step.
            BusLostError: the port went away meanwhile.
        """
        self._open(configure)

    def _open(self, configure: bool = False, again: bool = False) -> None:
        bus_checks.check_port(self.port)
        bus_checks.check_latency_timer(self.port)
        self._link.connect()
        try:
            with self._link.unhurried():
                self._servos.check(configure, again)
            self._units = self._units_of(self._servos.current_unit_ma)
            self._fast, self._plain_reads = self._fast_allowed and self._knows_fast_reads(), 0
        except BusError as error:
            holding = "" if again else self._what_holds()
            self._link.disconnect()
            if holding and isinstance(error, BusOpenError):
                raise BusOpenError(f"{error}. {holding}") from error
            raise
        self._torque_may_be_on = True  # a program that was killed may have left it on

    def _what_holds(self) -> str:
        """A warning of servos that have torque, of those that answer: what is wrong with one sends a hand to it."""
        try:
            with self._link.unhurried():
                on = [servo_id for servo_id, value in self._servos.values("torque_enable").items() if value]
        except BusError:
            return ""
        return f"Torque is on in {self._servos.names(on)}: cut the servos' power before you touch them" if on else ""

    def _units_of(self, current_unit_ma: np.ndarray) -> np.ndarray:
        """mA, rad/s and rad of each joint per unit of its servo's current, velocity and position: (3, N)."""
        units = np.stack([current_unit_ma, *np.full((2, len(self._ids)), [[RAD_S_PER_UNIT], [RAD_PER_TICK]])])
        return self.spec.direction * units

    def _knows_fast_reads(self) -> bool:
        """Whether all servos do: it depends on their models and firmware, so they are asked, twice."""
        return any(self._servos.read_fast("present_current", _PRESENT_SIZE) for _ in range(2))

    def reopen(self) -> None:
        """Open again after BusLostError. Torque is left as it is, as are the goals that the servos hold.

        The first servo that is not there ends the attempt, within a second. Servos that have shut down meanwhile are no
        obstacle: `read_health` shows them, and only an open bus can `reboot` them.

        Raises:
            BusOpenError: the port is not back, or not as it should be. Try again later.
        """
        self._link.disconnect()
        self._open(again=True)

    def close(self) -> None:
        """Switch torque off, make sure of it, and close the port. Does nothing on a bus that is closed.

        A lost port is looked for again for half a second.

        Raises:
            BusWriteError: torque may still be on; the message names the servos. The port is closed all the same.
        """
        if not self._torque_may_be_on:
            self._link.disconnect()
            return
        holding: list[int] = list(self._ids)
        give_up = time.monotonic() + _CLOSE_PATIENCE_S
        while holding and time.monotonic() < give_up:
            try:
                if not self._link.is_connected:
                    self._link.connect()
                holding = self._servos.confirm("torque_enable", 0)
            except BusError:
                time.sleep(_CLOSE_PAUSE_S)
        self._link.disconnect()
        self._torque_may_be_on = bool(holding)
        if holding:
            names = self._servos.names(holding)
            raise BusWriteError(
                f"{self.port}: torque may still be on: {names} did not confirm. Switch off the servos' power supply",
                holding,
            )

    def leave(self) -> None:
        """Close the port and leave torque as it is: for looking at servos that nobody moves."""
        self._link.disconnect()
        self._torque_may_be_on = False

    @property
    def how_it_reads(self) -> str:
        """In words, for logs."""
        return "with one answer of all servos (fast sync read)" if self._fast else "with an answer of each servo"

    @property
    def servos(self) -> dict[int, int]:
        """Servo id to model number, in the robot's order; empty before the first `open`."""
        return dict(self._servos.numbers)

    @property
    def torque_may_be_on(self) -> bool:
        """Whether any servo may hold its joint: unless all have confirmed that they do not."""
        return self._torque_may_be_on

    @property
    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._link.is_connected

    def __enter__(self) -> DynamixelBus:
        """Open."""
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    # At every tick -----------------------------------------------------------------------------------------

    def read(self, supply: bool = False) -> JointState:
        """Read every joint in one sync read, a fast one where the servos know it.

        Args:
            supply: also temperatures and voltages, with 11 more bytes a servo (a millisecond for nine at 1 Mbaud). Not
                where a fast read has just failed, nor of three servos or fewer after answers got lost: there, lengths
                tell late answers from new ones.

        Raises:
            BusReadError: some servos gave no intact answer; `silent_ids` names them. Nothing is made up for them.
            BusLostError: the port went away.
        """
        asked = time.time()
        wide = supply and (self._extra == 0 or len(self._ids) > _FEW)
        answers = self._present(_WIDE if wide else _PRESENT_SIZE + self._extra)
        wide = wide and len(answers[0]) == _HEAD + _WIDE
        return self._state(answers, asked, wide)

    def _state(self, answers: list[bytes], asked: float, wide: bool) -> JointState:
        """What the answers of all servos tell, `wide` ones of their supply, too."""
        fields = self._layout(len(answers[0])).unpack(b"".join(answers))
        errors, numbers = fields[0::4], (fields[1::4], fields[2::4], fields[3::4])
        current_ma, velocity, position = np.array(numbers, np.float64) * self._units
        position -= self._zero_angles
        alerts: tuple[int, ...] = ()
        if any(errors):
            alerts = tuple(i for i, error in zip(self._ids, errors, strict=True) if error & ALERT_BIT)
        return JointState(
            position=position,
            velocity=velocity,
            current_ma=current_ma,
            time=asked,
            alerts=alerts,
            **(self._supply(answers) if wide else {}),
        )

    def _layout(self, size: int) -> struct.Struct:
        """Error, current, velocity and position of every servo, in answers of so many bytes."""
        if size not in self._layouts:
            rest = size - _HEAD - _PRESENT_SIZE
            self._layouts[size] = struct.Struct("<" + f"Bx{_PRESENT}{rest}x" * len(self._ids))
        return self._layouts[size]

    @staticmethod
    def _supply(answers: list[bytes]) -> dict[str, np.ndarray]:
        found = [_SUPPLY.unpack_from(answer, _HEAD + _SUPPLY_OFFSET) for answer in answers]
        voltage, temperature = np.array(found, np.float64).T
        return {"voltage_v": voltage * VOLT_PER_UNIT, "temperature_c": temperature}

    def _present(self, length: int) -> list[bytes]:
        """Of every servo: error byte, id, so many bytes from present current on; fewer after a failed fast read."""
        fast = self._fast and not self._plain_reads
        if fast:
            answers = self._servos.read_fast("present_current", length, self._rehearse)
            if answers:
                self._note_sound()
                return answers
            # Nobody's answer is known then. A plain read tells who is silent, or that only a packet was lost.
            self._note_lost()
            length = _PRESENT_SIZE + self._extra
        try:
            answers = self._servos.read("present_current", length, after_fast=fast)
        except BusReadError:
            self._note_lost()
            raise
        self._note_sound()
        return answers

    def _rehearse(self) -> None:
        """While the line is busy, do what comes next with the answers of the last time, and throw it away.

        Between two ticks a processor forgets the code: with it back in the caches the same takes half as long, in
        time that would be spent on waiting (benchmarks/robot.py).
        """
        answers = self._link.rehearse()
        if answers:
            here = self._state(answers, 0.0, False).position
            self._servos.rehearse_write("goal_position", self._ticks(here))

    def _note_lost(self) -> None:
        """Answers that are merely late may come in answer to the next question.

        Their order gives them away, but for robots of one to three servos, which have few orders. So the next question
        asks for another number of bytes, too, and answers of another length are not taken.
        """
        self._extra, self._sound_reads = (self._extra + 1) % _LENGTHS, 0
        self._plain_reads = _PLAIN_READS

    def _note_sound(self) -> None:
        self._plain_reads = max(0, self._plain_reads - 1)
        self._sound_reads += 1
        if self._sound_reads == _SOUND_READS:
            self._extra = 0

    def write_goals(self, goals: np.ndarray) -> None:
        """Send joint goals (N,) rad in one sync write. Servos do not acknowledge it.

        Goals beyond a servo's own limits (registers 48 and 52) are sent as the limit: it would ignore them silently.

        Raises:
            ValueError: not N finite numbers.
            BusWriteError: the packet was not sent.
            BusLostError: the port went away.
        """
        self._servos.write("goal_position", self._ticks(goals))

    def _ticks(self, goals: np.ndarray) -> list[int]:
        """Joint goals (N,) rad in ticks, N of them within the servos' own limits; raises as `write_goals`."""
        goals = np.asarray(goals, np.float64)
        joints = goals.tolist()
        if goals.shape != (len(self._ids),) or not all(map(math.isfinite, joints)):
            raise ValueError(f"goals must be {self.spec.action_size} finite angles in rad, got {goals}")
        ticks = []
        scales = zip(joints, self._zeros, self._ticks_per_rad, *self._servos.goal_range, strict=True)
        for goal, zero, per_rad, lowest, highest in scales:
            ticks.append(round(min(max((zero + goal) * per_rad, lowest), highest)))
        return ticks

    def read_health(self) -> ServoHealth:
        """Read one servo's temperature, voltage, errors and torque: the next one at each call.

        Raises:
            BusReadError: it does not answer.
            BusLostError: the port went away.
        """
        index = self._next_health
        self._next_health = (index + 1) % len(self._ids)
        servo_id = self._ids[index]
        first = self._servos.model["torque_enable"].address
        data = self._link.read(servo_id, first, self._servos.model["present_temperature"].end - first)
        if data is None:
            raise self._servos.silent([servo_id])

        def value(name: str) -> int:
            register = self._servos.model[name]
            return register.decode(data[register.address - first : register.end - first])

        return ServoHealth(
            servo_id=servo_id,
            joint_name=self.spec.joint_names[index],
            hardware_error=value("hardware_error_status"),
            errors=hardware_error_names(value("hardware_error_status")),
            temperature_c=float(value("present_temperature")),
            voltage_v=value("present_input_voltage") * VOLT_PER_UNIT,
            torque_enabled=bool(value("torque_enable")),
            watchdog_tripped=value("bus_watchdog") < 0,
        )

    # Torque ------------------------------------------------------------------------------------------------

    def require_answers(self) -> None:
        """Raise BusReadError, naming them, where some servos are silent. Touches nothing."""
        with self._link.unhurried():
            self._servos.known("torque_enable")

    def set_torque(self, on: bool, ramp_s: float = 0.0) -> None:
        """Switch every servo's torque on or off and read back that it is.

        Switching on sets each goal to the joint's present position, so that nothing jumps, and clears a tripped bus
        watchdog and any motion profile that another program left. The force then comes up over `ramp_s` seconds;
        servos that have it already keep it, for what they hold would drop. See `torque_on`.

        Raises:
            BusWriteError: some servos did not obey, or their joints stand where no goal may be; `servo_ids` names
                them. After a failed switching on, torque is off wherever the bus still reaches.
            BusReadError: some servos are silent.
            BusLostError: the port went away.
        """
        if not on:
            self._servos.require("torque_enable", 0)
            self._torque_may_be_on = False
            return
        self._torque_may_be_on = True
        try:
            with self._link.unhurried():
                switch_on(self._servos, self._watchdog, ramp_s)
        except (BusReadError, BusWriteError):
            self._torque_may_be_on = bool(self._servos.confirm("torque_enable", 0))
            if not self._torque_may_be_on:
                self._servos.confirm("bus_watchdog", 0)
                self._servos.confirm("goal_pwm", *self._servos.pwm_limit.tolist())  # as other programs expect it
            raise

    def release(self, seconds: float) -> None:
        """Let the joints go over so many seconds, then switch torque off: what they hold comes down, it does not fall.

        Raises:
            BusWriteError, BusReadError, BusLostError: as `set_torque`; torque may still be on.
        """
        if seconds > 0.0:
            wake(self._servos, self._watchdog)
            ramp(self._servos, self._held_share(), 0.0, seconds)
        self.set_torque(False)
        self._servos.require("bus_watchdog", 0)  # one that has tripped refuses goals, those of force, too
        self._servos.require("goal_pwm", *self._servos.pwm_limit.tolist())  # as other programs expect it

    def _held_share(self) -> np.ndarray:
        """Share of full force that each servo has now, (N,): one that has none must not get any while it lets go.

        A servo that is silent counts as one with all of it.
        """
        found, most = self._servos.values("goal_pwm"), np.maximum(self._servos.pwm_limit, 1)
        held = [found.get(servo_id, limit) for servo_id, limit in zip(self._ids, most.tolist(), strict=True)]
        return np.clip(np.array(held) / most, 0.0, 1.0)

    def torque_is_on(self) -> bool:
        """Whether any servo has torque now, as they say themselves. Raises BusReadError, BusLostError."""
        with self._link.unhurried():
            return bool(self._servos.known("torque_enable").any())

    def read_all_health(self) -> list[ServoHealth]:
        """Health of every servo, one after the other. Raises BusReadError, BusLostError: as `read_health`."""
        return [self.read_health() for _ in self._ids]

    def shut_down_servos(self) -> list[ServoHealth]:
        """Health of those that report a hardware error; raises as `read_health`."""
        return [health for health in self.read_all_health() if health.hardware_error]

    def reboot(self, servo_id: int) -> None:
        """Restart one servo, which clears its hardware error. It comes back without torque after about 0.3 s.

        Raises:
            BusWriteError: it did not acknowledge.
        """
        self._link.reboot(servo_id)
