"""dynamixel_driver where torque was refused, lost or given back: what it says then is so, and what it advises helps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from driver_bench import SPEC, Commander, change_state, goals, torque, wait_ticks
from lifecycle_msgs.msg import Transition
from ros_harness import Collected, NodeProcess, Ros, until
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.qos import COMMANDS_SENT, GOALS

pytestmark = pytest.mark.xdist_group("driver")  # its tests share processes
RESET = "`vmail call dynamixel_driver/reset_guard`"


def ask_torque(ros: Ros, on: bool) -> SetBool.Response:
    return ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=on))


def test_a_hand_whose_torque_was_refused_gets_no_goals_and_obeys_nobody(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    told = ros.collect(JointState, "joint_goals", GOALS)
    ros.meet("dynamixel_driver")
    inside = bus.plant.positions()
    assert ask_torque(ros, False).success
    bus.plant.push(np.where(np.arange(SPEC.action_size) == 0, -3.3, inside))  # past where its servo counts
    assert not ask_torque(ros, True).success
    sent.clear()
    before = goals(bus)
    wait_ticks(states, 30)  # three commands come
    assert not sent.messages and not told.messages[-1].name
    np.testing.assert_array_equal(goals(bus), before)
    assert "Commands are ignored" in ros.wait_reason("dynamixel_driver", "torque_off").message
    bus.plant.push(inside)
    assert ask_torque(ros, False).success
    status = ros.wait_reason("dynamixel_driver", "torque_off")
    assert "stands at" not in status.message, "that was another time"
    commander.stop()
    time.sleep(1.5)  # older than the driver takes commands here
    assert ask_torque(ros, True).success
    np.testing.assert_allclose(goals(bus), inside, atol=0.02)


def test_what_is_latched_says_how_to_go_on(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    assert ros.wait_reason("dynamixel_driver", "estop").message.endswith(f"to go on, {RESET}")
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "ok")
    bus.servo(21).reboot()  # its power was away for a moment
    message = ros.wait_reason("dynamixel_driver", "torque_lost").message
    assert "servo 21 (MFJ21) lost its torque; check its power" in message and message.endswith(f"to go on, {RESET}")
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "ok")
    assert torque(bus) == [1] * SPEC.action_size


def test_torque_is_not_touched_while_a_servo_is_silent(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.silent_ids = {21}
    ros.wait_reason("dynamixel_driver", "bus_silent")
    answer = ask_torque(ros, True)
    assert not answer.success and "no answer from servo 21 (MFJ21)" in answer.message
    assert torque(bus) == [1] * SPEC.action_size
    bus.faults.silent_ids = set()
    ros.wait_reason("dynamixel_driver", "ok")


def test_torque_cannot_be_asked_for_while_the_port_is_away(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert ask_torque(ros, False).success
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    answer = ask_torque(ros, True)
    assert not answer.success and "is away; the driver opens it by itself once it is back" in answer.message
    bus.faults.unplugged = False
    ros.wait_reason("dynamixel_driver", "torque_off")
    assert torque(bus) == [0] * SPEC.action_size


def test_torque_that_was_not_wanted_any_more_goes_once_the_port_is_back_whatever_a_servo_reports(
    ros: Ros, bus: EmulatedBus, commander: Commander
) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    assert not ask_torque(ros, False).success
    bus.faults.hardware_errors = {21: 0x04}
    bus.faults.unplugged = False
    assert "without torque: servo 21" in ros.wait_reason("dynamixel_driver", "hardware_error").message
    assert torque(bus) == [0] * SPEC.action_size
    bus.faults.hardware_errors = {}
    assert "restarted servo 21" in ros.call(Trigger, "dynamixel_driver/reset_guard").message
    assert torque(bus) == [0] * SPEC.action_size


def test_a_driver_that_is_not_active_says_that_torque_is_off(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert "not active" in ros.wait_reason("dynamixel_driver", "torque_off").message
    assert torque(bus) == [0] * SPEC.action_size
    assert change_state(ros, Transition.TRANSITION_ACTIVATE)
    ros.wait_reason("dynamixel_driver", "ok")


def test_one_that_could_not_let_go_says_that_torque_may_be_on(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    assert not change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert "did not confirm" in ros.wait_reason("dynamixel_driver", "torque_may_be_on").message
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert not answer.success and "cut their power" in answer.message
    bus.faults.unplugged = False
    until(bus.path.exists, "the port is back")
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert torque(bus) == [0] * SPEC.action_size
    assert change_state(ros, Transition.TRANSITION_ACTIVATE)
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success  # the emergency stop outlives that


def test_a_shutdown_that_could_not_let_go_is_no_success(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    change_state(ros, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert driver.wait() == 1
    assert "torque may still be on" in driver.output
