"""What an action asks of the hand's servos, as PDDM has it."""

from __future__ import annotations

import numpy as np

from vmail_sim.baoding import model

RANGE_USED = 0.9  # of the way from the start pose to either end of a servo's range
MAX_JOINT_STEP = 0.3  # rad: 3 rad/s over 0.1 s


class Servos:
    """From actions in [-1, 1] to servo targets. An action of 0 asks for the start pose."""

    def __init__(self, control_range: np.ndarray) -> None:
        """`control_range` (24, 2) rad: least and greatest target of each servo."""
        self._low, self._high = control_range.T
        self._down = RANGE_USED * (model.START_JOINTS - self._low)
        self._up = RANGE_USED * (self._high - model.START_JOINTS)

    def targets(self, actions: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """(..., 24) rad: what actions (..., 24) ask for, as far as the joints may move towards it in a step."""
        actions = np.clip(np.asarray(actions, np.float64), -1.0, 1.0)
        return self.towards(model.START_JOINTS + actions * np.where(actions > 0, self._up, self._down), joints)

    def towards(self, pose: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """(..., 24) rad: targets on the way from the joints' angles to those of a pose, both (..., 24)."""
        return np.clip(joints + np.clip(pose - joints, -MAX_JOINT_STEP, MAX_JOINT_STEP), self._low, self._high)
