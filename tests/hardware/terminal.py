"""A command in a terminal of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time

TIMEOUT_S = 60.0


class Terminal:
    """A command in a terminal: what it prints, and keys for it."""

    def __init__(self, *words: str) -> None:
        self._keyboard, terminal = pty.openpty()
        command = [sys.executable, "-m", "vmail.cli", *words]
        self.process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._keyboard, 4096):
                self.printed += chunk.decode(errors="replace")
        except OSError:
            return  # the command has ended

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.printed:
            assert time.monotonic() < deadline and self.process.poll() is None, self.printed[-2000:]
            time.sleep(0.02)

    def press(self, key: bytes) -> None:
        os.write(self._keyboard, key)

    def end(self) -> int:
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)  # the last line is on its way
        assert not self._reader.is_alive()
        return code
