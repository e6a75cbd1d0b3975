"""What sources share that give a command from where the joints are, or are to stay, for each camera frame."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import JointState

from vmail_core.robot import RobotSpec
from vmail_hardware.standing import standing_goals
from vmail_nodes.messages import (
    efforts_from_joint_state,
    goals_from_message,
    positions_from_joint_state,
    velocities_from_joint_state,
)


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

    def on_obeyed(self) -> None:
        """Nothing waits for it."""

    def poll(self) -> str:
        """Nothing to watch."""
        return ""


class StayingSource(JointSource):
    """For people, who begin where the hand is, and leave it where it is.

    That is where its servos' goals are, as far as the joints stand at them: who commanded where joints are, a little
    below, would let the hand sink at every start. Without a driver that tells `joint_goals` it is where the joints are.
    """

    starts_by_itself = True  # nothing moves before somebody moves it

    def __init__(self, spec: RobotSpec) -> None:
        """Of this robot."""
        self._goals: np.ndarray | None = None
        super().__init__(spec)

    def begin(self) -> None:
        """Wait for joint states and a frame."""
        super().begin()
        self._here: np.ndarray | None = None

    def add_goals(self, message: JointState) -> None:
        """What the servos pursue now. Raises ValueError when the message lacks some joints."""
        self._goals = goals_from_message(message, self._spec.joint_names)

    def add_state(self, message: JointState) -> None:
        """Where the joints are now. Raises ValueError when the message lacks some."""
        super().add_state(message)
        assert self._present is not None
        names = self._spec.joint_names
        if self._goals is None or not message.velocity or not message.effort:
            self._here = self._present.copy()
            return
        current_ma = efforts_from_joint_state(message, names) / self._spec.joint_states_current_scale
        velocity = velocities_from_joint_state(message, names)
        self._here = standing_goals(self._goals, self._present, velocity, current_ma, self._spec)
