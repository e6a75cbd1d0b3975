"""Leaving ROS without harm to those who stay."""

from __future__ import annotations

import os
import time

SETTLE_S, SETTLE_BUSY_S = 0.2, 0.5


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
