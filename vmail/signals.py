"""Keeps Ctrl-C and its like away from what they must not break off, and notes them for whoever asks later."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, Any], Any] | int
_LOOK_S = 0.02  # how late a wait may end after a signal


class SignalNote:
    """Whether a signal has come: what its handler sets, and the main thread waits for.

    A `threading.Event` does not do: a handler runs in the main thread, between any two of its steps, and one that sets
    the event while that thread is about to wait for it, or sets it already, waits for itself for ever.
    """

    def __init__(self) -> None:
        """None has come."""
        self._came = False

    def set(self) -> None:
        """One has."""
        self._came = True

    def is_set(self) -> bool:
        """Whether any has."""
        return self._came

    def wait(self, seconds: float) -> bool:
        """Wait until one has, for so long at most; whether it has."""
        deadline = time.monotonic() + seconds
        while not self._came and (left := deadline - time.monotonic()) > 0.0:
            time.sleep(min(left, _LOOK_S))
        return self._came


@contextlib.contextmanager
def handled_by(handler: Handler, numbers: Iterable[int] = ENDING) -> Iterator[None]:
    """Signals of these numbers that arrive meanwhile go to `handler`. Raises ValueError outside of the main thread."""
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def ignored() -> contextlib.AbstractContextManager[None]:
    """Signals that arrive meanwhile do nothing. Raises ValueError outside of the main thread."""
    return handled_by(signal.SIG_IGN)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Handlers of signals that arrive meanwhile, Ctrl-C's KeyboardInterrupt among them, run at the end of the block.

    Signals that end the process without Python, as SIGTERM does by default, still do. Threads other than the main one
    are never interrupted, so there is nothing to put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in ENDING}
    previous = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in previous:
            signal.signal(number, lambda caught, _: came.append(caught))
        yield
    finally:
        for number in reversed(ENDING):  # Ctrl-C last: from then on it may cut this short
            if number in previous:
                signal.signal(number, previous[number])
        for caught in dict.fromkeys(came):
            signal.raise_signal(caught)
