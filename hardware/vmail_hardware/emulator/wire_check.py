"""Judges all that is written to emulated servos by the robot's spec, without knowing of the guard.

What a powered servo is told must lead its joint no farther than the spec allows. A goal lies within the joint's limits,
or, where the joint itself is outside, no farther out than it. And it lies within one control period's travel at
`max_joint_speed` of where the joint is or was a moment ago, for that is how the spec defines its speed limit: two goals
in a row may lie twice that apart, when the motion turns round. Switching torque on is judged as if the goal that the
servo then holds had been written. Acceleration and the fingers' clearance are not judged: a hold may repeat a goal that
was right for an earlier speed.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import time

from vmail_core.robot import RobotSpec
from vmail_hardware.bus_checks import goal_range_ticks
from vmail_hardware.control_table import POSITION_MODES, RAD_PER_TICK, Register
from vmail_hardware.emulator.servo import EmulatedServo

FIRST = 20  # violations that are described; all are counted
# How old the position may be that a goal was made from: the guard's 0.1 s, and what a busy machine holds a packet up.
MEMORY_S = 0.15
# Longest time between two looks that counts. Where more passes, the emulator itself was held up, and what it then finds
# on the line was sent for where the joints were before.
LONGEST_LOOK_S = 0.03
_ROUNDING_TICKS = 1


@dataclasses.dataclass(frozen=True)
class Violation:
    """Something that no servo should have been told.

    Attributes:
        time: wall clock, seconds.
        kind: "joint_limit", "reach", "goal_current", "operating_mode" or "register".
        servo_id, joint: who was told.
        value, limit: what, and what would have been right.
    """

    time: float
    kind: str
    servo_id: int
    joint: str
    value: str
    limit: str

    def __str__(self) -> str:
        return f"{self.kind}: servo {self.servo_id} ({self.joint}) was told {self.value}; {self.limit}"


class WireCheck:
    """Counts violations. The emulator calls `saw` and `written`, in one thread; anybody may read.

    Attributes:
        counts: violations so far, by kind.
        violations: the first of them, up to `FIRST`.
        last: the newest.
    """

    def __init__(self, spec: RobotSpec) -> None:
        """By this robot's limits."""
        self.counts: collections.Counter[str] = collections.Counter()
        self.violations: list[Violation] = []
        self.last: Violation | None = None
        self._spec = spec
        self._index = {servo_id: index for index, servo_id in enumerate(spec.servo_ids)}
        self._range = goal_range_ticks(spec)
        self._reach = math.ceil(spec.max_joint_speed * spec.control_period / RAD_PER_TICK) + _ROUNDING_TICKS
        self._seen: collections.deque[tuple[float, list[int]]] = collections.deque()
        self._ranges: list[tuple[int, int]] | None = None  # of each joint in `_seen`
        self._looked, self._served = -math.inf, 0.0  # when last, and for how long the emulator was at work so far

    @property
    def count(self) -> int:
        """Violations so far."""
        return self.counts.total()

    def saw(self, now: float, servos: list[EmulatedServo]) -> None:
        """Note where all joints are, as the servos tell it; to be called every 10 ms at least.

        Args:
            now: monotonic seconds.
            servos: in the spec's order.
        """
        self._served, self._looked = self._served + min(now - self._looked, LONGEST_LOOK_S), now
        self._seen.append((self._served, [servo.get("present_position") for servo in servos]))
        while self._served - self._seen[0][0] > MEMORY_S:
            self._seen.popleft()
        self._ranges = None

    def written(self, servo: EmulatedServo, address: int, data: bytes) -> None:
        """Judge a write to a servo just before it obeys or refuses; both count, for a servo may be set up otherwise."""
        offset = 0
        while offset < len(data):
            register = servo.register_at(address + offset)
            if register is None or not register.writable or offset + register.size > len(data):
                text = f"{data[offset:].hex(' ')} at {address + offset}"
                self._note("register", servo, text, "nothing of that size is written there")
                return
            self._judge(servo, register, register.decode(data[offset : offset + register.size]))
            offset += register.size

    def _judge(self, servo: EmulatedServo, register: Register, value: int) -> None:
        powered = bool(servo.get("torque_enable"))
        if register.name == "goal_position" and powered:
            self._judge_goal(servo, value)
        elif register.name == "goal_current":
            self._judge_current(servo, value)
        elif register.name == "torque_enable" and value and not powered:
            self._judge_power(servo)
        elif register.in_eeprom and powered:
            self._note("register", servo, f"{register.name} = {value}", "it is locked while torque is on")
        else:
            self._judge_value(servo, register, value)

    def _judge_value(self, servo: EmulatedServo, register: Register, value: int) -> None:
        least, most = servo.range_of(register)
        if not least <= value <= most or (register.allowed and value not in register.allowed):
            right = f"right are {register.allowed}" if register.allowed else f"right is {least} to {most}"
            self._note("register", servo, f"{register.name} = {value}", right)

    def _judge_power(self, servo: EmulatedServo) -> None:
        mode = servo.get("operating_mode")
        if mode not in POSITION_MODES:
            self._note("operating_mode", servo, f"torque on in mode {mode}", f"position modes are {POSITION_MODES}")
        self._judge_goal(servo, servo.get("goal_position"))

    def _judge_goal(self, servo: EmulatedServo, goal: int) -> None:
        index, spec = self._index[servo.servo_id], self._spec
        nearest, farthest = self._between()[index]
        least, most = self._range[index]
        if not min(least, nearest) <= goal <= max(most, farthest):
            right = f"its limits are {spec.lower[index]:.3f} to {spec.upper[index]:.3f} rad"
            self._note("joint_limit", servo, self._goal(index, goal), right)
        least, most = nearest - self._reach, farthest + self._reach
        if not least <= goal <= most:
            low, high = sorted((self._rad(index, least), self._rad(index, most)))
            right = f"within one control period's travel are {low:.3f} to {high:.3f} rad"
            self._note("reach", servo, self._goal(index, goal), right)

    def _between(self) -> list[tuple[int, int]]:
        """Least and greatest tick at which each joint is or was a moment ago; once for all servos of a packet."""
        if self._ranges is None:
            joints = zip(*(ticks for _, ticks in self._seen), strict=True)
            self._ranges = [(min(ticks), max(ticks)) for ticks in joints]
        return self._ranges

    def _judge_current(self, servo: EmulatedServo, value: int) -> None:
        current, most = value * servo.model.current_unit_ma, self._spec.max_current_ma
        if abs(current) > most:
            self._note("goal_current", servo, f"goal current {current:.0f} mA", f"its limit is {most:.0f} mA")

    def _note(self, kind: str, servo: EmulatedServo, value: str, limit: str) -> None:
        joint = self._spec.joint_names[self._index[servo.servo_id]]
        self.last = Violation(time.time(), kind, servo.servo_id, joint, value, limit)
        self.counts[kind] += 1
        if len(self.violations) < FIRST:
            self.violations.append(self.last)

    def _goal(self, index: int, ticks: int) -> str:
        return f"goal {self._rad(index, ticks):.3f} rad"

    def _rad(self, index: int, ticks: int) -> float:
        return float((ticks * RAD_PER_TICK - self._spec.zero_rad[index]) * self._spec.direction[index])
