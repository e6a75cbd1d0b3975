"""One key hands control from whoever teleoperates to the policy, and back; every command tells whose it is."""

from __future__ import annotations

import functools
import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from fake_robot import DriverNews, FakeRobot
from known_bundle import write_known_bundle
from ros_harness import NodeProcess, Ros, until
from std_srvs.srv import Trigger

from vmail_core.robot import load_robot
from vmail_nodes.diagnostics import reason_of
from vmail_nodes.messages import POLICY

ROBOT = load_robot("dclaw")
AGE_LIMITS = {"max_image_age_s": 3.0, "max_joint_states_age_s": 3.0}  # no test here is about lateness


class Operator:
    """Somebody at a keyboard, a hand, and whose commands it gets."""

    def __init__(self, ros: Ros, start_node: Callable[..., NodeProcess], bundle: Path | None) -> None:
        self.keyboard, self._terminal = pty.openpty()
        self._start_node, self._bundle, self.ros = start_node, bundle, ros
        if bundle:
            start_node("vmail_nodes.policy_runner", {"bundle": str(bundle), **AGE_LIMITS})
        self.teleop = start_node("vmail_nodes.teleop", {"mode": "keyboard"}, stdin=self._terminal)
        self.robot = FakeRobot(ros, ROBOT)

    def press(self, key: str) -> None:
        os.write(self.keyboard, key.encode())

    def hand_over(self) -> None:
        """Press the key; again, while teleop has not found the policy runner yet."""
        done = self._said("over: ")
        while self._said("over: ") == done:
            answers = self._said("over: ", "no policy runner")
            self.press("p")
            until(functools.partial(self._has_said_more, answers), "teleop says what comes of it")

    def _said(self, *texts: str) -> int:
        return sum(self.teleop.output.count(text) for text in texts)

    def _has_said_more(self, answers: int) -> bool:
        return self._said("over: ", "no policy runner") > answers

    def commanders(self) -> list[str]:
        """Of all commands so far, without repetitions."""
        names = [message.header.frame_id for message in self.robot.commands.messages]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def wait_commanders(self, *expected: str) -> None:
        until(lambda: self.commanders() == list(expected), f"commands of {expected}, not {self.commanders()}")

    def close(self) -> None:
        os.close(self.keyboard)
        os.close(self._terminal)


@pytest.fixture
def operator(ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path) -> Iterator[Operator]:
    found = Operator(ros, start_node, write_known_bundle(tmp_path / "bundle", ROBOT).path)
    yield found
    found.close()


def test_a_key_hands_control_to_the_policy_and_back(operator: Operator) -> None:
    operator.wait_commanders("keyboard")
    operator.hand_over()
    operator.wait_commanders("keyboard", POLICY)
    until(lambda: len(operator.robot.commands.messages) > 20, "the policy goes on")
    operator.hand_over()
    operator.wait_commanders("keyboard", POLICY, "keyboard")
    answer = operator.ros.call(Trigger, "teleop/hand_over")  # what the recorder's key calls
    assert answer.success and "policy" in answer.message
    operator.wait_commanders("keyboard", POLICY, "keyboard", POLICY)
    assert operator.ros.call(Trigger, "teleop/start").success  # takes over too, and never commands beside the policy
    operator.wait_commanders("keyboard", POLICY, "keyboard", POLICY, "keyboard")
    assert operator.ros.wait_reason("policy_runner", "stopped")


def test_when_the_policy_ends_the_operator_is_told(operator: Operator) -> None:
    operator.wait_commanders("keyboard")
    operator.hand_over()
    operator.wait_commanders("keyboard", POLICY)
    assert operator.ros.call(Trigger, "policy_runner/stop").success
    until(lambda: "the policy commands no more" in operator.teleop.output, "the operator is told")
    operator.hand_over()
    operator.wait_commanders("keyboard", POLICY, "keyboard")


