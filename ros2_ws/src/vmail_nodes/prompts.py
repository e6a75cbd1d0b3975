"""Tells whoever records what happens: one line in the terminal, and spoken words, for eyes are on the hand then."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from vmail_nodes.diagnostics import ERROR, OK

PROGRAMS = ("spd-say", "espeak-ng", "espeak")
AUTO, SILENT = "auto", "off"


class Prompts:
    """Of one node. Nothing here waits for the speech program."""

    def __init__(self, logger: Any, speech: str) -> None:
        """`speech` is "auto", which speaks if a program for it is installed and says so if none is, or "off"."""
        self._logger = logger
        self._program = next(filter(None, map(shutil.which, PROGRAMS)), None) if speech == AUTO else None
        self._speaking: subprocess.Popen | None = None
        self._cut_short: list[subprocess.Popen] = []
        if speech == AUTO and self._program is None:
            logger.info("prompts are silent: for spoken ones install espeak-ng; speech: off ends this line")

    def tell(self, line: str, words: str, level: bytes = OK) -> None:
        """Print the line, if any, with the severity of a diagnostic level, and speak the words."""
        # rclpy ties a severity to the line that logs it: one line a level.
        if not line:
            pass  # who asked prints it
        elif level == OK:
            self._logger.info(line)
        elif level == ERROR:
            self._logger.error(line)
        else:
            self._logger.warning(line)
        self._speak(words)

    def poll(self) -> None:
        """Look whether the speech program has ended, and how. One that fails is not asked again."""
        self._cut_short = [process for process in self._cut_short if process.poll() is None]
        if self._speaking is None or self._speaking.poll() is None:
            return
        code, self._speaking = self._speaking.returncode, None
        if code:
            self._give_up(f"it ended with exit code {code}")

    def close(self) -> None:
        """Fall silent."""
        self._program = None
        self._hush()

    def _speak(self, words: str) -> None:
        if self._program is None:
            return
        self._hush()  # what happened since matters more
        try:
            self._speaking = subprocess.Popen(
                [self._program, words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self._give_up(str(error))

    def _hush(self) -> None:
        if self._speaking is not None and self._speaking.poll() is None:
            self._speaking.kill()
            self._cut_short.append(self._speaking)
        self._speaking = None

    def _give_up(self, why: str) -> None:
        self._logger.warning(f"prompts are silent from now on: {self._program} does not speak ({why}); try it by hand")
        self._program = None
