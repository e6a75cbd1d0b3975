"""The policy runner over real DDS: it commands what the policy says, and stops, with a reason, when it must."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from fake_robot import QUESTION, DriverNews, FakeRobot
from known_bundle import known_action, write_known_bundle
from rcl_interfaces.srv import GetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import START_TIMEOUT_S, NodeProcess, Ros, until
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.deploy.bundle import load_bundle
from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.episodes.alignment import BagAlignment, segments
from vmail_core.robot import load_robot
from vmail_nodes.messages import latency_ns, ns_from_time, positions_from_command, time_from_ns
from vmail_nodes.qos import COMMANDS

RUNNER = "vmail_nodes.policy_runner"
CLOCK = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
ROBOT = load_robot("dclaw")


# The fake robot's stamps are as late as the machine is busy. No test here is about how soon an age is noticed.
AGE_LIMITS = {"max_image_age_s": 3.0, "max_joint_states_age_s": 3.0}
LATE_JOINTS = ("joint_states_stale", "joint_states_missing", "camera_stale")
"""Why late joint states stop the runner: the first of these, unless the machine stalls as long as AGE_LIMITS."""


class Run:
    """A runner process with its fake robot and the commands that it gave."""

    def __init__(self, ros: Ros, process: NodeProcess, robot: FakeRobot, observes_joints: bool = False) -> None:
        self.ros, self.process, self.robot, self.observes_joints = ros, process, robot, observes_joints
        self.commands = robot.commands

    def call(self, name: str) -> Trigger.Response:
        return self.ros.call(Trigger, f"/policy_runner/{name}")

    def expect_stop(self, reason: str | tuple[str, ...], timeout: float = START_TIMEOUT_S) -> DiagnosticStatus:
        """A reason of these appears, and from then on there is not one command more, though camera and driver go on."""
        status = self.ros.wait_reason("policy_runner", reason, timeout)
        self._catch_up()
        count = len(self.commands.messages)
        if self.robot.camera == "silent":
            time.sleep(0.5)
        else:
            self.wait_pictures(5)
        self._catch_up()
        assert len(self.commands.messages) == count
        return status

    def wait_pictures(self, count: int) -> None:
        """Wait for so many pictures more."""
        self.robot.shown.wait_for(len(self.robot.shown.messages) + count)

    def _catch_up(self) -> None:
        """When the runner has answered, all that it commanded before has arrived here."""
        self.ros.call(GetParameters, QUESTION)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_known_bundle(tmp_path_factory.mktemp("bundle") / "bundle", ROBOT).path


@pytest.fixture(scope="session")
def feeling_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with proprioception."""
    return write_known_bundle(tmp_path_factory.mktemp("feeling") / "bundle", ROBOT, proprioception=True).path


@pytest.fixture
def start_run(ros: Ros, start_node: Callable[..., NodeProcess], bundle: Path) -> Iterator[Callable[..., Run]]:
    def start(**parameters: object) -> Run:
        given = {"bundle": str(bundle), **AGE_LIMITS, **parameters}
        process = start_node(RUNNER, parameters=given)
        return Run(ros, process, FakeRobot(ros, ROBOT), bool(load_bundle(given["bundle"]).sizes.joints))

    yield start


def expected_positions(run: Run, message: JointTrajectory, step: int, taken: np.ndarray) -> np.ndarray:
    """What the known policy commands (9,) at this step, from the picture whose stamp the command carries."""
    stamp_ns = ns_from_time(message.header.stamp)
    joints = run.robot.poses[stamp_ns] if run.observes_joints else None
    return ROBOT.desired_positions(known_action(step, taken, run.robot.pictures[stamp_ns], joints))


def follows_policy(run: Run, commands: list[JointTrajectory]) -> bool:
    """Whether these commands are a run of the known policy from its first step on."""
    taken = np.zeros(9, np.float32)
    for step, message in enumerate(commands, start=1):
        positions = positions_from_command(message, ROBOT.joint_names)
        if not np.allclose(positions, expected_positions(run, message, step, taken), atol=1e-5):
            return False
        taken = ROBOT.action_of(positions)
    stamps = [ns_from_time(message.header.stamp) for message in commands]
    return stamps == sorted(set(stamps))


