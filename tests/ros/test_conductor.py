"""The demo's conductor over real DDS: seeded starts, whole episodes, recorded takes, and trouble that names itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vmail.demo.recording import list_takes, record_takes
from vmail.demo.ros_trials import expert_series, policy_series, require_alone, run_series
from vmail.demo.running_graph import GraphFailed, running
from vmail.demo.trial import Trial
from vmail_core.robot import RobotSpec, load_robot
from vmail_sim.dclaw.valve import draw_start

TASK = "dclaw_valve3_ccw"
STEPS = 15
SEED = 300_007


@pytest.fixture
def spec() -> RobotSpec:
    return load_robot("dclaw")


def test_expert_turns_from_the_start_that_the_seed_says(spec: RobotSpec, tmp_path: Path) -> None:
    series, out, said = expert_series(TASK, [SEED], STEPS), tmp_path / "trials.json", []
    (trial,) = run_series(series, spec, out, tmp_path / "log.txt", said.append)
    assert said == [None, trial]
    joints, valve = draw_start(np.random.RandomState(SEED), spec.rest, "wide")
    assert np.abs(trial.joints[0] - joints).max() < 0.08  # gravity, while it settles
    assert trial.valve[0] == pytest.approx(valve, abs=0.05)
    assert len(trial.time) in (STEPS, STEPS + 1) and len(trial.latency_ms) == STEPS
    assert trial.time[-1] == pytest.approx(STEPS * spec.control_period, abs=0.15)
    assert trial.radians(1) > 0.5
    assert np.all(trial.latency_ms > 0.0)
    assert "torque off" in (tmp_path / "log.txt").read_text()
    began, again = time.monotonic(), []
    run_series(series, spec, out, tmp_path / "log.txt", again.append)
    assert len(again) == 1 and isinstance(again[0], Trial) and time.monotonic() - began < 1.0


def test_takes_are_recorded_whole_and_those_there_are_kept(spec: RobotSpec, tmp_path: Path) -> None:
    said: list[Path | None] = []

    def report(take: Path | None, radians: float) -> None:
        said.append(take)

    takes = record_takes(tmp_path / "takes", TASK, spec, 1, STEPS, 0, tmp_path / "log.txt", report)
    assert said == [None, *takes] and takes == list_takes(tmp_path / "takes")
    said.clear()
    assert record_takes(tmp_path / "takes", TASK, spec, 1, STEPS, 0, tmp_path / "log.txt", report) == takes
    assert said == takes
    with pytest.raises(ValueError, match="take_0001 is not a whole take"):
        record_takes(tmp_path / "takes", TASK, spec, 1, STEPS + 1, 0, tmp_path / "log.txt", report)


def test_interrupted_demo_keeps_no_half_take_and_leaves_torque_off(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "vmail.cli", "demo", "--record", "--until", "record", "--out", str(out)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60.0
    while not list(out.glob("takes/take_*")):
        assert demo.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.0)  # into the take
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=30.0)
    assert demo.returncode == 130 and "torque is off" in said and "same command goes on" in said
    assert not list_takes(out / "takes")
    log = (out / "logs" / "record.log").read_text()
    assert "torque is off, port closed" in log and "[twin]: torque_off: episode 1" in log


def test_a_node_that_ends_is_named_with_its_own_words(spec: RobotSpec, tmp_path: Path) -> None:
    series = policy_series(tmp_path / "no_bundle", "digest", TASK, [SEED], STEPS)
    with pytest.raises(GraphFailed, match=r"(?s)node policy_runner ended.*no such bundle folder"):
        run_series(series, spec, tmp_path / "trials.json", tmp_path / "log.txt", lambda trial: None)


def test_a_second_robot_in_the_domain_is_refused(spec: RobotSpec, tmp_path: Path) -> None:
    arguments = {"sim": "true", "task": TASK, "record": "none"}
    with running("dclaw_teleop_demo", arguments, tmp_path / "log.txt") as graph:
        deadline = time.monotonic() + 30.0
        while "torque on" not in graph.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with pytest.raises(RuntimeError, match="another robot or twin is running in ROS domain"):
            require_alone(spec)
