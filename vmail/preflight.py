"""What can be judged of a graph before any node starts: with a wrong argument, torque must not even come on.

`vmail up` and the launch files both ask here. What only the devices themselves can tell, the nodes find out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vmail.graph import GraphError, GraphNode, load_graph
from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.bus_checks import check_latency_timer, check_port
from vmail_hardware.bus_errors import BusError
from vmail_hardware.calibration import find_calibration
from vmail_hardware.cameras import CameraError, check_source
from vmail_hardware.cameras.frame import TWIN_SCHEME
from vmail_hardware.emulator.fault_script import FaultScript

NAMESPACE = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
Parameters = dict[str, Any]


def checked_graph(graph: str, given: dict[str, str], run_dir: Path, terminal: bool) -> list[GraphNode]:
    """The nodes of a graph that may be started; see `load_graph`.

    Args:
        graph, given, run_dir: as for `load_graph`.
        terminal: whether nodes that read keys will have a terminal to read them from.

    Raises:
        GraphError: an argument is wrong, or what it names is missing or does not fit; the message says which.
        ModuleNotFoundError: a package that a node of the graph needs is not installed.
    """
    nodes = load_graph(graph, given, run_dir)
    check(nodes, terminal)
    return nodes


def check(nodes: list[GraphNode], terminal: bool) -> None:
    """Judge what nodes are to be started with. Arguments and errors as for `checked_graph`."""
    named = {node.name: _parameters(node) for node in nodes}
    namespace = nodes[0].namespace
    if namespace and not NAMESPACE.fullmatch(namespace):
        raise GraphError(f"namespace:={namespace}: give letters, digits and _, not a digit first, like left")
    driver = named["dynamixel_driver"]
    with _blaming("robot", driver["robot"]):
        robot = load_robot(driver["robot"])
    if "twin" in named:
        _check_twin(named["twin"], robot)
    if "policy_runner" in named:
        _check_policy(named["policy_runner"], robot)
    if "demo_recorder" in named:
        with _blaming("record", named["demo_recorder"]["output"]):
            _check_folder(Path(named["demo_recorder"]["output"]).expanduser())
    _check_camera(named["camera"])
    _check_driver(driver, robot)
    if "teleop" in named:
        in_twin = "twin" in named or named["camera"]["source"].startswith(TWIN_SCHEME)
        _check_teleop(named["teleop"], robot, driver["port"], in_twin, terminal)


def _parameters(node: GraphNode) -> Parameters:
    """All that the node is given, its tuning first."""
    found: Parameters = {}
    for file in node.parameter_files:
        found |= yaml.safe_load(file.read_text())["/**"]["ros__parameters"]
    return found | node.parameters


@contextlib.contextmanager
def _blaming(argument: str, value: str) -> Iterator[None]:
    """Errors that are raised inside name the argument that they come from."""
    try:
        yield
    except (ValueError, OSError, BusError, CameraError) as error:
        raise GraphError(f"{argument}:={value}: {error}") from error


def _need(package: str, why: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(f"{why} needs {package}", name=package)


def _check_twin(twin: Parameters, robot: RobotSpec) -> None:
    _need("mujoco", "the twin")
    from vmail_nodes.twin_faults import TWIN_KINDS
    from vmail_sim.dclaw.valve import parse_task, require_claw

    with _blaming("robot", twin["robot"]):
        require_claw(robot)
    with _blaming("task", twin["task"]):
        parse_task(twin["task"])
    with _blaming("faults", twin["faults"]):
        FaultScript(twin["faults"].split(), TWIN_KINDS).require_servos(robot.servo_ids)


def _check_policy(runner: Parameters, robot: RobotSpec) -> None:
    _need("onnxruntime", "the policy")
    from vmail_core.deploy.bundle import load_bundle

    with _blaming("bundle", runner["bundle"]):
        load_bundle(runner["bundle"]).require_robot(robot)


def _check_camera(camera: Parameters) -> None:
    with _blaming("camera", camera["source"]):
        check_source(camera["source"], may_appear=camera.get("wait_s", 0.0) > 0.0)


def _check_driver(driver: Parameters, robot: RobotSpec) -> None:
    port, chosen = driver["port"], driver.get("calibration", "auto")
    with _blaming("calibration", chosen):
        calibration = find_calibration(robot, chosen)
        if calibration is not None:
            calibration.apply(robot)
    if driver.get("wait_s", 0.0) > 0.0 and not Path(port).exists():
        return  # the twin makes it
    with _blaming("port", port):
        check_port(port)
        check_latency_timer(port)


def _check_teleop(teleop: Parameters, robot: RobotSpec, port: str, in_twin: bool, terminal: bool) -> None:
    from vmail_nodes.teleop_modes import make_source

    mode, leader_port = teleop["mode"], teleop["leader_port"]
    if mode == "expert" and not in_twin:
        raise GraphError("teleop:=expert sees the twin's state: give sim:=true, or another teleop:= for a real hand")
    if mode == "keyboard" and not terminal:
        raise GraphError(
            "teleop:=keyboard reads keys, and there is no terminal here to read them from: start `vmail up` in one, or "
            "give teleop:=none and start python -m vmail_nodes.teleop --ros-args -p mode:=keyboard in one of its own"
        )
    asked = {name: teleop[name] for name in ("task", "leader", "leader_port", "take")}
    with _blaming("teleop", mode):
        make_source(mode, robot, **asked)
    if leader_port:
        with _blaming("leader_port", leader_port):
            check_port(leader_port)
            check_latency_timer(leader_port)
        if Path(leader_port).resolve() == Path(port).resolve():
            raise GraphError(
                f"leader_port:={leader_port} is the hand's own port: the leader needs an adapter of its own"
            )


def _check_folder(folder: Path) -> None:
    """Raise OSError where a folder cannot be made, or not be written into."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file; give a folder for the takes")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{there} may not be written to; give another folder for the takes")
