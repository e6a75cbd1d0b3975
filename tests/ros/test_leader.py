"""The leader hand on the emulated bus, without nodes and with them; and a hand that is led itself."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from fake_robot import DriverNews
from ros_harness import NodeProcess, Ros, until
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.calibration import Calibration
from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.leader_source import LeaderSource
from vmail_nodes.messages import image_from_array, joint_state_message, ns_from_time, positions_from_command
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, SENSOR_PUBLISHER

SPEC = load_robot("dclaw")
PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def leader_file(tmp_path: Path) -> Path:
    """A leader: other servo ids, and each joint turns the other way."""
    raw = yaml.safe_load((Path(__file__).parents[2] / "vmail_core/robot/dclaw.yaml").read_text())
    raw["name"] = "leader"
    for index, joint in enumerate(raw["joints"]):
        joint["id"], joint["direction"] = 101 + index, -joint.get("direction", 1)
    path = tmp_path / "leader.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture
def leader_bus(leader_file: Path, tmp_path: Path) -> Iterator[EmulatedBus]:
    with EmulatedBus(tmp_path / "leader_bus", load_robot(leader_file)) as bus:
        yield bus


def joints(positions: np.ndarray) -> JointState:
    return joint_state_message(SPEC.joint_names, positions, 0 * positions, None, 1)


class Follower:
    """A robot that goes where it is told at once."""

    def __init__(self, source: LeaderSource) -> None:
        self.source, self.present, self._stamp = source, SPEC.rest.copy(), 0

    def step(self) -> np.ndarray | None:
        self._stamp += 1
        self.source.add_state(joints(self.present))
        self.source.add_frame(self._stamp)
        due = self.source.command()
        assert due is None or due[0] == self._stamp
        if due is not None:
            self.present = due[1]
        return None if due is None else due[1]


def pose(offset: float) -> np.ndarray:
    return np.clip(SPEC.rest + offset, SPEC.lower, SPEC.upper)


def test_the_robot_goes_to_the_leader_slowly_and_then_follows_it(leader_bus: EmulatedBus, leader_file: Path) -> None:
    source = LeaderSource(SPEC, str(leader_bus.path), load_robot(leader_file), reply_timeout_ms=200.0)
    source.open()
    follower = Follower(source)
    leader_bus.plant.push(pose(0.5))
    slow = 0.25 * SPEC.max_joint_speed * SPEC.control_period
    steps = 0
    while np.abs(follower.present - pose(0.5)).max() > 0.01:
        before, steps = follower.present, steps + 1
        assert steps < 100
        asked = follower.step()
        assert asked is not None
        near = np.abs(before - pose(0.5)).max() < 0.11
        assert near or np.abs(asked - before).max() <= slow + 1e-6
    assert steps > 3
    assert "following" in source.poll()
    leader_bus.plant.push(pose(-0.5))
    asked = follower.step()
    np.testing.assert_allclose(asked, pose(-0.5), atol=0.002)  # a tick of a servo is 0.0015 rad
    source.on_hold()
    follower.present = pose(0.3)
    asked = follower.step()
    assert asked is not None and np.abs(asked - pose(0.3)).max() <= slow + 1e-6  # slowly again
    assert not any(leader_bus.servo(servo_id).get("torque_enable") for servo_id in range(101, 110))
    source.close()


def test_a_leader_that_is_silent_or_unplugged_commands_nothing(leader_bus: EmulatedBus, leader_file: Path) -> None:
    source = LeaderSource(SPEC, str(leader_bus.path), load_robot(leader_file), reply_timeout_ms=100.0)
    source.open()
    follower = Follower(source)
    assert follower.step() is not None
    leader_bus.faults.silent_ids = frozenset({105})
    assert follower.step() is None
    assert "105" in source.poll() and not source.finished
    leader_bus.faults.silent_ids = frozenset()
    until(lambda: follower.step() is not None, "the leader answers again")
    leader_bus.faults.unplugged = True
    until(lambda: follower.step() is None and source.finished, "the leader is gone")
    assert str(leader_bus.path) in source.finished
    source.begin()
    assert str(leader_bus.path) in source.finished  # still
    leader_bus.faults.unplugged = False
    until(leader_bus.path.exists, "the leader is plugged in")
    source.begin()
    assert not source.finished
    until(lambda: follower.step() is not None, "the leader is followed again")


def test_a_leader_that_has_changed_since_its_calibration_is_refused(leader_bus: EmulatedBus, leader_file: Path) -> None:
    leader = load_robot(leader_file)
    lowest, highest = leader.lower - 0.1, leader.upper + 0.1
    models = dict.fromkeys(leader.servo_ids, 1030)
    right = Calibration("leader", "2026-11-28", models, leader.direction, leader.zero_rad, lowest, highest)
    for calibration, message in (
        (right, ""),
        (dataclasses.replace(right, servos={**models, 105: 1060}), "leader: servo 105 is of another model"),
        (dataclasses.replace(right, lowest=lowest + 5.0, highest=highest + 5.0), "outside of the travel"),
    ):
        source = LeaderSource(SPEC, str(leader_bus.path), leader, calibration, reply_timeout_ms=200.0)
        with pytest.raises(OSError, match=message) if message else contextlib.nullcontext():
            source.open()
        source.close()


@pytest.mark.parametrize(
    ("port", "leader", "message"),
    [
        ("", dataclasses.replace(SPEC, name="leader"), "leader_port is empty"),
        ("/dev/leader", SPEC, "a robot file of its own"),
        (
            "/dev/leader",
            dataclasses.replace(SPEC, name="leader", joint_names=tuple(f"x{name}" for name in SPEC.joint_names)),
            "need the same joints",
        ),
    ],
)
def test_a_leader_that_does_not_fit_is_named(port: str, leader: RobotSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LeaderSource(SPEC, port, leader)


def film(ros: Ros, present: np.ndarray, rate_hz: float) -> Callable[[], None]:
    """A camera and joint states, until what is returned is called."""
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)

    def publish() -> None:
        stamp = time.time_ns()
        states.publish(joint_state_message(SPEC.joint_names, present, 0 * present, None, stamp))
        images.publish(image_from_array(PICTURE, stamp))

    timer = ros.node.create_timer(1.0 / rate_hz, publish)
    return lambda: ros.node.destroy_timer(timer)


def test_the_node_follows_a_leader_at_the_robots_rate_whatever_the_cameras(
    ros: Ros, start_node: Callable[..., NodeProcess], leader_bus: EmulatedBus, leader_file: Path
) -> None:
    given = {"mode": "leader", "leader": str(leader_file), "leader_port": str(leader_bus.path)}
    leader_bus.plant.push(SPEC.rest)
    start_node("vmail_nodes.teleop", {**given, "reply_timeout_ms": 100.0})
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    stop = film(ros, SPEC.rest, rate_hz=30.0)
    assert ros.call(Trigger, "teleop/start").success
    found = commands.wait_for(12)
    stop()
    assert {message.header.frame_id for message in found} == {"leader"}
    np.testing.assert_allclose(positions_from_command(found[-1], SPEC.joint_names), SPEC.rest, atol=0.002)
    periods = np.diff([ns_from_time(message.header.stamp) * 1e-9 for message in found])
    assert np.median(periods) > 0.75 * SPEC.control_period  # and not the camera's 0.033 s


def test_after_an_emergency_stop_a_leader_leads_only_when_started_again(
    ros: Ros, start_node: Callable[..., NodeProcess], leader_bus: EmulatedBus, leader_file: Path
) -> None:
    given = {"mode": "leader", "leader": str(leader_file), "leader_port": str(leader_bus.path)}
    start_node("vmail_nodes.teleop", {**given, "reply_timeout_ms": 100.0})
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    driver = DriverNews(ros)
    stop = film(ros, SPEC.rest, rate_hz=10.0)
    ros.wait_reason("teleop", "idle")
    assert ros.call(Trigger, "teleop/start").success
    commands.wait_for(3)
    driver.say(DiagnosticStatus.ERROR, "bus_silent", "holding: no answer")  # which ends by itself
    commands.wait_for(len(commands.messages) + 3)
    driver.say(DiagnosticStatus.ERROR, "estop", "holding: emergency stop")
    message = ros.wait_reason("teleop", "idle").message
    assert "emergency stop; to go on, `vmail call dynamixel_driver/reset_guard teleop/start`" in message
    driver.say(DiagnosticStatus.OK, "no_command_yet", "holding: nobody commands yet")
    count = len(commands.messages)
    time.sleep(0.5)
    assert len(commands.messages) == count
    stop()


def test_a_hand_that_is_led_is_made_limp_and_its_poses_are_told(
    ros: Ros, start_node: Callable[..., NodeProcess]
) -> None:
    asked: list[bool] = []

    def on_torque(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        asked.append(request.data)
        response.success = True
        return response

    driver = ros.node.create_service(SetBool, "dynamixel_driver/torque", on_torque)
    node = start_node("vmail_nodes.teleop", {"mode": "kinesthetic"})
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    stop = film(ros, pose(0.2), rate_hz=10.0)
    ros.wait_reason("teleop", "idle")
    until(lambda: ros.call(Trigger, "teleop/start").success and asked, "the hand is made limp")
    message = commands.wait_for(3)[-1]
    until(lambda: "the hand is limp" in node.output, "whoever leads is told")
    sent = ros.publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    deadline = time.monotonic() + 0.8
    until(lambda: time.monotonic() > deadline, "what was sent before is through")
    assert ros.wait_reason("teleop", "running")
    sent.publish(message)  # by a driver whose torque somebody has switched on
    assert "somebody switched torque on" in ros.wait_reason("teleop", "idle").message
    stop()
    assert set(asked) == {False}
    assert message.header.frame_id == "kinesthetic"
    np.testing.assert_allclose(positions_from_command(message, SPEC.joint_names), pose(0.2))
    ros.node.destroy_service(driver)


def test_without_a_driver_nobody_is_told_that_the_hand_is_limp(
    ros: Ros, start_node: Callable[..., NodeProcess]
) -> None:
    start_node("vmail_nodes.teleop", {"mode": "kinesthetic"})
    assert not ros.call(Trigger, "teleop/start").success
    assert "no driver" in ros.wait_reason("teleop", "idle").message
