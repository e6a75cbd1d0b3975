"""What keys of a terminal do to joint targets. Works over SSH, so it tells in lines what a screen would show."""

from __future__ import annotations

import numpy as np

from vmail_core.robot import RobotSpec

RAISE_KEYS = "qwertyuio"
LOWER_KEYS = "asdfghjkl"
POSE_KEYS = "12 "
ESTOP_KEY, HANDOVER_KEY, SHOW_KEY = "x", "p", "v"
HELP_KEY = "?"
RECORDER_HELP = (
    "→ begins a take and keeps it, ← discards it, or the one just kept, and begins anew, Esc ends, in a graph all of it"
)
NO_JOINTS = "no joint states yet: is the driver running?"


def help_line(spec: RobotSpec) -> str:
    """What keys do, with the names of the joints: a key that raises and one that lowers each."""
    pairs = zip(RAISE_KEYS, LOWER_KEYS, spec.joint_names, strict=False)
    return (
        f"keys: {', '.join(f'{up}/{down} {name}' for up, down, name in pairs)} up/down; 1 rest pose, "
        "2 zero pose, space stay here, v all angles, p to the policy and back, x EMERGENCY STOP, ? this help"
    )


class JointKeys:
    """A target pose that keys move, within the joints' limits."""

    def __init__(self, spec: RobotSpec, step: float) -> None:
        """`step` is a fraction of each joint's full scale."""
        if spec.action_size > len(RAISE_KEYS):
            raise ValueError(f"robot {spec.name} has {spec.action_size} joints; the keyboard moves {len(RAISE_KEYS)}")
        self._spec, self._step = spec, step
        self.target: np.ndarray | None = None
        self.selected: int | None = None  # the joint that was moved last
        self._unknown_keys: set[str] = set()

    def press(self, key: str, here: np.ndarray | None) -> str:
        """Apply one key; returns a line that says what it did, or, once for each, that there is no such key.

        Args:
            key: one character.
            here: (N,) rad, where the joints are to stay if they stay; None when not yet known.
        """
        if key not in POSE_KEYS + RAISE_KEYS + LOWER_KEYS:
            return self._unknown(key)
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
                return self._move(joint, sign * self._step * self._spec.scale[joint])
        return self._unknown(key)

    def _move(self, joint: int, by: float) -> str:
        assert self.target is not None
        self.selected, name, before = joint, self._spec.joint_names[joint], self.target[joint]
        self.target[joint] = np.clip(before + by, self._spec.lower[joint], self._spec.upper[joint])
        if self.target[joint] == before:
            return f"{name} is asked to its limit already, {before:+.2f} rad"
        return f"{name} to {self.target[joint]:+.2f} rad"

    def _unknown(self, key: str) -> str:
        if key in self._unknown_keys:
            return ""
        self._unknown_keys.add(key)
        return f"no key {key!r}; {HELP_KEY} shows the keys" if key.isprintable() else ""
