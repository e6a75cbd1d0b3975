"""`vmail call` against real services."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from ros_harness import Ros
from std_srvs.srv import SetBool, Trigger

import vmail_nodes
from vmail import cli
from vmail_nodes.lifecycle import ManagedNode


@pytest.fixture
def services(ros: Ros) -> list[str]:
    """Services of a node of this test, which notes what it was asked."""
    asked: list[str] = []

    def refuse(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked.append("refuse")
        response.success, response.message = False, "not now"
        return response

    def switch(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        asked.append(f"switch {request.data}")
        response.success, response.message = True, "switched"
        return response

    ros.node.create_service(Trigger, "~/refuse", refuse)
    ros.node.create_service(SetBool, "~/switch", switch)
    return asked


def call(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmail.cli", "call", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)


def test_lists_what_can_be_called(services: list[str]) -> None:
    assert {"/test_probe/refuse", "/test_probe/switch"} <= set(call().stdout.split())


def test_a_refusal_is_exit_code_1_with_the_reason(services: list[str]) -> None:
    result = call("test_probe/refuse")
    assert (result.returncode, result.stderr.strip(), services) == (1, "not now", ["refuse"])


def test_a_switch_gets_its_value(services: list[str]) -> None:
    result = call("test_probe/switch", "true")
    assert (result.returncode, result.stdout.strip(), services) == (0, "switched", ["switch True"])


def test_services_are_called_one_after_the_other_until_one_is_refused(services: list[str]) -> None:
    result = call("test_probe/switch", "false", "test_probe/refuse", "test_probe/switch", "true")
    assert (result.returncode, result.stdout.strip()) == (1, "test_probe/switch: switched")
    assert result.stderr.strip() == "test_probe/refuse: not now"
    assert services == ["switch False", "refuse"]


def test_an_emergency_stop_goes_first_and_waits_for_nothing(ros: Ros, services: list[str]) -> None:
    def stop(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        services.append("stop")
        response.success, response.message = True, "holding"
        return response

    ros.node.create_service(Trigger, "~/estop", stop)
    result = call("test_probe/switch", "true", "test_probe/estop", "test_probe/missing")
    assert result.returncode == 2 and "/test_probe/missing" in result.stderr
    assert result.stdout.strip() == "test_probe/estop: holding" and set(services) == {"stop"}
    result = call("nobody/estop", "test_probe/estop")
    assert result.returncode == 2 and "no running node serves /nobody/estop" in result.stderr
    assert result.stdout.strip() == "test_probe/estop: holding" and set(services) == {"stop"}


def test_a_stop_that_nobody_answers_tells_what_to_do(ros: Ros, capsys: pytest.CaptureFixture[str]) -> None:
    mute = rclpy.create_node("mute", context=ros.node.context)  # which nobody spins
    mute.create_service(Trigger, "~/estop", lambda _, response: response)
    assert cli.main(["call", "mute/estop"]) == 2
    assert "/mute/estop does not answer: cut the servos' power" in capsys.readouterr().err
    mute.destroy_node()


@pytest.mark.parametrize("second", ["test_probe/missing", "test_probe/switch"])
def test_nothing_is_called_before_all_can_be(services: list[str], second: str) -> None:
    result = call("test_probe/switch", "true", second)
    assert result.returncode == 2 and f"/{second}" in result.stderr and services == []


def test_a_switch_without_a_value_is_refused_before_anything_happens(services: list[str]) -> None:
    result = call("test_probe/switch")
    assert result.returncode == 2 and "true or false" in result.stderr
    assert services == []


def test_a_service_that_is_not_there_names_those_that_are(
    services: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["call", "test_probe/missing"]) == 2
    assert "/test_probe/refuse" in capsys.readouterr().err


def test_a_service_that_somebody_would_only_call_is_none(ros: Ros, services: list[str]) -> None:
    """As of teleoperation that would hand over to a policy, in a graph without one."""
    client = ros.node.create_client(Trigger, "policy_runner/start")
    assert "/policy_runner/start" not in call().stdout
    began = time.monotonic()
    result = call("policy_runner/start")
    assert result.returncode == 2 and "no running node serves /policy_runner/start; there are: /test" in result.stderr
    assert time.monotonic() - began < 10.0
    ros.node.destroy_client(client)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("teleop", "start"), "write `vmail call teleop/start`"),
        (("dynamixel_driver/torque", "off"), "a switch takes true or false"),
        (("true",), "is no NODE/SERVICE"),
        (("dynamixel_driver/torque", "true", "false"), "a switch takes true or false"),
    ],
)
def test_words_that_are_no_service_get_the_right_ones(
    words: tuple[str, str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["call", *words]) == 2
    said = capsys.readouterr().err
    assert advice in said and said.count("\n") == 1


def literals(tree: ast.AST) -> set[str]:
    """Texts of a program that may be shown: all but docstrings and the arguments of functions that take such names."""
    takers = ("create_service", "how_to_call")
    apart: set[int] = set()
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and node.body and isinstance(node.body[0], ast.Expr):
            apart.add(id(node.body[0].value))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) in takers:
            apart |= {id(part) for argument in node.args for part in ast.walk(argument)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {node.value for node in texts if id(node) not in apart}


@pytest.mark.parametrize("module", sorted(Path(vmail_nodes.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_people_are_told_what_they_can_type(module: Path) -> None:
    assert not {text for text in literals(ast.parse(module.read_text())) if "~/" in text}


def test_what_to_type_knows_the_namespace(ros: Ros) -> None:
    node = rclpy.create_node("teleop", namespace="left", context=ros.node.context)
    told = ManagedNode.how_to_call(node, "~/start", "dynamixel_driver/torque true")
    assert told == "`vmail call left/teleop/start left/dynamixel_driver/torque true`"
    node.destroy_node()
