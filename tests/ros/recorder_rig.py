"""A small rig that publishes what camera, driver and teleop would, a recorder that hears it, and their fixtures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_harness import NodeProcess, Ros, until
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.episodes.bag_reading import KINESTHETIC
from vmail_core.robot import load_robot
from vmail_nodes.messages import command_message, image_from_array, joint_state_message
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, SENSOR_PUBLISHER

ROBOT = load_robot("dclaw")
REST = ROBOT.rest
MODULE = "vmail_nodes.demo_recorder"


class Rig:
    """Publishes joint states at 100 Hz and frames at 10 Hz, and a command on each frame."""

    def __init__(self, ros: Ros) -> None:
        """Begins once the recorder listens."""
        self.camera = True
        self.still = False  # whoever leads it lets it be
        self.led = False  # the hand is limp and somebody moves it: nothing is sent
        self.frames: list[int] = []
        self._ros, self._rng = ros, np.random.default_rng(0)
        self._images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
        self._info = ros.publisher(CameraInfo, "camera/camera_info", SENSOR_PUBLISHER)
        self._states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)
        self._requests = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._sent = ros.publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
        self._twin = ros.publisher(JointState, "twin/state", SENSOR_PUBLISHER)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # Stamps follow a schedule, and a machine that is busy catches up: the take is the same however late it runs.
        begin, step, pending = time.time_ns(), 0, None
        while not self._stop.wait(max(0.0, (begin + step * 10_000_000 - time.time_ns()) / 1e9)):
            now = begin + step * 10_000_000
            if not self.still:
                self._present = REST + (0.2 * np.sin(0.05 * step) ** 2 if self.led else 0.0)
            self._states.publish(joint_state_message(ROBOT.joint_names, self._present, 0 * REST, 0 * REST, now))
            if pending:
                self._command(pending)
                pending = None
            if step % 10 == 0 and self.camera:
                self._frame(now)
                pending = now
            step += 1

    def _frame(self, now: int) -> None:
        pixels = np.full((64, 64, 3), (len(self.frames) + 100 * self.led) % 256, np.uint8)
        self._images.publish(image_from_array(pixels, now))
        info = CameraInfo(height=64, width=64)
        info.k[0] = 80.0
        self._info.publish(info)
        self._twin.publish(joint_state_message(("valve",), np.array([0.1 * len(self.frames)]), np.zeros(1), None, now))
        self.frames.append(now)

    def _command(self, stamp_ns: int) -> None:
        if self.led:
            self._requests.publish(command_message(ROBOT.joint_names, self._present, stamp_ns, KINESTHETIC))
            return
        request = ROBOT.desired_positions(self._rng.uniform(-1, 1, 9))
        self._requests.publish(command_message(ROBOT.joint_names, request, stamp_ns))
        sent = ROBOT.limit_step(request, REST)
        self._sent.publish(command_message(ROBOT.joint_names, sent, stamp_ns, "expert", 3_000_000))

    def wait_frames(self, count: int) -> None:
        """Wait for that many more frames, and until the recorder has dealt with them."""
        goal = len(self.frames) + count
        until(lambda: len(self.frames) >= goal, f"{count} frames are published")
        self._ros.meet("demo_recorder")  # what was published before a question is dealt with before its answer

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._thread.join()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "demos"


@pytest.fixture
def recorder(start_node, output: Path) -> NodeProcess:
    return start_node(MODULE, {"output": str(output), "task": "turn", "operator": "Ada", "max_steps": 0})


@pytest.fixture
def rig(ros: Ros, recorder: NodeProcess) -> Iterator[Rig]:
    rig = Rig(ros)
    yield rig
    rig.stop()


def call(ros: Ros, name: str) -> tuple[bool, str]:
    response = ros.call(Trigger, f"/demo_recorder/{name}")
    return response.success, response.message


def start(ros: Ros) -> Path:
    """Begin a take as soon as camera and joints have been heard."""
    answers: list[tuple[bool, str]] = []

    def begun() -> bool:
        answers.append(call(ros, "start"))
        return answers[-1][0]

    until(begun, "a take begins")
    return Path(answers[-1][1])


def bag_topics(bag: Path) -> dict[str, int]:
    with AnyReader([bag]) as reader:
        return {connection.topic: connection.msgcount for connection in reader.connections}
