"""`vmail up` runs a whole graph of processes, stops it in order, and says when a node fails."""

from __future__ import annotations

import os
import pty
import signal
import time
from pathlib import Path

import numpy as np
import yaml
from rcl_interfaces.srv import ListParameters
from ros_harness import Ros, until
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from vmail import cli
from vmail.graph import load_graph
from vmail_core.robot import load_robot
from vmail_hardware.cameras import FrameServer
from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.qos import SENSOR_SUBSCRIBER


def declared_parameters(ros: Ros, node: str) -> set[str]:
    return set(ros.call(ListParameters, f"/{node}/list_parameters").result.names)


def test_a_take_is_recorded_and_the_graph_ends_in_order(ros: Ros, up, tmp_path: Path) -> None:
    graph = up("dclaw_teleop_demo", "sim:=true", f"record:={tmp_path / 'takes'}", "max_steps:=10", "seed:=4")
    ready = "ready: twin, camera, dynamixel_driver, teleop, ghost, demo_recorder are active; Ctrl-C ends them"
    until(lambda: ready in graph.output, "all are active")
    ros.wait_reason("demo_recorder", "idle")
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    ros.collect(Image, "camera/image_raw", SENSOR_SUBSCRIBER).wait_for(3)
    for node in load_graph("dclaw_teleop_demo", {"sim": "true"}, Path("/run/x")):
        given = set(node.parameters)
        for file in node.parameter_files:
            given |= set(yaml.safe_load(file.read_text())["/**"]["ros__parameters"])
        # ROS ignores parameters that a node does not declare, without a word.
        assert given <= declared_parameters(ros, node.name), node.name
    for _ in range(3):  # what people are told to type after an emergency stop, in one go
        assert ros.call(Trigger, "dynamixel_driver/estop").success
        assert cli.main(["call", "dynamixel_driver/reset_guard", "teleop/start", "teleop/stop"]) == 0
    assert ros.call(Trigger, "twin/reset").success
    until(lambda: ros.call(Trigger, "demo_recorder/start").success, "the recorder hears camera and joints")

    def is_full() -> bool:
        # Ten commands fill it, and the frame after them; once more if a busy machine was late and some were refused.
        assert ros.call(Trigger, "teleop/start").success
        ros.wait_reason("teleop", "idle")
        ros.wait_reason("teleop", "idle", since_ns=time.time_ns() + 10**9)
        return (tmp_path / "takes" / "take_0001" / "metadata.yaml").exists()

    until(is_full, "the take is full and ends by itself")
    ros.wait_reason("demo_recorder", "idle")
    graph.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    graph.process.send_signal(signal.SIGINT)
    code, output = graph.wait()
    assert code == 0, output
    stopping = output.index("stopping: who commands")
    assert stopping < output.index("torque is off, the driver is not active"), output
    assert stopping < output.rindex("[twin]: torque_off: episode"), output
    assert "torque may still be on" not in output


def test_a_node_that_cannot_start_stops_the_graph_with_its_reason(up, tmp_path: Path) -> None:
    silent, port = pty.openpty()  # a port that is there, and no servo at it
    try:
        with FrameServer(tmp_path / "frames") as frames:
            words = (f"port:={os.ttyname(port)}", f"camera:=twin://{frames.path}", "teleop:=none", "record:=none")
            code, output = up("dclaw_teleop_demo", *words).wait()
    finally:
        os.close(silent)
        os.close(port)
    assert code == 1
    assert "failed: dynamixel_driver (exit code 1)" in output
    assert "no servo answers" in output


def test_wrong_arguments_are_one_line(up) -> None:
    for wrong in ("teleop:=none", "bundle:=nothing", "robot:=dclow"):
        graph = up("policy_runner", "sim:=true", wrong)
        code, output = graph.wait()
        assert (code, output.count("\n")) == (2, 1), output
        assert output.startswith("vmail: error: ") and "bundle:=" in output or "robot:=dclow" in output
        assert not graph.descendants()


def test_a_graph_that_runs_already_is_not_started_again(ros: Ros, up, tmp_path: Path) -> None:
    words = ("dclaw_teleop_demo", "sim:=true", "teleop:=none")
    first = up(*words, "record:=none")
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    second = up(*words, f"record:={tmp_path / 'takes'}")
    code, output = second.wait()
    assert (code, output.count("\n")) == (2, 1), output
    assert "running already: " in output and "namespace:=left" in output and not second.descendants()
    beside = up(*words, "record:=none", "namespace:=left")
    ros.wait_reason("left/dynamixel_driver", "no_command_yet")
    for graph in (beside, first):
        graph.process.send_signal(signal.SIGINT)
        assert graph.wait()[0] == 0, graph.output
    again = up(*words, "record:=none")
    ros.wait_reason("dynamixel_driver", "no_command_yet", since_ns=time.time_ns())
    held = Path(f"/proc/{again.process.pid}/maps").read_text()
    assert "/dev/shm/fastrtps" not in held, "whoever looked has left ROS"


def test_a_node_that_dies_stops_the_graph(ros: Ros, up) -> None:
    graph = up("dclaw_teleop_demo", "sim:=true", "record:=none", "teleop:=none")
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    os.kill(child_of(graph.process.pid, "vmail_nodes.camera"), signal.SIGKILL)
    code, output = graph.wait()
    assert code == 1
    assert "failed: camera (killed by SIGKILL)" in output and "torque is off, the driver is not active" in output


def test_torque_goes_off_when_vmail_up_itself_is_killed(ros: Ros, up, tmp_path: Path) -> None:
    robot = load_robot("dclaw")
    with EmulatedBus(tmp_path / "bus", robot) as bus, FrameServer(tmp_path / "frames") as frames:
        frames.publish(time.time_ns(), np.zeros((8, 8, 3), np.uint8))
        words = (f"port:={bus.path}", f"camera:=twin://{frames.path}", "teleop:=none", "record:=none")
        graph = up("dclaw_teleop_demo", *words)
        ros.wait_reason("dynamixel_driver", "no_command_yet")
        assert all(bus.servo(servo_id).get("torque_enable") for servo_id in robot.servo_ids)
        graph.process.kill()
        servos = [bus.servo(servo_id) for servo_id in robot.servo_ids]
        until(lambda: not any(servo.get("torque_enable") for servo in servos), "torque is off")


def child_of(parent: int, module: str) -> int:
    """Process id of the node that a `vmail up` started."""
    for process in Path("/proc").iterdir():
        try:
            status, words = (process / "stat").read_text(), (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile, or no process
        if int(status.rpartition(")")[2].split()[1]) == parent and module.encode() in words:
            return int(process.name)
    raise AssertionError(f"no {module} was started by {parent}")
