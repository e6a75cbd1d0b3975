"""What teleop says of itself on /diagnostics: whether it commands, for a policy that must not command beside it."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from vmail_nodes.diagnostics import SILENT_S, STARTING, reason_of, value_of

IDLE = "idle"  # the named reason of a teleop that waits for its start


class TeleopStatus:
    """The newest status of the teleop of one namespace. Times are seconds of any steady clock."""

    def __init__(self, teleop: str) -> None:
        """`teleop` is the node's full name, like /left/teleop. Nothing was heard yet."""
        self._name = teleop.lstrip("/")
        self._newest: DiagnosticStatus | None = None
        self._heard = 0.0

    def hear(self, message: DiagnosticArray, now: float) -> None:
        """Take in a message."""
        for status in message.status:
            if status.name == self._name:
                self._newest, self._heard = status, now

    def commander(self, now: float) -> str:
        """The mode of a teleop that commands, or waits for pictures to do so; empty if none does, or it fell silent."""
        if self._newest is None or now - self._heard > SILENT_S or reason_of(self._newest) in (IDLE, STARTING):
            return ""
        return value_of(self._newest, "mode")
