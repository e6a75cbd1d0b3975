"""Where a joint is to stay that stands already: at its goal, not where its load has drawn it."""

from __future__ import annotations

import numpy as np

from vmail_core.robot import RobotSpec

_SINKING_RAD = 0.06  # a servo's goal and what it reaches under a finger's own weight differ by less
_STILL_RAD_S = 0.1
_SAME_RAD = 0.01  # goals of a commander that stands still may differ so far
_SETTLED_S = 0.2  # a joint is on its way to a new goal by then, or there
_EASY = 0.25  # of the current from which on the robot's file calls a joint loaded: a finger's weight, and no more


def standing_goals(
    goals: np.ndarray, position: np.ndarray, velocity: np.ndarray, current_ma: np.ndarray, spec: RobotSpec
) -> np.ndarray:
    """Goals (N,) rad to stay with: the last ones of joints that stand close to them, the present position of others.

    Servos are springs: a joint stands a little below its goal. With where it stands as its next goal it would sink by
    as much again, at each stop and each start. A joint that moves, that pushes hard or that something keeps far from
    its goal gets its present position all the same: it is to stop, and to let go of what it presses upon.

    Args:
        goals: (N,) rad, what the servos pursue.
        position, velocity, current_ma: (N,) each, of the joints now.
        spec: says what a high current is.
    """
    return np.where(np.abs(velocity) <= _STILL_RAD_S, close_goals(goals, position, current_ma, spec), position)


def close_goals(goals: np.ndarray, position: np.ndarray, current_ma: np.ndarray, spec: RobotSpec) -> np.ndarray:
    """The last goals (N,) rad of joints that are close to them and hardly push, the present position of others.

    Written again, they ask for nothing that was not asked for before. Arguments as of `standing_goals`.
    """
    close = np.abs(goals - position) <= _SINKING_RAD
    easy = np.abs(current_ma) <= _EASY * spec.slow_current_ma
    return np.where(close & easy, goals, position)


class Settling:
    """Since when each joint's goal has been the same: one that is new is not stood at, the joint has yet to set off.

    Pure: it is told the time, in seconds.
    """

    def __init__(self, size: int) -> None:
        """Of so many joints, none of which has got a goal."""
        self._goals = np.full(size, np.nan)
        self._since = np.full(size, -np.inf)

    def note(self, goals: np.ndarray, time: float) -> None:
        """Goals (N,) rad that are written at this time."""
        new = ~(np.abs(goals - self._goals) <= _SAME_RAD)
        self._goals, self._since = np.where(new, goals, self._goals), np.where(new, time, self._since)

    def settled(self, time: float) -> np.ndarray:
        """(N,) bool: whether the goal was there long enough when the joints were read, at `time`."""
        self._since = np.minimum(self._since, time)  # a clock may be set back
        return time - self._since >= _SETTLED_S
