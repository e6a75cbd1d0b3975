"""`vmail up` in a terminal: the keys reach the node that asks for them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ros_harness import START_TIMEOUT_S, Ros, until
from std_srvs.srv import Trigger


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal: that of a person's hands, and that of the programs."""
    ends = pty.openpty()
    yield ends
    for descriptor in ends:
        os.close(descriptor)


def press(hands: int, key: bytes, done: Callable[[], object], what: str) -> None:
    """Press a key once, and wait for what comes of it."""
    os.write(hands, key)
    until(done, what)


@contextmanager
def up_in(terminal: tuple[int, int], log: Path, *words: str) -> Iterator[subprocess.Popen]:
    """`vmail up` with the twin, whose end is waited for."""
    command = [sys.executable, "-m", "vmail.cli", "up", "dclaw_teleop_demo", "sim:=true", *words]
    with log.open("w") as output:
        graph = subprocess.Popen(command, stdin=terminal[1], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield graph
    finally:
        if graph.poll() is None:
            graph.terminate()
            graph.wait(START_TIMEOUT_S)


def test_keys_record_a_take_and_end_the_graph(ros: Ros, terminal: tuple[int, int], tmp_path: Path) -> None:
    hands, log = terminal[0], tmp_path / "up.log"
    with up_in(terminal, log, f"record:={tmp_path}") as graph:
        ros.wait_reason("demo_recorder", "idle")
        until(lambda: ros.call(Trigger, "demo_recorder/start").success, "the recorder hears camera and joints")
        assert ros.call(Trigger, "demo_recorder/discard").success
        os.write(hands, b"n")
        ros.wait_reason("demo_recorder", "recording")
        os.write(hands, b"n")
        ros.wait_reason("demo_recorder", "idle")
        os.write(hands, b"q")
        assert graph.wait(START_TIMEOUT_S) == 0, log.read_text()
    # Nobody commanded, so the take is no good, and put aside.
    assert (tmp_path / ".rejected" / "take_0001" / "metadata.yaml").is_file()


def test_the_terminal_of_the_keyboard_serves_the_recorder_too(
    ros: Ros, terminal: tuple[int, int], tmp_path: Path
) -> None:
    hands, log = terminal[0], tmp_path / "up.log"

    def said(text: str) -> int:
        """How often teleop has said something."""
        return sum(text in line for line in log.read_text().splitlines() if line.startswith("[teleop]"))

    with up_in(terminal, log, "teleop:=keyboard", "namespace:=left", f"record:={tmp_path}") as graph:
        ros.wait_reason("left/teleop", "running")
        until(lambda: ros.call(Trigger, "left/demo_recorder/start").success, "the recorder hears camera and joints")
        until(lambda: ros.call(Trigger, "left/demo_recorder/discard").success, "the take is discarded")
        until(lambda: said("a recorder is there: → begins a take"), "the recorder's keys are told of")
        press(hands, b"\x1b[C", lambda: said("take 1: recording"), "→ begins a take")
        press(hands, b"q", lambda: said("FFJ10 to "), "a letter moves a joint")
        press(hands, b"\x1b[D", lambda: said("take 1 discarded"), "← discards it")
        until(lambda: said("take 1: recording") == 2, "and begins it again")
        time.sleep(1.0)
        press(hands, b"\x1b[C", lambda: said("take 1 ") == 2, "→ keeps it, or puts it aside")
        go_on = "to go on, `vmail call left/dynamixel_driver/reset_guard left/teleop/start`"
        press(hands, b"x", lambda: said(go_on), "x is the emergency stop, and what to type then is said")
        os.write(hands, b"\x1b")
        assert graph.wait(START_TIMEOUT_S) == 0, log.read_text()
    assert "~/" not in log.read_text()
    # The services' take, that of → and that of ←; none is told twice.
    assert log.read_text().count("take 1: recording") == 3
