"""`vmail call` against real services."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ros_harness import Ros
from std_srvs.srv import SetBool, Trigger

from vmail import cli


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


def test_a_switch_without_a_value_is_refused_before_anything_happens(services: list[str]) -> None:
    result = call("test_probe/switch")
    assert result.returncode == 2 and "true or false" in result.stderr
    assert services == []


def test_a_service_that_is_not_there_names_those_that_are(
    services: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmail.commands.services.WAIT_S", 3.0)
    assert cli.main(["call", "test_probe/missing"]) == 2
    assert "/test_probe/refuse" in capsys.readouterr().err
