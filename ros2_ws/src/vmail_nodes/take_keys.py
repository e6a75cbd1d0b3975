"""Keys for whoever records: read from the terminal without waiting and without Enter. Works over SSH."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import Any

NEXT, DISCARD, STOP, HANDOVER = "next", "discard", "stop", "hand over"
HELP = (
    "keys: → or n begins a take and keeps it; ← or d discards it and begins it again; "
    "p hands control to the policy and back; Esc or q ends"
)
_KEYS = {
    b"\x1b[C": NEXT,
    b"\x1bOC": NEXT,
    b"n": NEXT,
    b"\x1b[D": DISCARD,
    b"\x1bOD": DISCARD,
    b"d": DISCARD,
    b"\x1b": STOP,
    b"q": STOP,
    b"p": HANDOVER,
}


class Keys:
    """The terminal in a mode where keys come at once; Ctrl-C still interrupts."""

    def __init__(self, descriptor: int) -> None:
        """Read keys from a terminal's descriptor, until `close`."""
        self._descriptor = descriptor
        self._saved: list[Any] | None = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)

    def poll(self) -> list[str]:
        """Commands since the last call: NEXT, DISCARD, STOP, HANDOVER. Other keys mean nothing."""
        pressed = []
        while key := self.read():  # none, or the terminal has gone
            pressed += _commands(key)
        return pressed

    def read(self, wait_s: float = 0.0) -> bytes | None:
        """What was typed, waiting so many seconds for it: None for nothing, empty when the terminal has gone."""
        if self._saved is None or not select.select([self._descriptor], [], [], wait_s)[0]:
            return None
        return os.read(self._descriptor, 16)

    def forget(self) -> None:
        """An Enter that was pressed twice is not meant for the next step."""
        termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._saved is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)
            self._saved = None


def open_keys() -> Keys | None:
    """Keys of standard input; None when that is not a terminal that this process may read."""
    return Keys(sys.stdin.fileno()) if terminal_is_ours() else None


def terminal_is_ours() -> bool:
    """Whether standard input is a terminal that this process may read."""
    return sys.stdin.isatty() and not _in_background(sys.stdin.fileno())


def _in_background(descriptor: int) -> bool:
    """Whether this is a background job of the terminal, which reading would stop."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except OSError:
        return False  # the terminal of another session, as under `vmail up`: reading it stops nobody


def _commands(data: bytes) -> list[str]:
    """Split what one read brought: keys pressed quickly come together, an arrow key comes as three bytes."""
    found: list[str] = []
    while data:
        key = data[:3] if data[:3] in _KEYS else data[:1]
        if key == b"\x1b" and data[1:2] in (b"[", b"O"):
            return found  # some other special key: not Esc
        if key in _KEYS:
            found.append(_KEYS[key])
        data = data[len(key) :]
    return found
