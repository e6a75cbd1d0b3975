"""Leaving ROS without harm to those who stay."""

from __future__ import annotations

import time

SETTLE_S = 0.2


def settle() -> None:
    """Wait until what was just sent is acknowledged, before publishers and clients are destroyed.

    Fast DDS 3.2 can lock up for good inside a process that acknowledges a message while its publisher disappears, and
    that process hears nothing any more (eProsima/Fast-DDS, issue 6502).
    """
    time.sleep(SETTLE_S)