def test_commands_are_the_policys_and_start_begins_anew(start_run):
    run = start_run()
    run.ros.wait_reason("policy_runner", "idle")
    run.wait_pictures(5)
    assert run.commands.messages == [], "commanded before ~/start"
    assert run.call("start").success
    assert follows_policy(run, run.commands.wait_for(12))
    assert run.call("stop").success
    run.expect_stop("stopped")
    run.commands.clear()
    run.call("start")
    assert follows_policy(
        run, run.commands.wait_for(4)[:4]
    )  # step counts from 1, last action from zero: memory is empty


def refusal_of_ros2_control(message: JointTrajectory, arrives_ns: int) -> str:
    """Why ros2_control's joint_trajectory_controller would refuse a message on its topic; its rules, as documented."""
    ends_ns = ns_from_time(message.header.stamp) + latency_ns(message)  # of its one point
    if not message.points or set(message.joint_names) != set(ROBOT.joint_names):
        return "no points, or other joints"
    if ns_from_time(message.header.stamp) and ends_ns < arrives_ns:
        return "it ends in the past"
    point = message.points[-1]
    sizes = {len(values) for values in (point.velocities, point.accelerations, point.effort) if len(values)}
    if len(point.positions) != len(message.joint_names) or sizes - {len(message.joint_names)}:
        return "a number for each joint is missing"
    return "it still moves at its end" if any(point.velocities) else ""


def test_ros2_control_gets_the_same_commands_by_remapping(ros, start_node, bundle):
    """Its controllers do not tell what they sent: what is asked for then counts as sent."""
    topic = "joint_trajectory_controller/joint_trajectory"
    given = {"bundle": str(bundle), **AGE_LIMITS, "confirm_commands": False}
    process = start_node(RUNNER, parameters=given, remap={"joint_commands": topic})
    commands = ros.collect(JointTrajectory, topic, COMMANDS)
    run = Run(ros, process, FakeRobot(ros, ROBOT, confirms=False))
    assert run.call("start").success
    arrived = commands.wait_for(8)
    assert follows_policy(run, arrived)
    # This fake camera's stamps may be late on a busy machine: judged as if each command had come within a period.
    period_ns = round(1e9 * ROBOT.control_period)
    for message in arrived:
        assert not refusal_of_ros2_control(message, ns_from_time(message.header.stamp) + period_ns)
    arrived[0].points[0].time_from_start.nanosec = 0
    late_ns = ns_from_time(arrived[0].header.stamp) + period_ns
    assert refusal_of_ros2_control(arrived[0], late_ns) == "it ends in the past"


def test_a_simulated_clock_is_honoured(ros, start_node, bundle):
    behind_ns = -86_400 * 10**9
    process = start_node(RUNNER, parameters={"bundle": str(bundle), **AGE_LIMITS, "use_sim_time": True})
    clock = ros.publisher(Clock, "/clock", CLOCK)
    run = Run(ros, process, FakeRobot(ros, ROBOT, clock_ns=behind_ns))
    assert run.call("start").success  # the node's clock still stands at 0, and will jump by decades
    ticking = ros.node.create_timer(0.01, lambda: clock.publish(Clock(clock=time_from_ns(time.time_ns() + behind_ns))))
    assert follows_policy(run, run.commands.wait_for(8))
    ros.node.destroy_timer(ticking)


@pytest.mark.parametrize("module", ["camera", "dynamixel_driver", "twin"])
def test_what_has_a_clock_of_its_own_refuses_a_simulated_one(start_node, module):
    node = start_node(f"vmail_nodes.{module}", parameters={"use_sim_time": True})
    assert node.wait() == 1
    assert "use_sim_time is true" in node.output


