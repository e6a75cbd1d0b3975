"""`vmail up` as a process, what it leaves behind, and the fixture `up` that starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_harness import START_TIMEOUT_S


class Up:
    """`vmail up` as a process, whose output is kept in a file."""

    def __init__(self, log: Path, *words: str) -> None:
        self.log = log
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vmail.cli", "up", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text()

    def wait(self, timeout: float = START_TIMEOUT_S) -> tuple[int, str]:
        """Exit code and everything that was printed."""
        try:
            return self.process.wait(timeout), self.output
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end in {timeout} s:\n{self.output}") from None

    def descendants(self) -> list[str]:
        """Command lines of what it started and what still runs, also after its own end."""
        mark = f"VMAIL_PARENT_PID={self.process.pid}".encode()
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # ended meanwhile, or another user's
        return found

    def torque(self) -> list[str]:
        """What the twin said of its servos' torque, in order: torque_on, torque_partly_on, torque_off."""
        return re.findall(r"\[twin\].*\b(torque_\w+): ", self.output)


@pytest.fixture
def up(tmp_path: Path, ros_domain: int) -> Iterator:
    """Start a graph; what still runs at the end of the test is stopped."""
    started: list[Up] = []

    def start(*words: str) -> Up:
        started.append(Up(tmp_path / f"up_{len(started)}.log", *words))
        return started[-1]

    yield start
    for graph in started:
        if graph.process.poll() is None:
            graph.process.send_signal(signal.SIGTERM)
            graph.wait()
