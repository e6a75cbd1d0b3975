"""Keys from a terminal, also over SSH, and what they do to joint targets."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty

import numpy as np

from vmail_core.robot import RobotSpec

RAISE_KEYS = "qwertyuio"
LOWER_KEYS = "asdfghjkl"
ESTOP_KEY, HANDOVER_KEY = "x", "p"
HELP = (
    "keys: q w e r t y u i o raise joints 1 to 9, a s d f g h j k l lower them; "
    "1 rest pose, 2 zero pose, space stay here, p to the policy and back, x EMERGENCY STOP, ? this help"
)


class KeyReader:
    """Single key presses from standard input, without echo; Ctrl-C still interrupts."""

    def __init__(self) -> None:
        """Nothing is touched before `open`."""
        self._saved: list | None = None

    def open(self) -> None:
        """Switch the terminal to single keys.

        Raises:
            OSError: standard input is no terminal.
        """
        if not sys.stdin.isatty():
            raise OSError(
                "keyboard teleoperation needs a terminal as standard input; "
                "start it in one of its own: python -m vmail_nodes.teleop --ros-args -p mode:=keyboard"
            )
        self._saved = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)

    def close(self) -> None:
        """Restore the terminal."""
        if self._saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
            self._saved = None

    def keys(self) -> str:
        """The keys pressed since the last call, without waiting."""
        pressed = b""
        while self._saved is not None and select.select([sys.stdin], [], [], 0.0)[0]:
            chunk = os.read(sys.stdin.fileno(), 64)
            if not chunk:  # the terminal was closed
                break
            pressed += chunk
        return pressed.decode(errors="ignore")


class JointKeys:
    """A target pose that keys move, within the joints' limits."""

    def __init__(self, spec: RobotSpec, step: float) -> None:
        """`step` is a fraction of each joint's full scale."""
        if spec.action_size > len(RAISE_KEYS):
            raise ValueError(f"robot {spec.name} has {spec.action_size} joints; the keyboard moves {len(RAISE_KEYS)}")
        self._spec, self._step = spec, step
        self.target: np.ndarray | None = None

    def press(self, key: str, present: np.ndarray | None) -> str:
        """Apply one key; returns a line that says what it did, or nothing for an unknown key.

        Args:
            key: one character.
            present: (N,) rad, where the joints are; None when not yet known.
        """
        if key == "?":
            return HELP
        if self.target is None or present is None:
            return "no joint states yet: is the driver running?"
        poses = {
            "1": ("rest pose", self._spec.rest),
            "2": ("zero pose", np.zeros_like(present)),
            " ": ("stay", present),
        }
        if key in poses:
            name, pose = poses[key]
            self.target = np.clip(pose, self._spec.lower, self._spec.upper)
            return name
        for keys, sign in ((RAISE_KEYS, 1.0), (LOWER_KEYS, -1.0)):
            joint = keys.find(key)
            if 0 <= joint < self._spec.action_size:
                self.target[joint] += sign * self._step * self._spec.scale[joint]
                self.target = np.clip(self.target, self._spec.lower, self._spec.upper)
                return f"{self._spec.joint_names[joint]} {self.target[joint]:+.2f} rad"
        return ""