def test_start_during_a_run_begins_anew(start_run):
    run = start_run()
    run.call("start")
    run.commands.wait_for(5)
    run.call("start")
    commands = run.commands.wait_for(len(run.commands.messages) + 5)
    # Some command after the fifth is a first one; no later part of the old run looks like that.
    assert any(follows_policy(run, commands[first:]) for first in range(5, len(commands) - 2))


def test_a_run_ends_after_max_steps(start_run):
    run = start_run(max_steps=6, start_on_activate=True)
    run.commands.wait_for(6)
    run.expect_stop("finished")
    assert len(run.commands.messages) == 6
    assert follows_policy(run, run.commands.messages)


def test_what_the_guard_sent_is_the_previous_action(start_run):
    """The driver holds: from then on the policy must see the pose that was sent, not what it had asked for."""
    run = start_run()
    run.call("start")
    run.commands.wait_for(5)
    run.robot.driver = "holds"
    count = len(run.commands.messages) + 2
    commands = run.commands.wait_for(count + 3)
    step, held = len(commands), ROBOT.action_of(run.robot.sent[len(commands) - 2])
    positions = positions_from_command(commands[-1], ROBOT.joint_names)
    np.testing.assert_allclose(positions, expected_positions(run, commands[-1], step, held), atol=1e-5)


def test_waits_for_camera_and_driver_then_runs(ros, start_node, bundle):
    process = start_node(RUNNER, parameters={"bundle": str(bundle), "start_on_activate": True, **AGE_LIMITS})
    ros.wait_reason("policy_runner", "waiting")
    run = Run(ros, process, FakeRobot(ros, ROBOT))
    assert follows_policy(run, run.commands.wait_for(5))


def test_gives_up_waiting_and_names_what_was_missing(start_run):
    run = start_run(start_on_activate=True, start_timeout_s=4.0)
    run.robot.joints = False
    status = run.expect_stop("inputs_missing")
    assert status.message.endswith("for joint_states")
    assert run.commands.messages == []


def stop_camera(robot: FakeRobot) -> None:
    robot.camera = "silent"


def repeat_stamp(robot: FakeRobot) -> None:
    robot.camera = "repeats"


def repeat_picture(robot: FakeRobot) -> None:
    robot.camera = "same picture"


def stop_joints(robot: FakeRobot) -> None:
    robot.joints = False


def stamp_joints_late(robot: FakeRobot) -> None:
    robot.joints_late_ns = 150_000_000  # more than a control period, and far less than AGE_LIMITS


def stop_driver(robot: FakeRobot) -> None:
    robot.driver = "silent"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (stop_camera, "camera_stale"),
        (repeat_stamp, "camera_frozen"),
        (repeat_picture, "camera_frozen"),
        (stop_joints, "joint_states_missing"),
        (stamp_joints_late, LATE_JOINTS),
        (stop_driver, "previous_command_missing"),
    ],
)
def test_stops_on_bad_inputs_and_runs_again_after_start(start_run, fault, reason):
    run = start_run(freeze_frames=3, freeze_travel_rad=0.01)
    run.call("start")
    run.commands.wait_for(4)
    fault(run.robot)
    run.expect_stop(reason)
    assert_runs_again(run)


def assert_runs_again(run: Run) -> None:
    """All is good again, and after a start the policy begins anew."""
    run.robot.camera, run.robot.joints, run.robot.driver, run.robot.joints_late_ns = "good", True, "good", 0
    run.wait_pictures(5)
    run.commands.clear()
    run.call("start")
    assert follows_policy(run, run.commands.wait_for(4))


def test_a_policy_with_proprioception_acts_on_the_joints_at_the_picture(start_run, feeling_bundle):
    run = start_run(bundle=str(feeling_bundle))
    status = run.ros.wait_reason("policy_runner", "idle")
    assert {value.key: value.value for value in status.values}["observes"] == "pictures and joint positions"
    run.call("start")
    commands = run.commands.wait_for(12)
    assert follows_policy(run, commands)
    felt = np.stack([run.robot.poses[ns_from_time(message.header.stamp)] for message in commands])
    assert np.ptp(felt, axis=0).max() > 0.1, "the joints never moved"
    run.observes_joints = False
    assert not follows_policy(run, commands), "the joints made no difference"


