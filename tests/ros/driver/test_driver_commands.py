"""dynamixel_driver in health: what reaches the servos, what does not, and what is said of it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from driver_bench import SPEC, TICK, Commander, change_state, goals, torque, wait_ticks
from lifecycle_msgs.msg import Transition
from ros_harness import Collected, NodeProcess, Ros, until
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.messages import (
    command_message,
    goals_from_message,
    latency_ns,
    ns_from_time,
    positions_from_command,
    positions_from_joint_state,
)
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, GOALS

pytestmark = pytest.mark.xdist_group("driver")  # its tests share processes


def test_reads_at_rate_and_reports_where_the_joints_are(
    bus: EmulatedBus, driver: NodeProcess, states: Collected
) -> None:
    messages = wait_ticks(states, 100)
    intervals = np.diff([ns_from_time(message.header.stamp) for message in messages]) * 1e-9
    assert np.median(intervals) == pytest.approx(0.01, rel=0.2)  # some are longer on a busy machine
    assert list(messages[-1].name) == list(SPEC.joint_names)
    np.testing.assert_allclose(
        positions_from_joint_state(messages[-1], SPEC.joint_names), bus.plant.positions(), atol=TICK
    )


def test_obeys_commands_within_the_speed_limit_and_says_what_it_sent(
    ros: Ros, bus: EmulatedBus, driver: NodeProcess
) -> None:
    sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    before = bus.plant.positions()
    desired = np.zeros(SPEC.action_size)
    commander = Commander(ros, desired)
    first = sent.wait_for(1)[0]
    written = positions_from_command(first, SPEC.joint_names)
    np.testing.assert_allclose(written, SPEC.limit_step(desired, before), atol=1.5 * TICK)
    assert np.abs(written - desired).max() > 0.5  # the far joints were held back
    sent.wait_for(12)
    until(lambda: np.allclose(bus.plant.positions(), desired, rtol=0.0, atol=0.02), "the joints arrive")
    commander.stop()
    latencies = [latency_ns(message) for message in sent.messages]
    assert 0 < min(latencies) < 100e6  # the least of them is the driver's, the others may be the machine's


def test_torque_follows_the_lifecycle(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert torque(bus) == [0] * SPEC.action_size
    assert change_state(ros, Transition.TRANSITION_CLEANUP)
    # Either refuses, and may be asked again, when a busy machine keeps the emulated servos from answering in time.
    until(lambda: change_state(ros, Transition.TRANSITION_CONFIGURE), "the driver is configured")
    until(lambda: change_state(ros, Transition.TRANSITION_ACTIVATE), "the driver is active")
    assert torque(bus) == [1] * SPEC.action_size
    np.testing.assert_allclose(goals(bus), bus.plant.positions(), atol=1.5 * TICK)
    assert change_state(ros, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_holds_when_commands_stop_and_goes_on_with_the_next(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    stopped_ns = time.time_ns()
    commander.stop()
    ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=stopped_ns)
    assert torque(bus) == [1] * SPEC.action_size
    again = Commander(ros, SPEC.rest)
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)
    again.stop()


def test_a_hold_is_written_when_it_begins_and_does_not_fight(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    stopped_ns = time.time_ns()
    commander.stop()
    ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=stopped_ns)
    wait_ticks(states, 10)
    held = goals(bus)
    elsewhere = np.clip(held + 0.3, SPEC.lower, SPEC.upper)
    bus.plant.push(elsewhere)
    bus.hold_present()  # on a busy machine the joints have begun to come back
    there = goals(bus)
    assert np.abs(there - held).max() > 0.1
    wait_ticks(states, 50)
    np.testing.assert_allclose(goals(bus), there, atol=1.5 * TICK)


def test_not_a_number_holds(ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected) -> None:
    commander.positions = np.where(np.arange(SPEC.action_size) == 4, np.nan, 0.0)
    status = ros.wait_reason("dynamixel_driver", "command_not_finite", within=3.0)
    assert "MFJ21" in status.message
    wait_ticks(states, 30)
    np.testing.assert_allclose(goals(bus), SPEC.rest, atol=1.5 * TICK)  # the last good command stands


def test_a_command_for_other_joints_holds(ros: Ros, driver: NodeProcess) -> None:
    publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    stamp_ns = time.time_ns()
    publisher.publish(command_message(["a", "b"], np.zeros(2), stamp_ns))
    ros.wait_reason("dynamixel_driver", "command_wrong_size", within=3.0, since_ns=stamp_ns)


def test_two_who_command_at_once_hold_the_hand_until_one_of_them_stops(ros: Ros, driver: NodeProcess) -> None:
    sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    keyboard = Commander(ros, SPEC.rest.copy(), "keyboard")
    ros.wait_reason("dynamixel_driver", "ok")
    policy = Commander(ros, SPEC.rest + 0.1, "policy")
    status = ros.wait_reason("dynamixel_driver", "two_commanders")
    assert "keyboard, policy" in status.message
    keyboard.stop()
    stopped_ns = time.time_ns()
    ros.wait_reason("dynamixel_driver", "ok", since_ns=stopped_ns)
    # Whose command it was is told with what was sent.
    assert sent.messages[0].header.frame_id == "keyboard"
    sent.wait_until(lambda message: message.header.frame_id == "policy")
    policy.stop()


def test_a_command_from_an_old_picture_is_refused(
    ros: Ros, bus: EmulatedBus, driver: NodeProcess, states: Collected
) -> None:
    before = goals(bus)
    publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    now_ns = time.time_ns()
    publisher.publish(command_message(SPEC.joint_names, np.zeros(SPEC.action_size), now_ns - 2 * 10**9))
    ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=now_ns)
    wait_ticks(states, 5)
    np.testing.assert_allclose(goals(bus), before, atol=1.5 * TICK)


def test_what_the_servos_pursue_is_told_of_commands_and_holds(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    told = ros.collect(JointState, "joint_goals", GOALS)  # late, and told all the same
    until(lambda: told.messages and told.messages[-1].name, "goals are told")
    np.testing.assert_allclose(goals_from_message(told.messages[-1], SPEC.joint_names), SPEC.rest, atol=0.11)
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    wait_ticks(states, 5)
    held = goals_from_message(told.messages[-1], SPEC.joint_names)
    assert held is not None
    np.testing.assert_allclose(held, goals(bus), atol=TICK)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    until(lambda: not told.messages[-1].name, "limp servos pursue nothing")


def test_a_driver_that_waits_for_a_first_command_is_well(ros: Ros, driver: NodeProcess) -> None:
    assert ros.wait_reason("dynamixel_driver", "no_command_yet").level == DiagnosticStatus.OK


def test_what_to_type_is_said(ros: Ros, driver: NodeProcess) -> None:
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert answer.message.endswith("`vmail call dynamixel_driver/reset_guard`")
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    assert "`vmail call dynamixel_driver/torque true`" in ros.wait_reason("dynamixel_driver", "torque_off").message


def test_torque_service(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    assert torque(bus) == [0] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "torque_off", within=3.0)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)
