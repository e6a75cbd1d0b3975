"""Takes of a hand that was led by hand: nothing was sent, so the poses that it was led to become the actions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from vmail_core.episodes.bag_reading import KINESTHETIC, REQUEST, SENT, Event

LONGEST_PAUSE_NS = 1_000_000_000  # between poses; a longer one is no motion from one to the next


def with_led_commands(events: Iterable[Event]) -> Iterator[Event]:
    """The same events, with each pose that the hand was led to as the command of the frame before it.

    At every tick such a take has a request in the name of KINESTHETIC, the joints' angles then. What the hand should
    have been told at a tick, to do the same by itself, is where it was at the next one: that becomes both request and
    sent command. The last pose has no next one: its frame closes the run. Other takes pass unchanged.
    """
    last: Event | None = None  # the pose whose command is not known yet
    waiting: list[Event] = []  # what was recorded after it
    for event in events:
        if event.topic == REQUEST and event.commander == KINESTHETIC:
            if last is not None and event.stamp_ns - last.stamp_ns <= LONGEST_PAUSE_NS:
                led = dataclasses.replace(last, value=event.value)
                yield from (led, dataclasses.replace(led, topic=SENT))
            yield from waiting
            last, waiting = event, []
        elif last is None:
            yield event
        else:
            waiting.append(event)
            if event.stamp_ns - last.stamp_ns > LONGEST_PAUSE_NS:
                yield from waiting  # of a pause that has no end in sight, nothing is kept in memory
                last, waiting = None, []
    yield from waiting
