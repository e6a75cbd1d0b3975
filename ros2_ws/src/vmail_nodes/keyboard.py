"""What keys of a terminal do to joint targets. Works over SSH, so it tells in lines what a screen would show."""

from __future__ import annotations

import numpy as np

from vmail_core.robot import RobotSpec

RAISE_KEYS = "qwertyuio"
LOWER_KEYS = "asdfghjkl"
ESTOP_KEY, HANDOVER_KEY, SHOW_KEY = "x", "p", "v"
HELP = (
    "keys: q w e r t y u i o raise joints 1 to 9, a s d f g h j k l lower them; "
    "1 rest pose, 2 zero pose, space stay here, v all angles, p to the policy and back, x EMERGENCY STOP, ? this help; "
    "→ begins a take and keeps it, ← discards it and begins it again, Esc ends"
)
NO_JOINTS = "no joint states yet: is the driver running?"


class JointKeys:
    """A target pose that keys move, within the joints' limits."""

    def __init__(self, spec: RobotSpec, step: float) -> None:
        """`step` is a fraction of each joint's full scale."""
        if spec.action_size > len(RAISE_KEYS):
            raise ValueError(f"robot {spec.name} has {spec.action_size} joints; the keyboard moves {len(RAISE_KEYS)}")
        self._spec, self._step = spec, step
        self.target: np.ndarray | None = None
        self.selected: int | None = None  # the joint that was moved last

    def press(self, key: str, here: np.ndarray | None) -> str:
        """Apply one key; returns a line that says what it did, or nothing for an unknown key.

        Args:
            key: one character.
            here: (N,) rad, where the joints are to stay if they stay; None when not yet known.
        """
        if key == "?":
            return HELP
        if self.target is None or here is None:
            return NO_JOINTS
        poses = {
            "1": ("rest pose", self._spec.rest),
            "2": ("zero pose", np.zeros_like(here)),
            " ": ("stay", here),
        }
        if key in poses:
            name, pose = poses[key]
            self.target = np.clip(pose, self._spec.lower, self._spec.upper)
            return name
        for keys, sign in ((RAISE_KEYS, 1.0), (LOWER_KEYS, -1.0)):
            joint = keys.find(key)
            if 0 <= joint < self._spec.action_size:
                self.selected = joint
                self.target[joint] += sign * self._step * self._spec.scale[joint]
                self.target = np.clip(self.target, self._spec.lower, self._spec.upper)
                return f"{self._spec.joint_names[joint]} to {self.target[joint]:+.2f} rad"
        return ""