def test_a_policy_does_not_start_beside_a_teleoperator(operator: Operator) -> None:
    operator.wait_commanders("keyboard")
    operator.ros.wait_reason("teleop", "running")
    refused = operator.ros.call(Trigger, "policy_runner/start")
    assert not refused.success and refused.message == (
        "keyboard commands: hand over with its key p, or `vmail call teleop/hand_over`; "
        "or `vmail call teleop/stop`, then start"
    )
    assert operator.ros.call(Trigger, "teleop/stop").success
    operator.ros.wait_reason("teleop", "idle")
    assert operator.ros.call(Trigger, "policy_runner/start").success
    operator.wait_commanders("keyboard", POLICY)
    until(lambda: len(operator.robot.commands.messages) > 20, "the policy goes on")
    assert operator.ros.call(Trigger, "teleop/start").success  # which ends a run that somebody else started, too
    operator.wait_commanders("keyboard", POLICY, "keyboard")


def test_while_the_driver_holds_nobody_takes_over_and_keys_say_why(operator: Operator) -> None:
    operator.wait_commanders("keyboard")
    driver = DriverNews(operator.ros)
    reset = "dynamixel_driver is holding: emergency stop; to go on, `vmail call dynamixel_driver/reset_guard"
    driver.say(DiagnosticStatus.ERROR, "estop", "holding: emergency stop")
    until(lambda: reset in operator.ros.call(Trigger, "teleop/start").message, "a start is refused")
    operator.press("q")
    until(lambda: f"nothing moves: {reset}`" in operator.teleop.output, "a key says so")
    assert operator.ros.call(Trigger, "teleop/stop").success
    again = f"{reset} teleop/start`"
    for service, told in (("start", again), ("hand_over", f"nobody takes over: {again}")):
        answer = operator.ros.call(Trigger, f"teleop/{service}")
        assert not answer.success and answer.message == told
    operator.press("p")
    until(lambda: operator.teleop.output.count("nobody takes over") == 2, "the key p says so, too")
    assert "FFJ10 to" not in operator.teleop.output and operator.commanders() == ["keyboard"]
    driver.say(DiagnosticStatus.OK, "ok", "")
    until(lambda: operator.ros.call(Trigger, "teleop/start").success, "it starts after the reset")


@pytest.fixture
def mute_runner(ros: Ros) -> Iterator[None]:
    """A policy runner that hears questions and answers none: nobody spins its node."""
    node = rclpy.create_node("policy_runner", context=ros.node.context)
    for name in ("start", "stop"):
        node.create_service(Trigger, f"~/{name}", lambda request, response: response)
    yield
    node.destroy_node()


def hand_over(ros: Ros) -> None:
    """Ask teleop for it, until it has found the runner."""
    until(lambda: ros.call(Trigger, "teleop/hand_over").success, "teleop knows a policy runner")


def said(ros: Ros) -> list[str]:
    """Reasons of teleop so far."""
    return [reason_of(s) for m in ros.diagnostics.messages for s in m.status if s.name == "teleop"]


def test_a_policy_that_does_not_answer_is_not_waited_for(
    ros: Ros, start_node: Callable[..., NodeProcess], mute_runner: None
) -> None:
    node = start_node("vmail_nodes.teleop", {"mode": "expert"})
    ros.wait_reason("teleop", "idle")
    hand_over(ros)
    ros.wait_reason("teleop", "running")
    assert "does not answer; taking over without it" in node.output


def test_a_stop_ends_a_handover_that_still_goes_on(
    ros: Ros, start_node: Callable[..., NodeProcess], mute_runner: None
) -> None:
    start_node("vmail_nodes.teleop", {"mode": "expert"})
    ros.wait_reason("teleop", "idle")
    hand_over(ros)
    assert ros.call(Trigger, "teleop/stop").success
    since = len(said(ros))
    until(lambda: len(said(ros)) > since + 3, "teleop has said several times how it is")  # once a second
    assert "running" not in said(ros)[since:]


def test_without_a_policy_runner_the_operator_keeps_control(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    operator = Operator(ros, start_node, None)
    until(lambda: "keys: " in operator.teleop.output, "the keyboard listens")
    answer = ros.call(Trigger, "teleop/hand_over")
    assert not answer.success and "no policy runner" in answer.message
    operator.close()
