"""`vmail up` in a terminal: the keys reach the node that asks for them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
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


def test_keys_record_a_take_and_end_the_graph(ros: Ros, terminal: tuple[int, int], tmp_path: Path) -> None:
    hands, programs = terminal
    command = [sys.executable, "-m", "vmail.cli", "up", "dclaw_teleop_demo", "sim:=true", f"record:={tmp_path}"]
    with (tmp_path / "up.log").open("w") as log:
        graph = subprocess.Popen(command, stdin=programs, stdout=log, stderr=subprocess.STDOUT)
    try:
        ros.wait_reason("demo_recorder", "idle")
        until(lambda: ros.call(Trigger, "demo_recorder/start").success, "the recorder hears camera and joints")
        assert ros.call(Trigger, "demo_recorder/discard").success
        os.write(hands, b"n")
        ros.wait_reason("demo_recorder", "recording")
        os.write(hands, b"n")
        ros.wait_reason("demo_recorder", "idle")
        os.write(hands, b"q")
        assert graph.wait(START_TIMEOUT_S) == 0, (tmp_path / "up.log").read_text()
    finally:
        if graph.poll() is None:
            graph.terminate()
            graph.wait(START_TIMEOUT_S)
    # Nobody commanded, so the take is no good, and put aside.
    assert (tmp_path / ".rejected" / "take_0001" / "metadata.yaml").is_file()
