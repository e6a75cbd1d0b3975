"""The description of the graphs: what arguments give, and that it agrees with the nodes."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import yaml

from vmail.demo.settings import PRETRAINED
from vmail.graph import (
    GraphError,
    config_dir,
    graph_arguments,
    graph_names,
    load_graph,
    parse_assignments,
    resolve_arguments,
)


def names(graph: str, *words: str) -> list[str]:
    return [node.name for node in load_graph(graph, parse_assignments(words), Path("/run/x"))]


def test_simulated_graphs_start_the_twin_and_wire_it_up() -> None:
    nodes = {n.name: n for n in load_graph("dclaw_teleop_demo", {"sim": "true", "seed": "7"}, Path("/run/x"))}
    assert list(nodes) == ["twin", "camera", "dynamixel_driver", "teleop", "ghost", "demo_recorder"]
    assert nodes["twin"].parameters["bus_path"] == nodes["dynamixel_driver"].parameters["port"] == "/run/x/servo_bus"
    assert nodes["camera"].parameters["source"] == "twin://" + nodes["twin"].parameters["frames_path"]
    assert nodes["twin"].parameters["seed"] == 7  # a number, not a text
    assert nodes["teleop"].parameters["mode"] == "expert"


def test_a_real_robot_needs_its_devices_and_no_twin() -> None:
    words = ("port:=/dev/ttyUSB0", "camera:=/dev/video0", "bundle:=b")
    assert names("policy_runner", *words) == ["camera", "dynamixel_driver", "policy_runner"]
    assert names("policy_runner", *words, "record:=takes")[-1] == "demo_recorder"
    with pytest.raises(GraphError, match="needs port:=.*sim:=true"):
        names("policy_runner", "camera:=/dev/video0", "bundle:=b")
    with pytest.raises(GraphError, match="needs bundle:="):
        names("policy_runner", "sim:=true")


def test_what_the_user_gives_wins_over_what_sim_implies(tmp_path: Path) -> None:
    values = resolve_arguments("dclaw_teleop_demo", {"sim": "true", "teleop": "none", "port": "/tmp/b"}, tmp_path)
    assert (values["teleop"], values["port"]) == ("none", "/tmp/b")
    assert "teleop" not in names("dclaw_teleop_demo", "sim:=true", "teleop:=none")


def test_one_node_at_most_reads_keys() -> None:
    for teleop in ("expert", "keyboard", "none"):
        nodes = load_graph("dclaw_teleop_demo", {"sim": "true", "teleop": teleop}, Path("/run/x"))
        assert sum(node.terminal for node in nodes) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sim=true",), "name:=value"),
        (("simulated:=true",), "no argument simulated.*sim"),
        (("sim:=maybe",), "true or false"),
        (("sim:=true", "seed:=one"), "whole number"),
    ],
)
def test_wrong_arguments_say_what_to_write(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        names("dclaw_teleop_demo", *words)


def test_an_unknown_graph_lists_the_known_ones() -> None:
    with pytest.raises(GraphError, match="dclaw_teleop_demo, policy_runner"):
        graph_arguments("policy_runer")


def test_with_a_manager_the_others_wait_for_it() -> None:
    *others, manager = load_graph("policy_runner", {"sim": "true", "bundle": "b", "managed": "true"}, Path("/run/x"))
    assert manager.name == "manager" and manager.parameters["nodes"] == [node.name for node in others]
    assert all(node.parameters["autostart"] is False for node in others) and "autostart" not in manager.parameters


def test_a_policy_may_have_a_teleoperator_beside_it() -> None:
    assert "teleop" not in names("policy_runner", "sim:=true", "bundle:=b")
    assert "teleop" in names("policy_runner", "sim:=true", "bundle:=b", "teleop:=keyboard")


def test_who_commands_ends_before_the_driver_and_it_before_its_bus() -> None:
    given = {"sim": "true", "bundle": "b", "teleop": "expert", "record": "takes"}
    nodes = {node.name: node for node in load_graph("policy_runner", given, Path("/run/x"))}
    stage = {name: node.stage for name, node in nodes.items()}
    assert stage["policy_runner"] == stage["teleop"] > stage["dynamixel_driver"] > stage["camera"] > stage["twin"]
    assert {name for name, node in nodes.items() if node.lingers} == {"ghost", "demo_recorder"}


def test_a_calibration_is_the_tunings_unless_one_is_given() -> None:
    hand = {"port": "/dev/ttyUSB0", "camera": "/dev/video0", "teleop": "none"}
    for given, expected in (({}, None), ({"calibration": "mine.yaml"}, "mine.yaml")):
        nodes = {node.name: node for node in load_graph("dclaw_teleop_demo", {**hand, **given}, Path("/run/x"))}
        for name in ("dynamixel_driver", "demo_recorder"):
            assert nodes[name].parameters.get("calibration") == expected
    twin = {node.name: node for node in load_graph("dclaw_teleop_demo", {"sim": "true"}, Path("/run/x"))}
    assert twin["dynamixel_driver"].parameters["calibration"] == "none"


def test_namespaces_reach_every_node() -> None:
    nodes = load_graph("policy_runner", {"sim": "true", "bundle": "b", "namespace": "/left/"}, Path("/run/x"))
    assert {node.namespace for node in nodes} == {"left"}


def test_every_file_of_tuning_belongs_to_a_node_of_a_graph() -> None:
    known = {
        node
        for graph in yaml.safe_load((config_dir() / "graphs.yaml").read_text())["graphs"].values()
        for stage in graph["nodes"]
        for node in stage
    }
    assert {path.stem for path in (config_dir() / "nodes").glob("*.yaml")} <= known


@pytest.mark.parametrize("graph", sorted(graph_names()))
def test_launch_files_describe_the_graph(graph: str) -> None:
    pytest.importorskip("launch_ros", reason="ROS's launch tools are not installed")
    import launch

    path = config_dir().parent / f"{graph}.launch.py"
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(graph, path))
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    declared = {action.name for action, _ in description.get_launch_arguments_with_include_launch_description_actions()}
    assert declared == {argument.name for argument in graph_arguments(graph)}
    service = launch.LaunchService()
    context = service.context
    context.launch_configurations.update(
        {"sim": "true", "bundle": str(PRETRAINED), **dict.fromkeys(declared - {"sim", "bundle"}, "")}
    )
    started = [entity for action in description.entities[-1:] for entity in action.execute(context)]
    processes = [entity for entity in started if entity.__class__.__name__ == "Node"]
    assert len(processes) == len(
        load_graph(graph, {"sim": "true", "bundle": "b"} if graph == "policy_runner" else {"sim": "true"}, Path("/x"))
    )


class Recorded:
    """Stands in for any class of ROS's launch tools: keeps what it was made with."""

    def __init__(self, *given: object, **named: object) -> None:
        self.given, self.named = given, named


