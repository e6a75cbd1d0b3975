"""The Enter key, without a display: it works over SSH, and without a terminal nobody presses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from vmail_nodes.take_keys import Keys, open_keys


@contextmanager
def single_keys() -> Iterator[Keys | None]:
    """Keys come at once and are not shown; Ctrl-C still interrupts. None without a terminal to read from."""
    keys = open_keys()
    try:
        yield keys
    finally:
        if keys is not None:
            keys.close()


def enter_pressed(keys: Keys | None, wait_s: float = 0.0) -> bool:
    """Whether Enter is pressed within so many seconds, or the terminal is gone."""
    if keys is None:
        time.sleep(wait_s)
        return False
    pressed = keys.read(wait_s)
    return pressed is not None and (not pressed or b"\n" in pressed or b"\r" in pressed)
