"""Lines of several programs on one output, which never keep a program waiting."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import IO

MOST_LINES = 10_000  # that wait for the output


class LogLines:
    """Prints lines from any thread, in the order in which they come.

    A node that waits until its log is read does nothing else: its motors would stay on. So what an output does not
    take (Ctrl-S, a full disk, a reader that is gone) waits here, and is dropped in the end.
    """

    def __init__(self, output: IO[str] | None = None) -> None:
        """Begin to print to `output`, by default to standard output."""
        self._output, self._dropped = output, 0
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)
        self._thread = threading.Thread(target=self._print, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Print the line, with its end, when it is its turn; returns at once."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self, patience_s: float) -> None:
        """Wait until all is printed, for up to so many seconds."""
        if self._dropped:
            self.put(f"({self._dropped} lines of the log are missing: nobody took them)\n")
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(patience_s)

    def _print(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # a full disk; an output that was closed
                print(line, end="", file=self._output, flush=True)
