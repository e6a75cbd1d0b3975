"""The quality gate of a recording: looks at messages as they are written, and says what should become of the take."""

from __future__ import annotations

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from vmail_core.episodes.quality import Quality, Verdict
from vmail_core.robot import RobotSpec
from vmail_nodes.messages import ns_from_time
from vmail_nodes.raw_message import pixels, stamp_ns

OFF, WARN, REJECT = "off", "warn", "reject"


class TakeGate:
    """Of one take."""

    def __init__(self, mode: str, robot: RobotSpec, sensor: bool) -> None:
        """`mode` is "off", "warn" or "reject"; `sensor` is false for rendered pictures."""
        self._mode, self._robot = mode, robot
        self._quality = Quality(robot, sensor)

    def picture(self, data: bytes) -> None:
        """A serialised Image."""
        if self._mode != OFF:
            self._quality.picture(stamp_ns(data), pixels(data))

    def joints(self, data: bytes) -> None:
        """A serialised JointState; of another robot, it is none of this one's."""
        if self._mode == OFF:
            return
        message = deserialize_message(data, JointState)
        if set(self._robot.joint_names) <= set(message.name) and len(message.position) == len(message.name):
            positions = [message.position[message.name.index(name)] for name in self._robot.joint_names]
            self._quality.joints(ns_from_time(message.header.stamp), np.array(positions))

    def command(self, stamp_ns: int) -> None:
        """A command that was sent, for the picture of that stamp."""
        self._quality.command(stamp_ns)

    def judge(self) -> tuple[bool, str]:
        """Whether the take is to be kept, and what is wrong with it, if anything."""
        remarks = [] if self._mode == OFF else self._quality.remarks()
        rejected = self._mode == REJECT and any(remark.verdict == Verdict.REJECT for remark in remarks)
        return not rejected, "; ".join(remark.text for remark in remarks)
