"""The recorder's keys, pressed where the keyboard teleoperates: one terminal is enough to do both."""

from __future__ import annotations

import time

from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from vmail_nodes.take_keys import DISCARD, NEXT, STOP

SERVICES = {NEXT: "next", DISCARD: "again", STOP: "end"}
"""What the recorder serves for each key: the same that it does for the key in its own terminal."""
ANSWER_S = 5.0  # a long take is closed and judged in less


class RecorderKeys:
    """Asks the recorder to do what its keys do, and tells what it answers. Waits for nothing: answers are callbacks."""

    def __init__(self, node: Node, answer_s: float = ANSWER_S) -> None:
        """For a node of the recorder's namespace; an answer that takes longer is not waited for."""
        self._node, self._answer_s = node, answer_s
        self._clients: dict[str, Client] = {
            command: node.create_client(Trigger, f"demo_recorder/{name}") for command, name in SERVICES.items()
        }
        self._asked: dict[Future, float] = {}  # and when; the recorder answers in order

    @property
    def is_there(self) -> bool:
        """Whether a recorder serves the keys."""
        return all(client.service_is_ready() for client in self._clients.values())

    def press(self, command: str) -> None:
        """One of `SERVICES`; answers, also that there is no recorder, are lines of the log."""
        client = self._clients[command]
        if not client.service_is_ready():
            self._node.get_logger().error(
                "no recorder is running, so → ← and Esc do nothing: start the graph with record:=FOLDER"
            )
            return
        future = client.call_async(Trigger.Request())
        self._asked[future] = time.monotonic()
        future.add_done_callback(self._on_answer)

    def watch(self) -> str:
        """Called again and again; returns a line for the log, or nothing."""
        late = [future for future, asked in self._asked.items() if time.monotonic() - asked > self._answer_s]
        for future in late:
            del self._asked[future]
        return "the recorder does not answer: look at its terminal" if late else ""

    def _on_answer(self, future: Future) -> None:
        self._asked.pop(future, None)
        answer: Trigger.Response = future.result()
        # rclpy ties a severity to the line that logs it: one line a level.
        if answer.success:
            self._node.get_logger().info(answer.message)
        else:
            self._node.get_logger().error(answer.message)
