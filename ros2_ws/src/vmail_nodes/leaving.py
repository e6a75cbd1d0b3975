"""Leaving ROS without harm to those who stay."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

SETTLE_S, SETTLE_BUSY_S = 0.2, 0.5
LEAVE_S = 8.0  # some hundredths of a second are usual, seconds on a machine that is very busy


def settle() -> None:
    """Wait until what was just sent is acknowledged, before publishers and clients are destroyed.

    Fast DDS 3.2 can lock up for good inside a process that acknowledges a message, or looks whether others live, while
    a publisher disappears, and that process hears nothing any more (eProsima/Fast-DDS, issue 6502). On a busy machine
    others answer later. See launch/config/fastdds.xml, too.
    """
    time.sleep(settling_time())


def settling_time() -> float:
    """How long `settle` waits, in s: the longer, the more processes have waited for a processor in the last minute."""
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return min(SETTLE_BUSY_S, SETTLE_S * max(1.0, waiting))


@contextlib.contextmanager
def ending_in_time(seconds: float | None = None) -> Iterator[None]:
    """Let SIGALRM end the process where the block takes longer, by default than `LEAVE_S`. Main thread only.

    For what is left once devices are safe: ROS may lock up there for good (see `settle`), with Python's own lock held,
    so that no handler, thread or other signal than SIGKILL would be heeded.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, LEAVE_S if seconds is None else seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