def test_launch_files_refuse_what_vmail_up_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("launch", "launch.actions", "launch.event_handlers", "launch.events", "launch.substitutions"):
        monkeypatch.setitem(sys.modules, name, module := types.ModuleType(name))
        module.__getattr__ = lambda _: Recorded
    monkeypatch.setitem(sys.modules, "launch_ros", types.ModuleType("launch_ros"))
    monkeypatch.setitem(sys.modules, "launch_ros.actions", module)
    monkeypatch.delitem(sys.modules, "vmail.launching", raising=False)
    launching = importlib.import_module("vmail.launching")
    monkeypatch.delitem(sys.modules, "vmail.launching")
    given = {"sim": "true", "bundle": str(PRETRAINED)}
    monkeypatch.setattr(Recorded, "perform", lambda self, _: given.get(self.given[0], ""), raising=False)
    assert len(launching._start(None, "policy_runner")) == 2 * len(load_graph("policy_runner", given, Path("/run/x")))
    for name, value in (("teleop", "keybord"), ("teleop", "keyboard"), ("bundle", "nothing"), ("robot", "dclow")):
        with monkeypatch.context() as wrong, pytest.raises(GraphError, match=f"{name}:={value}"):
            wrong.setitem(given, name, value)
            launching._start(None, "policy_runner")
