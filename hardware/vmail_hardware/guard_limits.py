"""What a good command becomes: goals within every limit of the robot, and the limit that acted most."""

from __future__ import annotations

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.guard_types import Reason
from vmail_hardware.joint_state import JointState
from vmail_hardware.self_collision import SelfCollision

_ROUNDING_RAD = 1e-9  # below this a clip is rounding, not a limit
_SLOWEST_WHEN_HOT = 0.2  # of the speed that was asked for, just below the temperature at which the hand stops


class Limits:
    """Limits of joints, speed, acceleration, load, heat and fingers, in this order; each only takes from the motion."""

    def __init__(self, spec: RobotSpec) -> None:
        """Of the robot."""
        self._spec = spec
        self._fingers = SelfCollision(spec.fingers, spec.joint_names) if spec.fingers else None

    def apply(
        self,
        desired: np.ndarray,
        state: JointState,
        load_ma: np.ndarray,
        hottest_c: float,
        stay: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Reason, str]:
        """Goals (N,) rad for a desired pose (N,) rad, why they differ from it, and one sentence for people.

        Args:
            desired: finite angles.
            state: of the robot now.
            load_ma: (N,) smoothed currents; positive where the servo pushes towards larger angles.
            hottest_c: temperature of the hottest servo.
            stay: (N,) rad, goals with which joints stay where they are: a loaded joint is a little below its own, and
                would sink with where it is. Without, that is the present position.
        """
        spec, present = self._spec, state.position
        stay = present if stay is None else stay
        inside = np.clip(desired, spec.lower, spec.upper)
        goals = spec.limit_step(desired, present)  # as the simulator does
        found = [
            (desired, inside, Reason.JOINT_LIMIT, "clipped to the limits of {}"),
            (inside, goals, Reason.SPEED_LIMIT, "{} clipped to one control period's travel"),
        ]
        for limit, reason, text in (
            (self._accelerate, Reason.ACCELERATION_LIMIT, "{} may become faster only gradually"),
            (lambda g, s: self._relieve(g, s, load_ma), Reason.SLOWED_BY_LOAD, "{} slowed: too much load"),
            (
                lambda g, _: self._cool(g, stay, hottest_c),
                Reason.SLOWED_BY_HEAT,
                f"slowed: a servo has {hottest_c:.0f} C",
            ),
            (
                lambda g, s: self._part_fingers(g, s, stay),
                Reason.SELF_COLLISION,
                "stopped short: fingers would get into each other's way",
            ),
        ):
            before, goals = goals, limit(goals, state)
            found.append((before, goals, reason, text))
        acted = [
            (reason, text.format(self._names(np.abs(after - before) > _ROUNDING_RAD)))
            for before, after, reason, text in found
            if np.any(np.abs(after - before) > _ROUNDING_RAD)
        ]
        # The speed limit acts on most steps of a policy: any other says more.
        telling = [entry for entry in acted if entry[0] is not Reason.SPEED_LIMIT] or acted
        return goals, *(telling[-1] if telling else (Reason.OK, "command obeyed"))

    def _accelerate(self, goals: np.ndarray, state: JointState) -> np.ndarray:
        gain, period = self._spec.max_joint_acceleration * self._spec.control_period, self._spec.control_period
        least, most = np.minimum(state.velocity - gain, 0.0), np.maximum(state.velocity + gain, 0.0)
        return np.clip(goals, state.position + least * period, state.position + most * period)

    def _relieve(self, goals: np.ndarray, state: JointState, load_ma: np.ndarray) -> np.ndarray:
        """Less way for joints that push, the nearer their current is to the limit; none at the limit."""
        spec, way = self._spec, goals - state.position
        share = np.clip(
            (spec.max_current_ma - np.abs(load_ma)) / (spec.max_current_ma - spec.slow_current_ma), 0.0, 1.0
        )
        return np.where(way * load_ma > 0.0, state.position + share * way, goals)

    def _cool(self, goals: np.ndarray, stay: np.ndarray, hottest_c: float) -> np.ndarray:
        spec = self._spec
        left = (spec.max_temperature_c - hottest_c) / (spec.max_temperature_c - spec.slow_temperature_c)
        return goals if left >= 1.0 else stay + max(left, _SLOWEST_WHEN_HOT) * (goals - stay)

    def _part_fingers(self, goals: np.ndarray, state: JointState, stay: np.ndarray) -> np.ndarray:
        return self._fingers.reach(state.position, goals, stay) if self._fingers else goals

    def _names(self, chosen: np.ndarray) -> str:
        return ", ".join(name for name, is_meant in zip(self._spec.joint_names, chosen, strict=True) if is_meant)
