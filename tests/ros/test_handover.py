"""One key hands control from whoever teleoperates to the policy, and back; every command tells whose it is."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_robot import FakeRobot
from known_bundle import write_known_bundle
from ros_harness import NodeProcess, Ros, until
from std_srvs.srv import Trigger

from vmail_core.robot import load_robot
from vmail_nodes.policy_runner import POLICY

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
    operator.press("p")
    operator.wait_commanders("keyboard", POLICY)
    until(lambda: len(operator.robot.commands.messages) > 20, "the policy goes on")
    operator.press("p")
    operator.wait_commanders("keyboard", POLICY, "keyboard")
    answer = operator.ros.call(Trigger, "teleop/hand_over")  # what the recorder's key calls
    assert answer.success and "policy" in answer.message
    operator.wait_commanders("keyboard", POLICY, "keyboard", POLICY)
    assert operator.ros.call(Trigger, "teleop/start").success  # takes over too, and never commands beside the policy
    operator.wait_commanders("keyboard", POLICY, "keyboard", POLICY, "keyboard")
    assert operator.ros.wait_reason("policy_runner", "stopped")


def test_when_the_policy_ends_the_operator_is_told(operator: Operator) -> None:
    operator.wait_commanders("keyboard")
    operator.press("p")
    operator.wait_commanders("keyboard", POLICY)
    assert operator.ros.call(Trigger, "policy_runner/stop").success
    until(lambda: "the policy commands no more" in operator.teleop.output, "the operator is told")
    operator.press("p")
    operator.wait_commanders("keyboard", POLICY, "keyboard")


def test_without_a_policy_runner_the_operator_keeps_control(ros: Ros, start_node: Callable[..., NodeProcess]) -> None:
    operator = Operator(ros, start_node, None)
    until(lambda: "keys: " in operator.teleop.output, "the keyboard listens")
    answer = ros.call(Trigger, "teleop/hand_over")
    assert not answer.success and "no policy runner" in answer.message
    operator.close()
