"""Whether teleop commands, from what it says of itself, without nodes."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from vmail_nodes.diagnostics import SILENT_S
from vmail_nodes.teleop_status import TeleopStatus


def news(reason: str, name: str = "left/teleop") -> DiagnosticArray:
    values = [KeyValue(key="reason", value=reason), KeyValue(key="mode", value="gamepad")]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, values=values)])


@pytest.mark.parametrize(
    ("reason", "commander"),
    [("running", "gamepad"), ("camera_too_old", "gamepad"), ("waiting", "gamepad"), ("idle", ""), ("starting", "")],
)
def test_one_that_was_started_commands_also_while_pictures_are_missing(reason: str, commander: str) -> None:
    teleop = TeleopStatus("/left/teleop")
    assert teleop.commander(0.0) == ""
    teleop.hear(news(reason), 10.0)
    assert teleop.commander(10.0) == commander


def test_one_that_fell_silent_and_that_of_another_hand_do_not_count() -> None:
    teleop = TeleopStatus("/left/teleop")
    teleop.hear(news("running", "right/teleop"), 10.0)
    assert teleop.commander(10.0) == ""
    teleop.hear(news("running"), 10.0)
    assert teleop.commander(10.1 + SILENT_S) == ""
