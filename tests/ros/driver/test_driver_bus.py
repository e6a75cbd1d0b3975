"""dynamixel_driver when servos, port or power fail, and torque at every end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from driver_bench import SPEC, Commander, goals, torque, wait_ticks
from ros_harness import Collected, NodeProcess, Ros, until
from std_srvs.srv import SetBool, Trigger

from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.diagnostics import reason_of
from vmail_nodes.messages import ns_from_time

pytestmark = pytest.mark.xdist_group("driver")  # its tests share processes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_torque_is_off_after_a_signal(bus: EmulatedBus, driver: NodeProcess, number: signal.Signals) -> None:
    assert torque(bus) == [1] * SPEC.action_size
    driver.signal(number)
    driver.signal(signal.SIGINT)  # a second one must not cut the switching off short
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_torque_is_off_after_a_signal_with_a_servo_that_loses_answers(bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.lose_next = 20
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_says_so_when_torque_may_still_be_on(bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.unplugged = True
    until(lambda: not bus.path.exists(), "the bus is unplugged")
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 1
    assert "torque may still be on" in driver.output


def test_a_silent_servo_holds_by_name_and_recovers(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.silent_ids = {21}
    status = ros.wait_reason("dynamixel_driver", "bus_silent", within=3.0)
    assert "21" in status.message
    bus.faults.silent_ids = set()
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)


def test_one_lost_answer_changes_nothing(ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected) -> None:
    def said(since_ns: int) -> list[DiagnosticStatus]:
        messages = [m for m in list(ros.diagnostics.messages) if ns_from_time(m.header.stamp) >= since_ns]
        return [status for message in messages for status in message.status if status.name == "dynamixel_driver"]

    def silent_reads(status: DiagnosticStatus) -> int:
        return int({pair.key: pair.value for pair in status.values}.get("silent_reads", "0"))

    before = silent_reads(said(0)[-1])
    wait_ticks(states, 1)
    began_ns = time.time_ns()
    bus.faults.lose_next = 2
    until(lambda: any(silent_reads(status) > before for status in said(began_ns)), "the driver notices")
    noticed_ns = time.time_ns()
    until(lambda: said(noticed_ns), "the driver goes on")
    assert bus.faults.lose_next == 0
    reasons = {reason_of(status) for status in said(began_ns)}
    # On a machine that stalled, all answers were late for once: then holding is right.
    unknown_s = np.diff([ns_from_time(message.header.stamp) for message in list(states.messages)]).max() * 1e-9
    assert reasons == {"ok"} or unknown_s > 0.1


def test_a_servo_that_shut_down_while_the_port_was_away_is_named_and_restarted(
    ros: Ros, bus: EmulatedBus, commander: Commander
) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    bus.faults.hardware_errors = {21: 0x04}
    bus.faults.unplugged = False
    status = ros.wait_reason("dynamixel_driver", "hardware_error")
    assert "servo 21 (MFJ21) reports overheating" in status.message
    bus.faults.hardware_errors = {}
    until(lambda: ros.call(Trigger, "dynamixel_driver/reset_guard").success, "the servo is restarted")
    ros.wait_reason("dynamixel_driver", "ok")
    assert torque(bus) == [1] * SPEC.action_size


def test_an_unplugged_port_is_named_and_recovers_into_a_hold(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost", within=3.0)
    commander.stop()
    moved = np.clip(SPEC.rest + 0.15, SPEC.lower, SPEC.upper)
    bus.plant.push(moved)
    servos = [bus.servo(servo_id) for servo_id in SPEC.servo_ids]
    until(lambda: all(servo.get("bus_watchdog") == -1 for servo in servos), "the servos' own watchdogs trip")
    bus.faults.unplugged = False
    ros.wait_reason("dynamixel_driver", "no_command_yet", within=5.0)
    assert torque(bus) == [1] * SPEC.action_size
    np.testing.assert_allclose(goals(bus), bus.plant.positions(), atol=0.02)


def test_power_that_comes_back_with_the_port_moves_nothing(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    for servo_id in SPEC.servo_ids:
        bus.servo(servo_id).reboot()
    bus.faults.unplugged = False
    status = ros.wait_reason("dynamixel_driver", "torque_lost")
    assert "lost its torque" in status.message
    assert torque(bus) == [0] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok")


def test_torque_that_would_move_a_joint_stays_off_and_says_why(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    inside = bus.plant.positions()
    bus.plant.push(np.where(np.arange(SPEC.action_size) == 0, -3.3, inside))  # past where its servo counts
    answer = ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True))
    bus.plant.push(inside)
    assert not answer.success and "servo 10 (FFJ10) stands at" in answer.message
    assert torque(bus) == [0] * SPEC.action_size
    status = ros.wait_reason("dynamixel_driver", "torque_off")
    assert "servo 10 (FFJ10) stands at" in status.message
    time.sleep(1.5)  # every servo's health is read meanwhile
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    ros.wait_reason("dynamixel_driver", "no_command_yet")  # torque that was refused was not lost


def test_a_hand_whose_port_comes_back_without_a_servo_can_be_let_go(
    ros: Ros, bus: EmulatedBus, commander: Commander
) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    bus.faults.silent_ids = {21}
    bus.faults.unplugged = False
    until(bus.path.exists, "the port is back")
    answer = ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False))
    assert not answer.success and "servo 21 (MFJ21) did not confirm" in answer.message
    assert torque(bus) == [0] * SPEC.action_size  # servo 21 hears, but does not answer
    bus.faults.silent_ids = set()
    ros.wait_reason("dynamixel_driver", "torque_off")
    assert torque(bus) == [0] * SPEC.action_size


def test_a_hardware_error_latches(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.hardware_errors = {11: 0x04}
    status = ros.wait_reason("dynamixel_driver", "hardware_error", within=3.0)
    assert "11" in status.message
    refused = ros.call(Trigger, "dynamixel_driver/reset_guard")
    assert not refused.success and "torque_enable of servo 11" in refused.message
    refused = ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True))
    assert not refused.success and "torque_enable of servo 11" in refused.message
    status = ros.wait_reason("dynamixel_driver", "hardware_error")
    assert "without torque: " in status.message and "torque_enable of servo 11" in status.message
    assert "`vmail call dynamixel_driver/reset_guard` restarts servos" in status.message
    bus.faults.hardware_errors = {}
    answer = ros.call(Trigger, "dynamixel_driver/reset_guard")
    assert answer.success and answer.message == "cleared hardware_error, restarted servo 11 (FFJ11)"
    assert torque(bus) == [1] * 9
    ros.wait_reason("dynamixel_driver", "ok")


def test_a_missing_port_is_one_clear_error(start_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    process = start_node("vmail_nodes.dynamixel_driver", {"port": str(tmp_path / "nowhere")})
    assert process.wait() == 1
    assert f"no device {tmp_path / 'nowhere'}" in process.output
    assert "Traceback" not in process.output
