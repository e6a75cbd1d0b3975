"""What sources share that give a command from where the joints are, for each camera frame."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import JointState

from vmail_core.robot import RobotSpec
from vmail_nodes.messages import positions_from_joint_state


class JointSource:
    """Remembers the present joints (N,) rad and the frame that is due. A `Source` but for its `command`."""

    topic = "joint_states"
    message_type = JointState
    starts_by_itself = False
    wants_estop = wants_handover = limp = False

    def __init__(self, spec: RobotSpec) -> None:
        """Of this robot."""
        self._spec = spec
        self.begin()

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def begin(self) -> None:
        """Wait for joint states and a frame."""
        self._present: np.ndarray | None = None
        self._frame: int | None = None
        self.finished = ""

    def add_state(self, message: JointState) -> None:
        """Where the joints are now. Raises ValueError when the message lacks some."""
        self._present = positions_from_joint_state(message, self._spec.joint_names)

    def add_frame(self, stamp_ns: int) -> None:
        """A frame asks for a command."""
        self._frame = stamp_ns

    def due(self) -> tuple[int, np.ndarray] | None:
        """Stamp of the frame that is due and the present joints (N,) rad, each frame once; None when nothing is due."""
        if self._frame is None or self._present is None or self.finished:
            return None
        stamp_ns, self._frame = self._frame, None
        return stamp_ns, self._present

    def on_hold(self) -> None:
        """Nothing winds up."""

    def poll(self) -> str:
        """Nothing to watch."""
        return ""
