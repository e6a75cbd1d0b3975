"""The manager over real DDS: order of coming up and going down, and what ends a graph."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from ros_harness import NodeProcess, Ros, until
from std_srvs.srv import SetBool, Trigger

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus

SPEC = load_robot("dclaw")
NODES = ["dynamixel_driver", "teleop", "demo_recorder"]
UNCONFIGURED, ACTIVE = State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_ACTIVE


class Graph:
    """A driver on an emulated bus, a teleoperator and a recorder, that wait for a manager."""

    def __init__(self, ros: Ros, start_node: Callable[..., NodeProcess], port: Path, takes: Path) -> None:
        self.ros = ros
        given = {
            "dynamixel_driver": {"port": str(port), "reply_timeout_ms": 100.0, "ramp_s": 0.0, "release_s": 0.0},
            "teleop": {"mode": "kinesthetic"},
            "demo_recorder": {"output": str(takes)},
        }
        self.processes = {
            name: start_node(f"vmail_nodes.{name}", {"autostart": False, **parameters})
            for name, parameters in given.items()
        }
        self.manager = start_node("vmail_nodes.manager", {"nodes": NODES})

    def states(self) -> list[int]:
        return [self.ros.call(GetState, f"{name}/get_state").current_state.id for name in NODES]


@pytest.fixture
def bus(tmp_path: Path):
    with EmulatedBus(tmp_path / "servos", SPEC) as emulated:
        yield emulated


def torque(bus: EmulatedBus) -> set[int]:
    return {bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids}


@pytest.fixture
def graph(ros: Ros, start_node: Callable[..., NodeProcess], bus: EmulatedBus, tmp_path: Path) -> Graph:
    found = Graph(ros, start_node, bus.path, tmp_path / "takes")
    ros.wait_reason("manager", "ok")
    return found


def test_all_come_up_in_order_stop_and_come_up_again(graph: Graph, bus: EmulatedBus, ros: Ros) -> None:
    assert graph.states() == [ACTIVE] * 3 and torque(bus) == {1}
    answer = ros.call(Trigger, "manager/stop")
    assert answer.message == "stopped demo_recorder, teleop, dynamixel_driver"
    assert graph.states() == [UNCONFIGURED] * 3 and torque(bus) == {0}
    answer = ros.call(Trigger, "manager/start")
    assert answer.success and "dynamixel_driver, teleop, demo_recorder" in answer.message
    assert graph.states() == [ACTIVE] * 3 and torque(bus) == {1}
    assert not ros.call(Trigger, "manager/start").success
    graph.manager.signal(signal.SIGINT)
    assert graph.manager.wait() == 0
    assert graph.states() == [UNCONFIGURED] * 3 and torque(bus) == {0}


def test_a_node_that_dies_ends_the_graph(graph: Graph, bus: EmulatedBus) -> None:
    graph.processes["teleop"].signal(signal.SIGKILL)
    assert graph.manager.wait() == 1
    assert "teleop" in graph.manager.output
    assert graph.ros.call(GetState, "dynamixel_driver/get_state").current_state.id == UNCONFIGURED
    assert torque(bus) == {0}


def test_a_node_that_somebody_deactivates_ends_the_graph(graph: Graph) -> None:
    request = ChangeState.Request()
    request.transition.label = "deactivate"
    request.transition.id = 4
    assert graph.ros.call(ChangeState, "demo_recorder/change_state", request).success
    assert graph.manager.wait() == 1
    assert "demo_recorder is not active any more" in graph.manager.output


def test_a_node_that_cannot_be_configured_is_named_and_nothing_stays_up(
    ros: Ros, start_node: Callable[..., NodeProcess], bus: EmulatedBus, tmp_path: Path
) -> None:
    (tmp_path / "takes").write_text("in the way")
    graph = Graph(ros, start_node, bus.path, tmp_path / "takes")
    assert graph.manager.wait() == 1
    assert "demo_recorder cannot be configured" in graph.manager.output
    assert torque(bus) == {0}
    assert ros.call(GetState, "dynamixel_driver/get_state").current_state.id == UNCONFIGURED


def test_without_nodes_it_says_what_is_missing(start_node: Callable[..., NodeProcess]) -> None:
    node = start_node("vmail_nodes.manager", {})
    assert node.wait() == 1
    assert "name the nodes of the graph" in node.output


def test_a_signal_while_it_waits_ends_it(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    node = start_node("vmail_nodes.manager", {"nodes": ["camera"]})
    until(lambda: "waiting for camera" in node.output, "it waits")
    node.signal(signal.SIGINT)
    assert node.wait(timeout=10.0) == 0
    assert "camera is not there" in node.output


def test_a_node_that_cannot_be_stopped_is_told_and_stays_on_the_list(graph: Graph, bus: EmulatedBus, ros: Ros) -> None:
    bus.faults.unplugged = True  # the driver can switch nothing off any more
    answer = ros.call(Trigger, "manager/stop")
    assert not answer.success and "dynamixel_driver cannot be" in answer.message
    ros.wait_reason("manager", "may_be_up")
    bus.faults.unplugged = False
    until(bus.path.exists, "the bus is plugged in")
    until(lambda: ros.call(Trigger, "manager/stop").success, "the driver lets go")
    assert torque(bus) == {0}


def test_nodes_that_are_told_to_end_at_the_same_time_are_not_waited_for(graph: Graph, bus: EmulatedBus) -> None:
    """As ROS's launch tools do at Ctrl-C; they kill what has not ended after some seconds."""
    began = time.monotonic()
    for process in (*graph.processes.values(), graph.manager):
        process.signal(signal.SIGINT)
    assert [process.wait() for process in (*graph.processes.values(), graph.manager)] == [0, 0, 0, 0]
    assert time.monotonic() - began < 15.0
    assert "may_be_up" not in graph.manager.output
    assert torque(bus) == {0}


def test_a_driver_that_is_busy_for_seconds_is_not_lost(graph: Graph, bus: EmulatedBus, ros: Ros) -> None:
    bus.faults.silent_ids = set(SPEC.servo_ids)
    ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False))  # tries, for longer than a question waits
    bus.faults.silent_ids = set()
    until(lambda: ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success, "torque is on")
    assert graph.manager.process.poll() is None
