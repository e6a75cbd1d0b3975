"""One key hands control between whoever teleoperates and the policy, either way.

Every command names its commander, so a recorded take tells which of its steps were whose.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

ANSWER_S = 1.0  # a policy runner that takes longer is not waited for
QUIET_S = 1.0  # a policy that sends nothing for so long has stopped


class Handover:
    """Starts and stops the policy runner for a teleoperator. Waits for nothing: answers come as callbacks."""

    def __init__(self, node: Node, take_over: Callable[[], None]) -> None:
        """`take_over` makes the teleoperator command; called when the policy does not, or not any more."""
        self._node, self._take_over = node, take_over
        self._start: Client = node.create_client(Trigger, "policy_runner/start")
        self._stop: Client = node.create_client(Trigger, "policy_runner/stop")
        self._asked: float | None = None  # when the policy was asked to stop, and has not answered yet
        self._question: Future | None = None  # the last one; answers to earlier ones are of no concern any more
        self._heard = -math.inf
        self.policy_commands = False

    def to_policy(self) -> None:
        """Ask the policy to go on."""
        self.policy_commands, self._heard, self._asked = True, time.monotonic(), None
        self._question = self._start.call_async(Trigger.Request())
        self._question.add_done_callback(self._on_started)

    @property
    def is_possible(self) -> bool:
        """Whether there is a policy runner."""
        return self._start.service_is_ready()

    @property
    def goes_on(self) -> bool:
        """Whether the policy commands, whoever started it, or has not said yet that it stopped."""
        others = self.is_possible and time.monotonic() - self._heard < QUIET_S
        return self.policy_commands or self._asked is not None or others

    def cancel(self) -> None:
        """Whoever teleoperates is to stand: no answer that is still to come makes them command."""
        self.policy_commands, self._asked, self._question = False, None, None

    def to_human(self) -> None:
        """Stop the policy, and take over as soon as it has stopped."""
        self.policy_commands = False
        if not self._stop.service_is_ready():
            self._take_over()
            return
        self._asked = time.monotonic()
        self._question = self._stop.call_async(Trigger.Request())
        self._question.add_done_callback(self._on_stopped)

    def on_others(self) -> None:
        """A command of somebody else was sent to the servos."""
        self._heard = time.monotonic()

    def watch(self) -> str:
        """Called again and again; returns a line for the log, or nothing."""
        now = time.monotonic()
        if self._asked is not None and now - self._asked > ANSWER_S:
            self._asked = self._question = None
            self._node.get_logger().warning("the policy runner does not answer; taking over without it")
            self._take_over()  # should the policy command all the same, the guard holds the hand
        if self.policy_commands and now - self._heard > QUIET_S:
            self.policy_commands = False
            return "the policy commands no more, see its diagnostics; hand over again to take control"
        return ""

    def _on_started(self, future: Future) -> None:
        answer: Trigger.Response = future.result()
        if not answer.success and future is self._question:
            self.policy_commands = False
            self._node.get_logger().warning(f"the policy does not take over: {answer.message}")
            self._take_over()

    def _on_stopped(self, future: Future) -> None:
        if future is self._question and self._asked is not None:
            self._asked = None
            self._take_over()
