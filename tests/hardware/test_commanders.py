"""One commander at a time: a handover passes, two who mix are refused, whatever their order and rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmail_core.robot import load_robot
from vmail_hardware.commanders import Commanders
from vmail_hardware.guard import Command, Guard, Reason
from vmail_hardware.joint_state import JointState

SPEC = load_robot("dclaw")
WINDOW = 0.35


def refused(commands: str, period: float = 0.1) -> str:
    """Each letter is a commander's command, a period after the one before: which of them were refused (x)."""
    commanders = Commanders(WINDOW)
    return "".join("x" if commanders.refusal(who, 5.0 + step * period) else "." for step, who in enumerate(commands))


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("aaaaaa", "......"),
        ("aaabbb", "......"),  # a handover
        ("aaabbbbbaaa", "..........."),  # and back
        ("aabab", "...xx"),  # a goes on after b has begun: neither is obeyed
        ("aabaaaaaaa", "...xxxx..."),  # until the other one has been silent for long enough
        ("ababbbbb", "..xxxxx."),
        ("abcabc", "...xxx"),
    ],
)
def test_commands_that_mix_are_refused(commands: str, expected: str) -> None:
    assert refused(commands) == expected


def test_names_are_told_also_of_who_has_none() -> None:
    commanders = Commanders(WINDOW)
    for now, who in enumerate(("", "policy", "")):
        text = commanders.refusal(who, 0.1 * now)
    assert "policy" in text and "somebody without a name" in text
    commanders.reset()
    assert commanders.refusal("policy", 0.3) == ""


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.001, 0.3)), max_size=60))
def test_whoever_goes_on_while_another_commands_is_never_obeyed(history: list[tuple[str, float]]) -> None:
    commanders, now, past = Commanders(WINDOW), 0.0, []
    for who, pause in history:
        now += pause
        before = [when for name, when in past if name == who and now - when <= WINDOW]
        mixed = bool(before) and any(name != who and when >= before[-1] for name, when in past)
        text = commanders.refusal(who, now)
        assert not mixed or text
        past.append((who, now))


def test_the_guard_holds_between_two_commanders_and_goes_on_with_one() -> None:
    guard, still = Guard(SPEC), np.zeros(9)

    def ask(commander: str, now: float) -> Reason:
        state = JointState(SPEC.rest.copy(), still, still, now)
        return guard.check(Command(SPEC.rest, now, commander), state, now).reason

    assert [ask("keyboard", 0.0), ask("policy", 0.1), ask("policy", 0.2)] == [Reason.OK] * 3
    assert ask("keyboard", 0.3) is Reason.TWO_COMMANDERS
    assert ask("policy", 0.4) is Reason.TWO_COMMANDERS
    assert Reason.TWO_COMMANDERS.holds and not Reason.TWO_COMMANDERS.is_latched
    assert [ask("policy", 0.4 + 0.1 * step) for step in range(1, 6)][-1] is Reason.OK
