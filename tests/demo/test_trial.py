"""A trial's score is the task's own score of the same episode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vmail.demo.trial import Trial, read_trials, write_trials
from vmail_core.robot import RobotSpec
from vmail_sim.visual import VisualTask


def test_score_is_the_environments_own(
    make_trial: Callable[..., Trial], environment: VisualTask, robot: RobotSpec
) -> None:
    trial = make_trial(7)
    score = environment.score()  # of the episode that the trial was taken from
    assert trial.radians(1) == pytest.approx(score["radians"])
    assert trial.task_return(robot, 1) == pytest.approx(score["return"])
    assert trial.radians(1) > 0.3  # the expert turns; a score of nothing would agree as well


def test_file_keeps_what_matters_and_is_not_taken_over_from_another_source(
    make_trial: Callable[..., Trial], tmp_path: Path
) -> None:
    trial, path = make_trial(3), tmp_path / "trials.json"
    write_trials(path, [trial], {"bundle": "a"})
    (same,) = read_trials(path, {"bundle": "a"})
    assert same.seed == 3 and same.missed == 0 and same.repeated == ()
    np.testing.assert_allclose(same.joints, trial.joints, atol=1e-5)
    np.testing.assert_allclose(same.latency_ms, trial.latency_ms, atol=1e-5)
    assert read_trials(path, {"bundle": "b"}) == []
    assert read_trials(tmp_path / "missing.json") == []
