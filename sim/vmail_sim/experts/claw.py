"""Experts for ROBEL's tasks of the D'Claw, which nothing more had to be learned for.

Turn and Screw are done by the trained experts of the valve tasks, one for each way round: whichever leads to the
target, more gently the nearer it is. A Pose is taken by asking for it.
"""

from __future__ import annotations

import numpy as np

from vmail_core.robot import load_robot
from vmail_sim.dclaw.valve import JOINTS, phase_state
from vmail_sim.experts.policy import load_expert

LEAD_S = 0.2  # what the valve does in so long after the claw stops pushing, at its present speed
CLOSE_RAD = 0.05  # from the target: there the claw holds still
GENTLE_RAD = 0.7  # from there on it does less than it would,
LEAST = 0.25  # at least this share of the way from its last action to the next
EAGERNESS = 2.0  # how many times too far a pose is asked for, for joints lag behind


class Turner:
    """From a state (33,) of Turn or Screw, see `robel.Turn.state`, to an action (9,); it remembers nothing."""

    prongs: int

    def __init__(self) -> None:
        """Load both valve experts."""
        self._ccw, self._cw = (load_expert(f"dclaw_valve{self.prongs}_{way}") for way in ("ccw", "cw"))

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """The action (9,) float32 in [-1, 1]."""
        hand, valve, last, target = np.split(state.astype(float), np.cumsum([2 * JOINTS, 3, JOINTS]))
        cosine, sine, speed = valve
        angle, (target_cosine, target_sine, target_speed) = np.arctan2(sine, cosine), target
        # Where the valve is going to be, by where the target is.
        error = np.arctan2(target_sine, target_cosine) - LEAD_S * (speed - target_speed)
        if abs(error) < CLOSE_RAD:
            return last.astype(np.float32)
        seen = np.concatenate([hand, phase_state(self.prongs, angle, speed), last]).astype(np.float32)
        action = self._ccw(seen) if error > 0.0 else self._cw(seen)
        return (last + np.clip(abs(error) / GENTLE_RAD, LEAST, 1.0) * (action - last)).astype(np.float32)


class TurnerOfThree(Turner):
    """With three prongs."""

    prongs = 3


class TurnerOfFour(Turner):
    """With four prongs."""

    prongs = 4


class PoseTaker:
    """From a state (36,) of Pose, see `robel.Pose.state`, to an action (9,)."""

    def __init__(self) -> None:
        """Of the D'Claw."""
        self._robot = load_robot("dclaw")

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """The action (9,) float32 in [-1, 1]."""
        return self._robot.action_of(state[:JOINTS] + EAGERNESS * state[-JOINTS:])