def test_an_imported_bag_of_a_run_holds_what_the_policy_saw(start_run, feeling_bundle):
    """The rows that `vmail import` makes of the messages lead the same policy to the same commands, to the bit."""
    run = start_run(bundle=str(feeling_bundle))
    run.call("start")
    run.commands.wait_for(10)
    run.robot.driver = "holds"  # rows then hold what was sent
    run.commands.wait_for(15)
    run.call("stop")
    run.expect_stop("stopped")
    commands = {
        ns_from_time(m.header.stamp): positions_from_command(m, ROBOT.joint_names) for m in run.commands.messages
    }
    alignment = BagAlignment(ROBOT, (16, 16))
    feed = {
        "camera/image_raw": alignment.on_image,
        "joint_states": alignment.on_joint_states,
        "joint_commands": alignment.on_request,
        "joint_commands_sent": alignment.on_sent,
    }
    for topic, stamp_ns, value in run.robot.recorded:
        feed[topic](stamp_ns, value)
    (rows,) = segments(alignment.rows())
    runtime = PolicyRuntime(feeling_bundle)
    for row in rows[:-1]:  # the last command led to the last row
        action = runtime.step(row.image, row.action, row.joint_positions)
        np.testing.assert_array_equal(ROBOT.desired_positions(action), commands.pop(row.stamp_ns))
    assert not commands and len(rows) > 15


@pytest.mark.parametrize(("fault", "reason"), [(stop_joints, "joint_states_missing"), (stamp_joints_late, LATE_JOINTS)])
def test_a_policy_with_proprioception_stops_without_new_joints(start_run, feeling_bundle, fault, reason):
    run = start_run(bundle=str(feeling_bundle))
    run.call("start")
    run.commands.wait_for(4)
    fault(run.robot)
    run.expect_stop(reason)
    assert follows_policy(run, run.commands.messages)
    assert_runs_again(run)


def test_a_policy_with_proprioception_waits_for_joints(start_run, feeling_bundle):
    run = start_run(bundle=str(feeling_bundle))
    run.robot.joints = False
    run.ros.wait_reason("policy_runner", "idle")
    run.call("start")
    run.ros.wait_reason("policy_runner", "waiting")
    run.wait_pictures(5)
    assert run.commands.messages == []
    run.robot.joints = True
    assert follows_policy(run, run.commands.wait_for(5))


def test_one_command_that_the_driver_did_not_send_makes_the_policy_begin_anew(start_run):
    run = start_run()
    run.call("start")
    run.commands.wait_for(5)
    run.robot.driver = "skips one"
    commands = run.commands.wait_for(len(run.commands.messages) + 7)
    (skipped,) = (index for index, sent in enumerate(run.robot.sent) if sent is None)
    assert follows_policy(run, commands[: skipped + 1])
    assert follows_policy(run, commands[skipped + 1 :])
    assert len(commands) - skipped > 4


def test_an_emergency_stop_ends_the_run_with_the_drivers_reason(start_run):
    run = start_run(max_unsent_commands=1000)
    driver = DriverNews(run.ros)
    run.call("start")
    run.commands.wait_for(4)
    driver.say(DiagnosticStatus.ERROR, "estop", "holding: another hand's", name="left/dynamixel_driver")
    run.commands.wait_for(len(run.commands.messages) + 4)
    driver.say(DiagnosticStatus.ERROR, "estop", "holding: emergency stop")
    status = run.expect_stop("estop")
    assert status.level == DiagnosticStatus.ERROR and "holding: emergency stop" in status.message
    assert "`vmail call dynamixel_driver/reset_guard policy_runner/start`" in status.message
    # A start before the reset is refused, so that nothing moves when that comes.
    time.sleep(0.3)
    begun = len(run.commands.messages)
    refused = run.ros.call(Trigger, "policy_runner/start")
    assert not refused.success and refused.message in status.message
    run.wait_pictures(5)
    assert len(run.commands.messages) == begun
    driver.say(DiagnosticStatus.OK, "no_command_yet", "holding: nobody commands yet")
    until(lambda: run.ros.call(Trigger, "policy_runner/start").success, "the news of the reset has come")
    run.commands.wait_for(begun + 4)
    run.call("stop")
    assert_runs_again(run)


