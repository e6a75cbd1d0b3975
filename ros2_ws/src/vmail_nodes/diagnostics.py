"""One status of one node on /diagnostics: once a second, and at once when the state changes."""

from __future__ import annotations

import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from vmail_nodes.qos import DIAGNOSTICS

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

PERIOD_S = 1.0
SILENT_S = 3.0  # a node that says nothing for so long has ended
GO_ON = "; to go on, "  # what follows it in a sentence is what to type
STARTING = "starting"  # the named reason before the first report


class Diagnostics:
    """Publishes a node's state under the node's name.

    The state has a level, a named reason (one word that programs compare: `command_too_old`) and a sentence
    for people. The message is `reason: sentence`; the reason is also the value of the key `reason`.
    """

    def __init__(self, node: Node, hardware_id: str = "") -> None:
        """Starts to publish at once, as STALE until the first `report`."""
        self._node, self._hardware_id = node, hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self._level: bytes = STALE
        self._reason, self._detail = STARTING, ""
        self._values: dict[str, str] = {}
        self._lock = threading.RLock()  # cameras report from the thread that reads them
        self._timer = node.create_timer(PERIOD_S, self.publish)

    @property
    def reason(self) -> str:
        """The named reason that was reported last."""
        return self._reason

    def report(self, level: bytes, reason: str, detail: str = "", quiet: bool = False, **values: Any) -> None:
        """Set the state; publishes at once when level or reason differ from before.

        It then logs too, unless `quiet`: for a node that tells people in other words.
        """
        with self._lock:
            changed = (level, reason) != (self._level, self._reason)
            self._level, self._reason, self._detail = level, reason, detail
            self.set_values(**values)
            if changed:
                if not quiet:
                    self._log()
                self.publish()

    def set_values(self, **values: Any) -> None:
        """Add or replace values that go out with the next message."""
        with self._lock:
            self._values |= {key: str(value) for key, value in values.items()}

    def publish(self) -> None:
        """Send the state now."""
        with self._lock:
            self._publisher.publish(self._message())

    def _message(self) -> DiagnosticArray:
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        values = {"reason": self._reason, **self._values}
        message.status = [
            DiagnosticStatus(
                level=self._level,
                name=self._node.get_fully_qualified_name().lstrip("/"),
                message=self._sentence(),
                hardware_id=self._hardware_id,
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            )
        ]
        return message

    def _sentence(self) -> str:
        return f"{self._reason}: {self._detail}" if self._detail else self._reason

    def _log(self) -> None:
        # rclpy ties a severity to the line that logs it: one line a level.
        logger = self._node.get_logger()
        if self._level == OK:
            logger.info(self._sentence())
        elif self._level == ERROR:
            logger.error(self._sentence())
        else:
            logger.warning(self._sentence())


def reason_of(status: DiagnosticStatus) -> str:
    """The named reason of a status published by `Diagnostics`; empty for another node's status."""
    return value_of(status, "reason")


def value_of(status: DiagnosticStatus, key: str) -> str:
    """The value of a key in a status; empty where it has none."""
    return next((pair.value for pair in status.values if pair.key == key), "")
