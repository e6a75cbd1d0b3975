"""A joint goes a small step and back, again and again, under the guard: when is it told to, and when does it go?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusReadError
from vmail_hardware.control_table import RAD_PER_TICK
from vmail_hardware.guard import Command, Guard, Reason
from vmail_hardware.latency.bus_timing import patiently
from vmail_hardware.latency.figures import LatencyError

REST_S, WATCH_S = 0.6, 0.9  # before a step, and from its command on
FIRST_MOTION_TICKS = 3
HEALTH_EVERY = 10  # reads between looks at one servo
SILENT_S = 0.5
LATE_READ, LATE_READ_S = 2.0, 0.005  # a read is late that takes so many medians and seconds more
LIMIT_ROOM_RAD = 0.02  # that stays between a step's end and the joint's limit
MOST_OUTSIDE_RAD = 0.02  # by which a joint may hang outside its limits: the guard takes it back inside with torque


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of one joint. Times are of the wall clock, in seconds.

    Attributes:
        written: when the servos had been sent the goal.
        times: (M,) when the joint was asked for, from REST_S before the command on.
        positions: (M,) rad, where it was.
    """

    written: float
    times: np.ndarray
    positions: np.ndarray

    @property
    def before(self) -> float:
        """Where the joint rested before, rad."""
        return float(np.median(self.positions[self.times < self.written]))

    @property
    def after(self) -> float:
        """Where it rested in the end, rad."""
        return float(np.median(self.positions[self.times > self.times[-1] - 0.3 * WATCH_S]))

    def first_motion(self) -> float | None:
        """When the joint was first read to have left its place; None if it did not."""
        resting = self.positions[self.times < self.written]
        leeway = max(FIRST_MOTION_TICKS * RAD_PER_TICK, 2.0 * float(np.abs(resting - self.before).max()))
        gone = (self.times >= self.written) & (np.abs(self.positions - self.before) > leeway)
        return float(self.times[np.argmax(gone)]) if gone.any() else None


class Stepper:
    """Steps one joint of a bus whose torque is on. All that is written has passed the guard, as in the driver."""

    def __init__(self, bus: DynamixelBus, spec: RobotSpec, joint: str | None, way_rad: float) -> None:
        """Choose the joint, by default one in the middle of its travel, and the direction in which there is room.

        Args:
            bus: open.
            spec: the robot, calibrated.
            joint: name.
            way_rad: length of a step.

        Raises:
            LatencyError: no such joint, no room, or any joint stands outside its limits, into which the guard would
                move it unannounced.
        """
        self._bus, self._spec, self._guard = bus, spec, Guard(spec)
        stands = patiently(bus.read).position
        self._refuse_outside(stands)
        self._home = np.clip(stands, spec.lower, spec.upper)  # where the guard lets it be
        room = np.minimum(spec.upper - self._home, self._home - spec.lower)
        if joint is not None and joint not in spec.joint_names:
            raise LatencyError(f"no joint {joint!r}; robot {spec.name} has {', '.join(spec.joint_names)}")
        self._index = int(np.argmax(room)) if joint is None else spec.joint_names.index(joint)
        self.joint = spec.joint_names[self._index]
        ways = {way_rad: spec.upper - self._home, -way_rad: self._home - spec.lower}
        way, free = max(ways.items(), key=lambda item: item[1][self._index])
        if free[self._index] < way_rad + LIMIT_ROOM_RAD:
            raise LatencyError(
                f"{self.joint} stands at {self._home[self._index]:.2f} rad, with no room for {way_rad:g} rad within "
                "its limits: move it by hand, choose a shorter --step or another joint"
            )
        self._away = self._home.copy()
        self._away[self._index] += way
        self._random = np.random.default_rng()

    def _refuse_outside(self, stands: np.ndarray) -> None:
        spec = self._spec
        outside = np.maximum(spec.lower - stands, stands - spec.upper)
        worst = int(np.argmax(outside))
        if outside[worst] > MOST_OUTSIDE_RAD:
            raise LatencyError(
                f"{spec.joint_names[worst]} stands at {stands[worst]:.2f} rad, outside its limits "
                f"({spec.lower[worst]:.2f} to {spec.upper[worst]:.2f} rad): move it inside by hand"
            )

    def steps(self, count: int) -> Iterator[Step]:
        """Go and come back, `count` steps in all.

        Raises:
            LatencyError: the guard holds, or the bus is silent.
            BusLostError: the port went away.
        """
        times, positions = np.empty(0), np.empty(0)
        self._follow(self._home, 2.0 * REST_S)  # where limits or the ramp of torque have moved it
        for number in range(count):
            # Steps begin anywhere between two pictures, so that many of them see finer than a picture's period.
            before, after = (self._home, self._away) if number % 2 == 0 else (self._away, self._home)
            times, positions, _ = self._follow(before, REST_S + float(self._random.uniform(0.0, 0.2)))
            rest = times > times[-1] - REST_S
            watched, moved, written = self._follow(after, WATCH_S)
            yield Step(written, np.append(times[rest], watched), np.append(positions[rest], moved))
        self._follow(self._home, REST_S)

    def _follow(self, target: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Command a pose (N,) rad as a policy does, and read the joint as fast as the bus allows.

        Returns:
            Times (M,) and positions (M,) of the joint, and when the first goals had been written.
        """
        times: list[float] = []
        positions: list[float] = []
        took: list[float] = []
        written, due, count = 0.0, time.time(), 0
        end, heard = due + seconds, due
        while (now := time.time()) < end:
            try:
                state = self._bus.read()
                count += 1
                if count % HEALTH_EVERY == 0:
                    self._guard.update_health(self._bus.read_health(), torque_on=True)
            except BusReadError as error:
                if now - heard > SILENT_S:
                    raise LatencyError(f"{error}; the joint's motion cannot be read") from error
                continue
            times.append(state.time)
            positions.append(float(state.position[self._index]))
            took.append(time.time() - state.time)
            command = None
            if now >= due:
                command, due = Command(target, time.time()), due + self._spec.control_period
            decision = self._guard.check(command, state, time.time())
            if decision.reason is Reason.BUS_SILENT and now - heard < SILENT_S:
                continue  # this program was held up, and reads anew
            heard = now
            if decision.holding and decision.reason is not Reason.NO_COMMAND_YET:
                if decision.goals is not None:
                    self._bus.write_goals(decision.goals)  # stand still before anything else
                raise LatencyError(f"the guard holds ({decision.reason}): {decision.detail}")
            if decision.fresh and decision.goals is not None:
                self._bus.write_goals(decision.goals)
                written = written or time.time()
        if not written:
            raise LatencyError(f"{self._bus.port}: no goal could be written in {seconds:.1f} s; is the bus that slow?")
        # When a servo that answered late was where it says is not known.
        prompt = np.array(took) <= LATE_READ * np.median(took) + LATE_READ_S
        return np.array(times)[prompt], np.array(positions)[prompt], written
