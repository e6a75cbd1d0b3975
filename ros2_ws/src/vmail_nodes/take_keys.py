"""Keys for whoever records: read from the terminal without waiting and without Enter. Works over SSH."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import tty
from typing import Any

NEXT, DISCARD, STOP, HANDOVER = "next", "discard", "stop", "hand over"
HELP = (
    "keys: → or n begins a take and keeps it; ← or d discards it, or the one just kept, and begins anew; "
    "p hands control to the policy and back; Esc or q ends, in a graph all of it"
)
ESCAPE = "\x1b"
_KEYS = {
    "\x1b[C": NEXT,
    "\x1bOC": NEXT,
    "n": NEXT,
    "\x1b[D": DISCARD,
    "\x1bOD": DISCARD,
    "d": DISCARD,
    ESCAPE: STOP,
    "q": STOP,
    "p": HANDOVER,
}
SPECIAL_KEYS = {key: command for key, command in _KEYS.items() if key.startswith(ESCAPE)}
"""Those that are no letters, which a keyboard that moves joints has a use for."""
_ONE_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)
_BEGUN_KEY = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)?\Z")


class Keys:
    """The terminal in a mode where keys come at once, without echo; Ctrl-C still interrupts."""

    def __init__(self, descriptor: int) -> None:
        """Read keys from a terminal's descriptor, until `close`."""
        self._descriptor = descriptor
        self._begun = ""  # of a key whose bytes have not all come
        self._saved: list[Any] | None = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)

    def poll(self) -> list[str]:
        """Commands since the last call: NEXT, DISCARD, STOP, HANDOVER. Other keys mean nothing."""
        return [_KEYS[key] for key in self.typed() if key in _KEYS]

    def typed(self) -> list[str]:
        """Keys pressed since the last call, without waiting. An arrow and its like is one key of several characters.

        The bytes of one may come apart, over a slow line: then it is among the keys of the next call. So is Esc, which
        is known from an arrow's beginning by nothing coming after it.
        """
        came, begun = b"", self._begun
        while chunk := self.read():  # none, or the terminal has gone
            came += chunk
        text, self._begun = begun + came.decode(errors="ignore"), ""
        if came and (unfinished := _BEGUN_KEY.search(text)):
            text, self._begun = text[: unfinished.start()], unfinished[0]
        elif text != ESCAPE and not came:
            return []  # the beginning of a key that never came
        return _ONE_KEY.findall(text)

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
        saved, self._saved = self._saved, None
        if saved is not None:
            with contextlib.suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, saved)


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
