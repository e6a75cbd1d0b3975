"""teleop: the expert's commands for the twin's states, what keys do, and the node with a terminal as its input."""

from __future__ import annotations

import itertools
import os
import pty
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from fake_robot import DriverNews
from ros_harness import NodeProcess, Ros, until
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

import vmail_sim
from vmail.demo.settings import SHIPPED_TAKES
from vmail_core.robot import load_robot
from vmail_nodes.diagnostics import reason_of
from vmail_nodes.keyboard import JointKeys
from vmail_nodes.messages import (
    image_from_array,
    joint_state_message,
    ns_from_time,
    positions_from_command,
)
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, SENSOR_PUBLISHER
from vmail_nodes.recorder_keys import SERVICES, RecorderKeys
from vmail_nodes.take_keys import NEXT
from vmail_nodes.teleop import ESTOP_ANSWER_S
from vmail_sim.dclaw.model import VALVE_JOINT
from vmail_sim.experts import load_expert

SPEC = load_robot("dclaw")
TASK = "dclaw_valve3_ccw"


def control_stamps() -> Iterator[int]:
    """Stamps of pictures a control period apart, from now on: of a camera that runs at the robot's rate."""
    return itertools.count(time.time_ns(), round(1e9 * SPEC.control_period))


def test_the_expert_commands_what_it_would_in_the_simulator(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    start_node("vmail_nodes.teleop", {"task": TASK, "max_steps": 5, "start_on_activate": True})
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    states = ros.publisher(JointState, "twin/state", SENSOR_PUBLISHER)
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    env, expert = vmail_sim.load(TASK, seed=1, pixels=None), load_expert(TASK)
    observation = env.reset().observation
    for step, stamp in zip(range(5), control_stamps(), strict=False):
        positions = np.append(env.physics.joint_positions(), env.physics.valve_angle())
        velocities = np.append(env.physics.joint_velocities(), env.physics.valve_velocity())
        names = [*SPEC.joint_names, VALVE_JOINT]
        picture = image_from_array(np.zeros((8, 8, 3), np.uint8), stamp)
        state = joint_state_message(names, positions, velocities, None, stamp)
        # Either may come first: they are paired by stamp.
        for publisher, message in ((states, state), (images, picture))[:: 1 if step % 2 else -1]:
            publisher.publish(message)
        action = expert(observation["state"])
        command = commands.wait_for(step + 1)[step]
        assert ns_from_time(command.header.stamp) == stamp
        np.testing.assert_allclose(
            positions_from_command(command, SPEC.joint_names), SPEC.desired_positions(action), atol=1e-6
        )
        observation = env.step(action).observation
    ros.wait_reason("teleop", "idle")  # max_steps


def reports(ros: Ros) -> list[tuple[bytes, str]]:
    """Level and reason of teleop so far, without repetitions."""
    found = [(s.level, reason_of(s)) for m in ros.diagnostics.messages for s in m.status if s.name == "teleop"]
    return [report for index, report in enumerate(found) if index == 0 or found[index - 1] != report]


def test_pictures_without_states_are_named(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    start_node("vmail_nodes.teleop", {"task": TASK, "start_on_activate": True, "start_timeout_s": 2.0})
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    picture = np.zeros((8, 8, 3), np.uint8)
    camera = ros.node.create_timer(0.1, lambda: images.publish(image_from_array(picture, time.time_ns())))
    assert "twin/state" in ros.wait_reason("teleop", "state_missing").message
    ros.node.destroy_timer(camera)


def test_a_start_before_camera_and_joints_is_no_error(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    keyboard, terminal = pty.openpty()
    start_node("vmail_nodes.teleop", {"mode": "keyboard"}, stdin=terminal)
    told = ros.wait_reason("teleop", "waiting").message
    assert "/camera/image_raw and /joint_states" in told
    states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    picture, rest = np.zeros((8, 8, 3), np.uint8), SPEC.rest

    def publish() -> None:
        states.publish(joint_state_message(SPEC.joint_names, rest, 0 * rest, None, time.time_ns()))
        images.publish(image_from_array(picture, time.time_ns()))

    robot = ros.node.create_timer(0.1, publish)
    ros.wait_reason("teleop", "running")
    assert {level for level, _ in reports(ros)} <= {DiagnosticStatus.STALE, DiagnosticStatus.OK}, reports(ros)
    ros.node.destroy_timer(robot)
    status = ros.wait_reason("teleop", "camera_too_old")  # one that was there is missed at once
    assert status.level == DiagnosticStatus.ERROR
    os.close(keyboard)
    os.close(terminal)


def test_a_camera_that_never_comes_is_an_error_in_the_end(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    start_node("vmail_nodes.teleop", {"task": TASK, "start_on_activate": True, "start_timeout_s": 1.0})
    status = ros.wait_reason("teleop", "camera_too_old")
    assert status.level == DiagnosticStatus.ERROR and "nothing has come on /camera/image_raw" in status.message


def test_keys_for_a_recorder_that_is_not_there_say_so(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    keyboard, terminal = pty.openpty()
    node = start_node("vmail_nodes.teleop", {"mode": "keyboard"}, stdin=terminal)
    until(lambda: "keys: " in node.output, "the keyboard listens")
    os.write(keyboard, b"\x1b[C")
    until(lambda: "no recorder is running" in node.output, "it says that there is no recorder")
    assert node.process.poll() is None
    os.close(keyboard)
    os.close(terminal)


def test_a_recorder_that_does_not_answer_is_not_waited_for(ros: Ros) -> None:
    node = rclpy.create_node("teleop", context=ros.node.context)
    mute = rclpy.create_node("demo_recorder", context=ros.node.context)  # nobody spins it
    for name in SERVICES.values():
        mute.create_service(Trigger, f"~/{name}", lambda request, response: response)
    recorder = RecorderKeys(node, answer_s=0.2)
    until(lambda: all(client.service_is_ready() for client in node.clients), "the services appear")
    began = time.monotonic()
    recorder.press(NEXT)
    assert recorder.watch() == "" and time.monotonic() - began < 0.2
    until(lambda: "does not answer" in recorder.watch(), "it is given up")
    assert recorder.watch() == ""
    mute.destroy_node()
    node.destroy_node()


def test_keys_move_their_joint_within_its_limits() -> None:
    keys = JointKeys(SPEC, step=0.1)
    keys.target = np.zeros(SPEC.action_size)
    present = np.full(SPEC.action_size, 0.05)
    keys.press("w", present)
    expected = np.zeros(SPEC.action_size)
    expected[1] = 0.1 * SPEC.scale[1]
    np.testing.assert_allclose(keys.target, expected)
    for _ in range(30):
        told = keys.press("l", present)
    assert keys.target[8] == SPEC.lower[8]
    assert told == f"{SPEC.joint_names[8]} is asked to its limit already, {SPEC.lower[8]:+.2f} rad"
    keys.press("1", present)
    np.testing.assert_array_equal(keys.target, SPEC.rest)
    keys.press(" ", present)
    np.testing.assert_array_equal(keys.target, present)
    assert keys.press("~", present) == "no key '~'; ? shows the keys" and keys.press("~", present) == ""
    assert keys.press("\x1b[A", present) == ""


def test_keys_say_when_the_joints_are_unknown() -> None:
    assert "driver" in JointKeys(SPEC, 0.1).press("q", None)


def test_a_terminal_moves_the_target_with_every_frame(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    keyboard, terminal = pty.openpty()
    node = start_node("vmail_nodes.teleop", {"mode": "keyboard"}, stdin=terminal)
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    sent = ros.publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    picture = np.zeros((8, 8, 3), np.uint8)
    stamps: list[int] = []
    next_stamps = control_stamps()

    def film() -> np.ndarray:
        """One frame more, and what is commanded on it."""
        stamps.append(next(next_stamps))
        here = joint_state_message(SPEC.joint_names, SPEC.rest, 0 * SPEC.rest, None, stamps[-1])
        images.publish(image_from_array(picture, stamps[-1]))

        def commanded() -> bool:
            states.publish(here)  # again and again: before the driver obeys, what was heard is forgotten, too
            return len(commands.messages) >= len(stamps)

        until(commanded, "the frame is answered")
        command = commands.messages[-1]
        sent.publish(command)  # a driver that does not obey would undo what keys ask for
        return positions_from_command(command, SPEC.joint_names)

    for _ in range(5):
        np.testing.assert_allclose(film(), SPEC.rest)
    os.write(keyboard, b"qq")
    expected = SPEC.rest.copy()
    expected[0] += 2 * 0.08 * SPEC.scale[0]
    until(lambda: np.allclose(film(), expected), "the target has moved by two keys")
    np.testing.assert_allclose(film(), expected)
    assert [ns_from_time(message.header.stamp) for message in commands.messages] == stamps
    stopped: list[Trigger.Request] = []

    def on_estop(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        stopped.append(request)
        response.success, response.message = len(stopped) > 1, "no servo hears it"
        return response

    driver = ros.node.create_service(Trigger, "dynamixel_driver/estop", on_estop)
    os.write(keyboard, b"x")
    until(lambda: stopped, "the driver hears the emergency stop")
    until(lambda: "the emergency stop failed: no servo hears it" in node.output, "its failure is told")
    os.write(keyboard, b"x")
    until(lambda: len(stopped) == 2, "the driver hears it again")
    time.sleep(ESTOP_ANSWER_S + 0.2)
    assert "does not answer" not in node.output
    ros.node.destroy_service(driver)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    os.close(keyboard)
    os.close(terminal)


def test_an_emergency_stop_that_nobody_answers_is_told(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    keyboard, terminal = pty.openpty()
    node = start_node("vmail_nodes.teleop", {"mode": "keyboard"}, stdin=terminal)
    mute = rclpy.create_node("dynamixel_driver", context=ros.node.context)  # nobody spins it, as where it was killed
    mute.create_service(Trigger, "~/estop", lambda request, response: response)
    until(lambda: "keys: " in node.output, "the keyboard listens")

    def told() -> bool:
        os.write(keyboard, b"x")  # which the node may not have discovered yet
        return "does not answer the emergency stop: cut the servos' power" in node.output

    until(told, "that is told")
    mute.destroy_node()
    os.close(keyboard)
    os.close(terminal)


def test_without_a_terminal_it_says_how_to_start_it(start_node: Callable[..., NodeProcess]) -> None:
    node = start_node("vmail_nodes.teleop", {"mode": "keyboard"})
    assert node.wait() == 1
    assert "needs a terminal" in node.output


def test_a_take_is_done_again_and_ends_by_itself(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    teleop = start_node("vmail_nodes.teleop", {"mode": "replay", "take": str(SHIPPED_TAKES / "take_0001")})
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    driver, sent = DriverNews(ros), ros.publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    picture, next_stamps, told = np.zeros((8, 8, 3), np.uint8), control_stamps(), set[int]()

    def published() -> bool:
        """A hand that is at once where it is told to be, of a driver that obeys from the third command on."""
        stamp, newest = next(next_stamps), commands.messages[-1:]
        pose = positions_from_command(newest[0], SPEC.joint_names) if newest else SPEC.rest
        states.publish(joint_state_message(SPEC.joint_names, pose, 0 * pose, None, stamp))
        images.publish(image_from_array(picture, stamp))
        if len(commands.messages) > 2 and len(commands.messages) not in told:
            told.add(len(commands.messages))
            sent.publish(newest[0])
        return "replayed take_0001: 80 commands" in teleop.output

    driver.say(DiagnosticStatus.OK, "no_command_yet", "holding: nobody commands yet")
    assert ros.call(Trigger, "teleop/start").success
    until(published, "the take is done again")
    found = [positions_from_command(message, SPEC.joint_names) for message in commands.messages]
    waited = len(found) - 80  # at the first pose
    assert waited >= 3 and all(np.array_equal(pose, found[0]) for pose in found[:waited])
    assert np.ptp(np.stack(found[waited:]), axis=0).max() > 0.5


def test_a_take_whose_first_pose_is_not_reached_says_how_far_off_it_is(
    ros: Ros, start_node: Callable[..., NodeProcess]
) -> None:
    teleop = start_node("vmail_nodes.teleop", {"mode": "replay", "take": str(SHIPPED_TAKES / "take_0001")})
    states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    blocked, picture, stamps = SPEC.rest + np.eye(9)[4], np.zeros((8, 8, 3), np.uint8), control_stamps()
    assert ros.call(Trigger, "teleop/start").success

    def published() -> bool:
        stamp = next(stamps)
        states.publish(joint_state_message(SPEC.joint_names, blocked, 0 * blocked, None, stamp))
        images.publish(image_from_array(picture, stamp))
        return "does not reach" in teleop.output

    until(published, "it gives up")
    told = ros.wait_reason("teleop", "idle").message
    assert f"{SPEC.joint_names[4]} does not reach where take_0001 began: after 5 s it is at" in told, told
    assert "then start again. The driver has sent none of the commands: see its diagnostics" in told


def test_an_emergency_stop_ends_an_experts_run_and_says_so(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    start_node("vmail_nodes.teleop", {"mode": "expert", "task": TASK})
    commands = ros.collect(JointTrajectory, "joint_commands", COMMANDS)
    states = ros.publisher(JointState, "twin/state", SENSOR_PUBLISHER)
    images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    driver, names = DriverNews(ros), [*SPEC.joint_names, VALVE_JOINT]
    pose, stamps = np.append(SPEC.rest, 0.0), control_stamps()

    def seen() -> int:
        """One more picture with its state is shown; how many commands have come."""
        stamp = next(stamps)
        states.publish(joint_state_message(names, pose, 0 * pose, None, stamp))
        images.publish(image_from_array(np.zeros((8, 8, 3), np.uint8), stamp))
        return len(commands.messages)

    assert ros.call(Trigger, "teleop/start").success
    until(lambda: seen() > 3, "the expert commands")
    driver.say(DiagnosticStatus.ERROR, "estop", "holding: emergency stop")
    status = ros.wait_reason("teleop", "idle")
    driver.say(DiagnosticStatus.OK, "no_command_yet", "holding: nobody commands yet")
    count = seen()
    time.sleep(0.3)
    assert seen() == count, "it commands after the reset"
    assert status.level == DiagnosticStatus.ERROR
    assert "emergency stop; to go on, `vmail call dynamixel_driver/reset_guard teleop/start`" in status.message


def test_a_take_that_is_none_is_one_clear_error(start_node: Callable[..., NodeProcess]) -> None:
    node = start_node("vmail_nodes.teleop", {"mode": "replay", "take": "takes/none"})
    assert node.wait() == 1
    assert "no bag at takes/none" in node.output
