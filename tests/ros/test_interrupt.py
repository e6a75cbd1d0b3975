"""Ctrl-C at any moment, once or twice: torque off, nothing left running, and the take in progress whole."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

import pytest
from ros_harness import Ros, until
from std_srvs.srv import Trigger
from up_process import Up

from vmail.takes import find_takes, read_take
from vmail_core.robot import load_robot

ROBOT = load_robot("dclaw")


@pytest.fixture(autouse=True)
def own_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a graph puts there is seen, if it stays."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def interrupt(graph: Up, again_after: float | None) -> None:
    """Ctrl-C, and for somebody impatient another one."""
    graph.process.send_signal(signal.SIGINT)
    if again_after is not None:
        time.sleep(again_after)
        graph.process.send_signal(signal.SIGINT)


def check_end(graph: Up, temporary: Path) -> str:
    """The graph ended in order; returns what was printed."""
    code, output = graph.wait()
    assert code == 0, output
    assert not graph.descendants()
    assert graph.torque()[-1:] in ([], ["torque_off"]), output
    told = re.sub("failed to send response", "", output)  # by rclpy, where who asked has ended already
    assert "may still be on" not in told and "Traceback" not in told and "failed" not in told, output
    assert not list(temporary.glob("vmail-*")), "its folder of sockets is left"
    return output


@pytest.mark.parametrize("seed", range(4))
def test_while_recording(ros: Ros, up, tmp_path: Path, own_folder_for_temporary_files: Path, seed: int) -> None:
    rng = random.Random(seed)
    takes = tmp_path / "takes"
    managed = str(seed == 3).lower()
    graph = up("dclaw_teleop_demo", "sim:=true", f"record:={takes}", f"seed:={seed}", f"managed:={managed}")
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    until(lambda: ros.call(Trigger, "demo_recorder/start").success, "the recorder hears camera and joints")
    assert ros.call(Trigger, "teleop/start").success
    ros.wait_reason("teleop", "running")
    time.sleep(rng.uniform(0.0, 3.0))
    interrupt(graph, rng.uniform(0.0, 0.3) if seed % 2 else None)
    output = check_end(graph, own_folder_for_temporary_files)
    assert "torque_on" in graph.torque(), output
    kept = takes / "take_0001"
    (take,) = find_takes(takes if kept.exists() else takes / ".rejected")  # one of a moment is no good, but whole
    facts = read_take(take, ROBOT)
    assert not facts.trouble and facts.pictures > 0, facts


@pytest.mark.parametrize("seed", range(4))
def test_during_start_up(up, own_folder_for_temporary_files: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(100 + seed)
    managed = str(seed == 3).lower()
    graph = up("dclaw_teleop_demo", "sim:=true", f"record:={tmp_path / 'takes'}", f"managed:={managed}")
    until(graph.descendants, "the first node is started")
    time.sleep(rng.uniform(0.0, 4.0))
    interrupt(graph, rng.uniform(0.0, 0.3) if seed % 2 else None)
    check_end(graph, own_folder_for_temporary_files)
