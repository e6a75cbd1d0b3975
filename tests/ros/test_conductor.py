"""The demo's conductor over real DDS: seeded starts, whole episodes, recorded takes, and trouble that names itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ros_harness import START_TIMEOUT_S, until

from vmail.demo.conductor import MAX_LOST
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
    steps = 40  # it takes some to come to grips, now more, now less
    series, out, said = expert_series(TASK, [SEED], steps), tmp_path / "trials.json", []
    (trial,) = run_series(series, spec, out, tmp_path / "log.txt", said.append)
    assert said == [None, trial]
    joints, valve = draw_start(np.random.RandomState(SEED), spec.rest, "wide")
    assert np.abs(trial.joints[0] - joints).max() < 0.08  # gravity, while it settles
    assert trial.valve[0] == pytest.approx(valve, abs=0.05)
    lost = 2 * steps + 1 - len(trial.time) - len(trial.latency_ms)
    assert 0 <= lost <= MAX_LOST  # none, where the machine has nothing else to do
    assert steps - lost - 0.5 < trial.time[-1] / spec.control_period < steps + 0.5
    assert trial.radians(1) > 1.0  # six on a quiet machine
    assert np.all(trial.latency_ms > 0.0)
    assert "torque off" in (tmp_path / "log.txt").read_text()
    again: list[Trial | None] = []
    run_series(series, spec, out, tmp_path / "not_again.txt", again.append)
    assert [found.seed for found in again if found] == [SEED]
    assert len(again) == 1 and not (tmp_path / "not_again.txt").exists()  # no graph was started


def test_takes_are_recorded_whole_and_those_there_are_kept(spec: RobotSpec, tmp_path: Path) -> None:
    said: list[Path | None] = []

    def report(take: Path | None, radians: float) -> None:
        said.append(take)

    takes = record_takes(tmp_path / "takes", TASK, spec, 1, STEPS, 0, tmp_path / "log.txt", report)
    assert said == [None, *takes] and takes == list_takes(tmp_path / "takes")
    said.clear()
    assert record_takes(tmp_path / "takes", TASK, spec, 1, STEPS, 0, tmp_path / "log.txt", report) == takes
    assert said == takes
    (kept,) = takes  # the second, where a busy machine spoiled the first
    with pytest.raises(ValueError, match=f"{kept.name} is not a whole take"):
        record_takes(tmp_path / "takes", TASK, spec, 1, STEPS + 1, 0, tmp_path / "log.txt", report)


def test_interrupted_demo_keeps_no_half_take_and_leaves_torque_off(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "vmail.cli", "demo", "--record", "--until", "record", "--out", str(out)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = out / "logs" / "record.log"
    try:
        until(
            lambda: demo.poll() is not None or (log.exists() and "[dynamixel_driver]: ok" in log.read_text()),
            "a take goes on",
        )
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=START_TIMEOUT_S)
    finally:
        demo.kill()  # its nodes end with it
    assert demo.returncode == 130 and "torque is off" in said and "same command goes on" in said, said
    assert not list_takes(out / "takes")
    assert (
        "torque is off, the driver is not active" in log.read_text()
        and "[twin]: torque_off: episode 1" in log.read_text()
    )


def test_a_node_that_ends_is_named_with_its_own_words(spec: RobotSpec, tmp_path: Path) -> None:
    series = policy_series(tmp_path / "no_bundle", "digest", TASK, [SEED], STEPS)
    with pytest.raises(GraphFailed, match=r"(?s)node policy_runner ended.*no such bundle folder"):
        run_series(series, spec, tmp_path / "trials.json", tmp_path / "log.txt", lambda trial: None)


def test_a_second_robot_in_the_domain_is_refused(spec: RobotSpec, tmp_path: Path) -> None:
    arguments = {"sim": "true", "task": TASK, "record": "none"}
    with running("dclaw_teleop_demo", arguments, tmp_path / "log.txt") as graph:
        until(lambda: "torque on" in graph.log.read_text(), "the robot runs")

        def is_refused() -> bool:
            try:
                require_alone(spec)
            except RuntimeError as error:
                return str(error).startswith("another robot or twin is running in ROS domain")
            return False  # not heard in time: the machine is busy

        until(is_refused, "the second is refused")
