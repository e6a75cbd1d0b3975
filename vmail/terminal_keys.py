"""Single keys from the terminal, without a display: it works over SSH."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_keys() -> Iterator[None]:
    """Keys come at once and are not shown; Ctrl-C still interrupts."""
    saved = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def forget_keys() -> None:
    """An Enter that was pressed twice is not meant for the next step."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)


def enter_pressed(wait_s: float = 0.0) -> bool:
    """Whether Enter is pressed within so many seconds, or the terminal is gone."""
    if not select.select([sys.stdin], [], [], wait_s)[0]:
        return False
    keys = os.read(sys.stdin.fileno(), 64)
    return not keys or b"\n" in keys or b"\r" in keys
