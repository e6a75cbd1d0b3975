"""Demonstrations on the hand itself: it is limp, somebody moves its fingers, and the pictures watch.

Nothing is sent to the servos. What is asked for at each frame is where the joints are, in the name of KINESTHETIC; the
import makes each frame's action of it, the pose that the hand was led to by the next one.
"""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import JointState

from vmail_core.robot import RobotSpec
from vmail_nodes.messages import positions_from_joint_state


class KinestheticSource:
    """Where the joints are, at every frame. See `Source`."""

    topic = "joint_states"
    message_type = JointState
    starts_by_itself = False
    finished, limp = "", True
    wants_estop = wants_handover = False

    def __init__(self, spec: RobotSpec) -> None:
        """Of this robot."""
        self._spec = spec
        self.begin()

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def begin(self) -> None:
        """Wait for joint states."""
        self._present: np.ndarray | None = None
        self._frame: int | None = None

    def add_state(self, message: JointState) -> None:
        """Where the joints are now."""
        self._present = positions_from_joint_state(message, self._spec.joint_names)

    def add_frame(self, stamp_ns: int) -> None:
        """A frame asks for a pose."""
        self._frame = stamp_ns

    def command(self) -> tuple[int, np.ndarray] | None:
        """The present pose."""
        if self._frame is None or self._present is None:
            return None
        stamp_ns, self._frame = self._frame, None
        return stamp_ns, self._present.copy()

    def on_hold(self) -> None:
        """Nobody is asked to obey."""

    def poll(self) -> str:
        """Nothing to watch."""
        return ""
