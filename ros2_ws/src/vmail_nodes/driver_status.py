"""What the driver says of itself on /diagnostics: why it holds, for nodes whose commands it does not send."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from vmail_hardware.guard_types import Reason
from vmail_nodes.diagnostics import GO_ON, OK, reason_of
from vmail_nodes.policy_watch import Trouble

_LATCHED = frozenset(reason.value for reason in Reason if reason.is_latched)


class DriverStatus:
    """The newest status of the driver of one namespace."""

    def __init__(self, driver: str) -> None:
        """`driver` is the node's full name, like /left/dynamixel_driver. Nothing was heard yet."""
        self._name = driver.lstrip("/")
        self._newest: DiagnosticStatus | None = None

    def hear(self, message: DiagnosticArray) -> bool:
        """Take in a message; returns whether the driver is in it."""
        mine = next((status for status in message.status if status.name == self._name), None)
        self._newest = mine or self._newest
        return mine is not None

    @property
    def is_there(self) -> bool:
        """Whether it ever said anything."""
        return self._newest is not None

    @property
    def trouble(self) -> Trouble | None:
        """Why the driver sends no commands, in its words, without what helps; None while it does, or said nothing."""
        if self._newest is None or self._newest.level == OK:
            return None
        reason = reason_of(self._newest)
        said = self._newest.message.removeprefix(f"{reason}: ").split(GO_ON)[0]
        return Trouble(reason, f"{self._name} is {said}")

    @property
    def latched(self) -> bool:
        """Whether it holds until its guard is reset."""
        return self._newest is not None and reason_of(self._newest) in _LATCHED
