"""dynamixel_driver stopped by an emergency stop, and set free again."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from driver_bench import SPEC, Commander, change_state, goals, torque, wait_ticks
from lifecycle_msgs.msg import Transition
from ros_harness import Collected, NodeProcess, Ros, until
from std_srvs.srv import SetBool, Trigger

from vmail_hardware.emulator import EmulatedBus
from vmail_hardware.emulator.chain import SYNC_WRITE
from vmail_hardware.emulator.packets import Instruction
from vmail_nodes.qos import DIAGNOSTICS

pytestmark = pytest.mark.xdist_group("driver")  # its tests share processes


def test_estop_latches_until_reset(ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    ros.wait_reason("dynamixel_driver", "estop", within=3.0)
    wait_ticks(states, 30)
    ros.wait_reason("dynamixel_driver", "estop", within=3.0)
    assert torque(bus) == [1] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)


def test_an_emergency_stop_outlives_the_nodes_transitions(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    known = Transition
    around = (known.TRANSITION_DEACTIVATE, known.TRANSITION_ACTIVATE)
    right_around = (around[0], known.TRANSITION_CLEANUP, known.TRANSITION_CONFIGURE, around[1])
    for transitions in (around, right_around):
        for transition in transitions:
            assert change_state(ros, transition)
        back_ns = time.time_ns()
        ros.wait_reason("dynamixel_driver", "estop", since_ns=back_ns)
        assert torque(bus) == [1] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "no_command_yet")


def test_an_emergency_stop_of_a_driver_that_is_not_active_holds_when_it_is(
    ros: Ros, bus: EmulatedBus, driver: NodeProcess
) -> None:
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert answer.success and "not active" in answer.message
    activated_ns = time.time_ns()
    assert change_state(ros, Transition.TRANSITION_ACTIVATE)
    ros.wait_reason("dynamixel_driver", "estop", since_ns=activated_ns)
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success


def test_an_emergency_stop_arrives_though_its_first_packet_gets_lost(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, lost = bus._chain.handle, threading.Event()

    def lose_one(instruction: Instruction, *rest: object) -> bytes:
        if instruction.code == SYNC_WRITE and not lost.is_set():
            lost.set()
            return b""
        return hear(instruction, *rest)

    stopped_ns = time.time_ns()
    commander.stop()
    ros.wait_reason("dynamixel_driver", ("command_too_old", "no_command_yet"), since_ns=stopped_ns)
    wait_ticks(states, 10)
    led = np.clip(goals(bus) + 0.3, SPEC.lower, SPEC.upper)
    bus.plant.push(led)
    bus.hold_present()
    bus.servo(12).set("goal_position", bus.servo(12).get("goal_position") + 30)  # where it is on its way to
    monkeypatch.setattr(bus._chain, "handle", lose_one)
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    wait_ticks(states, 10)
    assert lost.is_set()
    np.testing.assert_allclose(goals(bus), led, atol=0.02)


def test_an_emergency_stop_that_no_servo_hears_is_no_success(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    bus.faults.silent_ids = {21}
    ros.wait_reason("dynamixel_driver", "bus_silent")
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert not answer.success and "cut their power" in answer.message
    bus.faults.silent_ids = set()
    wait_ticks(states, 5)
    assert ros.call(Trigger, "dynamixel_driver/estop").success  # it has reached them meanwhile
    bus.faults.unplugged = True
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    for _ in range(2):
        answer = ros.call(Trigger, "dynamixel_driver/estop")
        assert not answer.success and "cut their power" in answer.message
    bus.faults.unplugged = False
    told = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
    told.wait_until(lambda message: any("holding: emergency stop" in status.message for status in message.status))


def test_an_emergency_stop_is_told_of_while_the_port_is_away(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    asked_ns = time.time_ns()
    ros.call(Trigger, "dynamixel_driver/estop")
    assert "trying to open it again" in ros.wait_reason("dynamixel_driver", "estop", since_ns=asked_ns).message
    asked_ns = time.time_ns()
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "bus_lost", since_ns=asked_ns)
    bus.faults.unplugged = False
    ros.wait_reason("dynamixel_driver", "no_command_yet")


def test_an_emergency_stop_of_a_limp_hand_is_told_of(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    ros.wait_reason("dynamixel_driver", "torque_off")
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    assert "without torque" in ros.wait_reason("dynamixel_driver", "estop").message
    reset_ns = time.time_ns()
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "torque_off", since_ns=reset_ns)


def test_a_reset_after_an_emergency_stop_gives_a_servo_its_torque_again(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    bus.servo(21).set("torque_enable", 0)  # its supply failed for a moment
    wait_ticks(states, 6 * SPEC.action_size)  # until its health has been read
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok")


def test_a_reset_that_ends_in_another_hold_says_so(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.hardware_errors = {11: 0x01}  # input voltage: shown, but no reason to shut down
    ros.wait_reason("dynamixel_driver", "hardware_error")
    answer = ros.call(Trigger, "dynamixel_driver/reset_guard")
    assert not answer.success and "held again: hardware_error" in answer.message
    bus.faults.hardware_errors = {}
    until(lambda: ros.call(Trigger, "dynamixel_driver/reset_guard").success, "the servo is well again")


def test_after_torque_was_off_an_emergency_stop_holds_where_the_joints_are_then(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    led = np.clip(SPEC.rest + np.where(np.arange(9) % 2, 0.05, 0.15), SPEC.lower, SPEC.upper)
    bus.plant.push(led)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    ros.wait_reason("dynamixel_driver", "estop")
    wait_ticks(states, 5)
    np.testing.assert_allclose(goals(bus), led, atol=0.01)
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
