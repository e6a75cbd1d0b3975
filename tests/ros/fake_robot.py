"""Camera and driver as the policy runner sees them, in step with it: how busy the machine is changes nothing.

The next picture comes only after the runner has dealt with the last one and its command was answered: each picture is
followed by a question to the runner, whose answer comes after what the picture made the runner do. While a run goes on,
pictures are stamped exactly a control period apart, however late they are published.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.srv import GetParameters
from ros_harness import QUESTION_PERIOD_S, Collected, Ros
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import RobotSpec
from vmail_nodes.messages import (
    NS_PER_S,
    command_message,
    image_from_array,
    joint_state_message,
    ns_from_time,
    positions_from_command,
    time_from_ns,
)
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, DIAGNOSTICS, SENSOR_PUBLISHER

QUESTION = "/policy_runner/get_parameters"
JOINTS_PERIOD_S = 0.02


class FakeRobot:
    """With switches for what can go wrong.

    Attributes:
        camera: good, silent, repeats (one message again and again) or same picture (with new stamps).
        driver: good, silent, holds (the robot stays where it is) or skips one (then it is good again).
        commands: what the runner commanded. There is no second subscription, so that none hears more than another.
        sent: positions (9,) rad that were reported as sent; None in the place of a command that was not.
        pictures: stamp to picture; `shown` has the stamps in order, one for each message.
        poses: stamp of a picture to the joint positions (9,) rad of the newest joint state by then.
        joints_late_ns: how much too old the stamps of joint states are.
        recorded: everything said on all topics, in order, as a bag has it: topic, stamp, picture or positions.
    """

    def __init__(self, ros: Ros, robot: RobotSpec, confirms: bool = True, clock_ns: int = 0) -> None:
        """Begins when the runner listens; `confirms` tells what was sent, `clock_ns` is the clock's error."""
        self._confirms, self._clock_ns = confirms, clock_ns
        self.pictures: dict[int, np.ndarray] = {}
        self.poses: dict[int, np.ndarray] = {}
        self.recorded: list[tuple[str, int, np.ndarray]] = []
        self.joints_late_ns = 0
        self.shown, self.commands = Collected("camera/image_raw"), Collected("joint_commands")
        self.sent: list[np.ndarray | None] = []
        self.camera, self.joints, self.driver = "good", True, "good"
        self.moves = True
        self._robot, self._period_ns = robot, round(NS_PER_S / robot.control_rate_hz)
        self._positions = robot.rest.copy()
        self._picture = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        self._newest = (0, self._positions.copy())
        self._stamp_ns = self._due_ns = 0
        self._listening, self._dealt_with, self._commanded, self._posed = False, True, False, False
        self._ask_at = 0.0
        self._rng = np.random.default_rng(0)
        node = ros.node
        self._camera_publisher = node.create_publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
        self._joints_publisher = node.create_publisher(JointState, "joint_states", SENSOR_PUBLISHER)
        self._sent_publisher = node.create_publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
        self._subscription = node.create_subscription(JointTrajectory, "joint_commands", self._on_command, COMMANDS)
        self._runner = node.create_client(GetParameters, QUESTION)
        node.create_timer(JOINTS_PERIOD_S, self._on_timer)

    def _runner_listens(self) -> bool:
        """Whether it has answered: it then knows every endpoint here, which were made before the client that asks."""
        if not self._listening and self._runner.service_is_ready() and time.monotonic() > self._ask_at:
            self._ask_at = time.monotonic() + QUESTION_PERIOD_S
            self._runner.call_async(GetParameters.Request()).add_done_callback(self._on_first_answer)
        publishers = [self._camera_publisher, self._joints_publisher]
        publishers += [self._sent_publisher] if self._confirms else []
        return self._listening and all(publisher.get_subscription_count() for publisher in publishers)

    def _on_first_answer(self, future: Any) -> None:
        self._listening = True

    def _on_timer(self) -> None:
        if not self._dealt_with or not self._runner_listens():
            return
        stamp_ns = self._now_ns()
        posed, self._posed = self._posed, True
        if self.joints:
            self._publish_joints(stamp_ns - self.joints_late_ns)
        # A tick later than the pose that the last command led to: topics are not delivered in the order of publication.
        if self.camera != "silent" and stamp_ns >= self._due_ns and posed:
            self._publish_picture(stamp_ns)

    def _now_ns(self) -> int:
        """The time for stamps. In a run it waits for the picture that is due: a slow moment here is no gap there."""
        now_ns = time.time_ns() + self._clock_ns
        return min(now_ns, self._due_ns) if self._commanded and self.camera != "silent" else now_ns

    def _publish_joints(self, stamp_ns: int) -> None:
        zeros = np.zeros(self._robot.action_size)
        message = joint_state_message(self._robot.joint_names, self._positions, zeros, zeros, stamp_ns)
        self._joints_publisher.publish(message)
        self.recorded.append(("joint_states", stamp_ns, self._positions.copy()))
        if stamp_ns >= self._newest[0]:
            self._newest = (stamp_ns, self._positions.copy())

    def _publish_picture(self, stamp_ns: int) -> None:
        if self.camera != "repeats":
            self._stamp_ns = stamp_ns
        if self.camera == "good":
            self._picture = self._rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        self.pictures[self._stamp_ns], self.poses[self._stamp_ns] = self._picture, self._newest[1]
        self.recorded.append(("camera/image_raw", self._stamp_ns, self._picture))
        self._due_ns = stamp_ns + self._period_ns
        self._dealt_with = self._commanded = self._posed = False
        self._camera_publisher.publish(image_from_array(self._picture, self._stamp_ns))
        self._runner.call_async(GetParameters.Request()).add_done_callback(self._on_answer)
        self.shown.add(self._stamp_ns)

    def _on_answer(self, future: Any) -> None:
        self._dealt_with = True

    def _on_command(self, message: JointTrajectory) -> None:
        stamp_ns = ns_from_time(message.header.stamp)
        self._commanded = self._commanded or stamp_ns == self._stamp_ns
        request = positions_from_command(message, self._robot.joint_names)
        self.recorded.append(("joint_commands", stamp_ns, request))
        self.sent.append(self._send(message, stamp_ns))
        self.commands.add(message)

    def _send(self, message: JointTrajectory, stamp_ns: int) -> np.ndarray | None:
        if self.driver == "skips one":
            self.driver = "good"
            return None
        if self.driver == "silent" or not self._confirms:
            return None
        names, request = self._robot.joint_names, positions_from_command(message, self._robot.joint_names)
        goals = self._robot.limit_step(request, self._positions) if self.driver == "good" else self._positions
        self._sent_publisher.publish(
            command_message(names, goals, stamp_ns, message.header.frame_id, time.time_ns() - stamp_ns)
        )
        self.recorded.append(("joint_commands_sent", stamp_ns, goals))
        if self.moves:
            self._positions = goals
        return goals


class DriverNews:
    """What the driver says of itself."""

    def __init__(self, ros: Ros) -> None:
        self._publisher = ros.publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)

    def say(self, level: bytes, reason: str, detail: str, name: str = "dynamixel_driver") -> None:
        values = [KeyValue(key="reason", value=reason)]
        status = DiagnosticStatus(level=level, name=name, message=f"{reason}: {detail}", values=values)
        message = DiagnosticArray(status=[status])
        message.header.stamp = time_from_ns(time.time_ns())
        self._publisher.publish(message)
