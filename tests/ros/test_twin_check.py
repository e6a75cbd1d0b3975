"""The twin judges what is written to its servos: by hand past the limits, and by the driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from driver_process import start_driver
from dynamixel_sdk import PacketHandler, PortHandler
from ros_harness import NodeProcess, Ros
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_nodes.qos import COMMANDS_SENT

TASK = "dclaw_valve3_ccw"
TORQUE, GOAL = 64, 116


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


@pytest.mark.parametrize("checked", [True, False])
def test_an_unsafe_command_is_an_error_that_is_logged_once(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path, checked: bool
) -> None:
    bus = tmp_path / "servo_bus"
    parameters = {"task": TASK, "bus_path": str(bus), "frames_path": str(tmp_path / "frames.sock")}
    twin = start_node("vmail_nodes.twin", {**parameters, "check_commands": checked})
    ros.wait_reason("twin", "torque_off")
    port, packets = PortHandler(str(bus)), PacketHandler(2.0)
    port.setBaudRate(1_000_000)
    packets.write1ByteTxRx(port, 32, TORQUE, 1)
    before = ros.wait_reason("twin", "torque_partly_on")
    assert values(before).get("unsafe_commands") == ("0" if checked else None)
    for _ in range(2):
        packets.write4ByteTxRx(port, 32, GOAL, 4095)
    if checked:
        status = ros.wait_reason("twin", "unsafe_command")
        assert status.level == DiagnosticStatus.ERROR and "servo 32 (THJ32)" in status.message
    packets.write1ByteTxRx(port, 32, TORQUE, 0)
    after = ros.wait_reason("twin", "torque_off")
    assert values(after).get("unsafe_commands") == ("4" if checked else None)  # past the limit, and too far
    assert twin.output.count("unsafe_command:") == checked
    port.closePort()


def test_the_driver_writes_nothing_unsafe_while_the_expert_turns(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    port, frames = str(tmp_path / "servo_bus"), str(tmp_path / "frames.sock")
    start_node("vmail_nodes.twin", {"task": TASK, "bus_path": port, "frames_path": frames})
    start_node("vmail_nodes.camera", {"source": f"twin://{frames}", "wait_s": 30.0})
    start_driver(start_node, {"port": port, "wait_s": 30.0, "reply_timeout_ms": 60.0})
    start_node("vmail_nodes.teleop", {"task": TASK, "max_steps": 40})
    sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    for service in ("twin/reset", "teleop/start", "twin/kick"):
        assert ros.call(Trigger, service).success
    ros.wait_reason("teleop", "idle")
    goals = np.array([message.points[0].positions for message in sent.wait_for(20)])
    assert np.ptp(goals, axis=0).max() > 0.3  # it moved
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    assert values(ros.wait_reason("twin", "torque_on"))["unsafe_commands"] == "0"