def test_commands_that_the_driver_does_not_send_end_the_run_with_its_reason(start_run):
    run = start_run()
    driver = DriverNews(run.ros)
    run.call("start")
    run.commands.wait_for(4)
    driver.say(DiagnosticStatus.ERROR, "two_commanders", "holding: keyboard, policy command at once")
    run.commands.wait_for(len(run.commands.messages) + 4)  # a hold that ends by itself is borne ...
    run.robot.driver = "silent"
    assert "keyboard, policy" in run.expect_stop("two_commanders").message  # ... for a few commands


def test_a_start_is_no_trouble_and_what_stays_missing_is_named(start_run):
    run = start_run()
    run.robot.joints = False
    run.call("start")
    assert run.ros.wait_reason("policy_runner", "waiting").level == DiagnosticStatus.OK

    def warned() -> bool:
        status = run.ros.wait_reason("policy_runner", "waiting")
        return status.level == DiagnosticStatus.WARN and status.message.endswith("for joint_states")

    until(warned, "it names what it still waits for")
    run.robot.joints = True
    assert follows_policy(run, run.commands.wait_for(4))


def test_a_still_scene_is_no_frozen_camera(start_run):
    run = start_run(freeze_frames=3, freeze_travel_rad=0.01)
    run.robot.camera, run.robot.moves = "same picture", False
    run.call("start")
    assert follows_policy(run, run.commands.wait_for(8))


def test_a_nan_action_is_never_commanded(start_run, tmp_path):
    run = start_run(bundle=str(write_known_bundle(tmp_path / "nan", ROBOT, finite_steps=8).path))
    run.call("start")
    run.expect_stop("action_not_finite")
    assert follows_policy(run, run.commands.messages)
    assert len(run.commands.messages) == 8


def test_a_policy_that_is_nan_from_the_start_is_refused(start_node, tmp_path):
    bundle = write_known_bundle(tmp_path / "nan", ROBOT, finite_steps=0).path
    process = start_node(RUNNER, parameters={"bundle": str(bundle)})
    assert process.wait() != 0
    assert "not finite" in process.output and str(bundle) in process.output
    assert "Traceback" not in process.output


def test_a_damaged_bundle_is_refused_by_name(start_node, tmp_path):
    bundle = write_known_bundle(tmp_path / "damaged", ROBOT).path
    policy = bundle / "policy.onnx"
    policy.write_bytes(policy.read_bytes()[:-1] + b"x")
    process = start_node(RUNNER, parameters={"bundle": str(bundle)})
    assert process.wait() != 0
    assert "policy.onnx" in process.output and "altered" in process.output
    assert "Traceback" not in process.output


def test_a_bundle_for_another_robot_is_refused(start_node, bundle, tmp_path):
    slower = dataclasses.replace(ROBOT, max_joint_speed=1.0)
    other = write_known_bundle(tmp_path / "other", slower).path
    process = start_node(RUNNER, parameters={"bundle": str(other)})
    assert process.wait() != 0
    assert "max_joint_speed" in process.output


def test_no_bundle_says_what_to_do(start_node):
    process = start_node(RUNNER)
    assert process.wait() != 0
    assert "vmail export" in process.output


def test_imports_neither_torch_nor_mujoco():
    code = f"import sys, {RUNNER}; print(sorted({{'torch', 'mujoco', 'onnx', 'rosbags'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
