"""What the driver says of itself, by torque, latch and hold: one reason at a time, and always what helps."""

from __future__ import annotations

import re

import pytest

from vmail_hardware.guard_types import Decision, Reason
from vmail_nodes import diagnostics
from vmail_nodes.driver_torque import Torque, state_of

OBEYS = Decision(None, False, Reason.OK, "")
LATE = Decision(None, True, Reason.COMMAND_TOO_OLD, "no command for 0.4 s")
SILENT = Decision(None, True, Reason.BUS_SILENT, "joints unknown")
STOPPED = Decision(None, True, Reason.ESTOP, "emergency stop")
SHUT = Decision(None, True, Reason.HARDWARE_ERROR, "servo 21 reports overload")
ON, OFF = Torque(may_be_on=True, wanted=True), Torque()
REFUSED = Torque(wanted=True, refusal="servo 10 stands outside. ")


@pytest.mark.parametrize(
    ("torque", "decision", "latched", "level", "reason", "words"),
    [
        (ON, OBEYS, None, diagnostics.OK, "ok", ""),
        (ON, LATE, None, diagnostics.WARN, "command_too_old", "holding: no command for 0.4 s"),
        (ON, SILENT, None, diagnostics.ERROR, "bus_silent", "holding: no answer from servo 21"),
        (
            ON,
            SHUT,
            Reason.HARDWARE_ERROR,
            diagnostics.ERROR,
            "hardware_error",
            "holding: .*; to go on, `~/reset_guard`",
        ),
        (OFF, OBEYS, None, diagnostics.WARN, "torque_off", "without torque: Commands are ignored; `~/torque true` "),
        (REFUSED, OBEYS, None, diagnostics.WARN, "torque_off", "without torque: servo 10 stands outside. Commands are"),
        (
            REFUSED,
            SHUT,
            Reason.HARDWARE_ERROR,
            diagnostics.ERROR,
            "hardware_error",
            "without torque: servo 21 .* servo 10 stands outside. `~/reset_guard` restarts servos that have shut down",
        ),
        (
            OFF,
            STOPPED,
            Reason.ESTOP,
            diagnostics.ERROR,
            "estop",
            "without torque: emergency stop; to go on, `~/reset_guard`$",
        ),
        (
            Torque(may_be_on=True, wanted=True, refusal="servo 10 stands outside. "),
            OBEYS,
            None,
            diagnostics.ERROR,
            "torque_may_be_on",
            "servo 10 stands outside. It could not be switched off everywhere; `~/torque false`, or cut",
        ),
        (
            Torque(may_be_on=True),
            SHUT,
            Reason.HARDWARE_ERROR,
            diagnostics.ERROR,
            "torque_may_be_on",
            "to let go: It could not be switched off everywhere",
        ),
    ],
)
def test_state(
    torque: Torque, decision: Decision, latched: Reason | None, level: bytes, reason: str, words: str
) -> None:
    found = state_of(torque, decision, latched, "no answer from servo 21", lambda name: f"`{name}`")
    assert found[:2] == (level, reason)
    assert re.search(words or "^$", found[2]), found[2]


def test_only_torque_that_is_wanted_and_was_not_refused_is_power() -> None:
    assert ON.powered and not OFF.powered and not REFUSED.powered
    assert not Torque(may_be_on=True).powered
