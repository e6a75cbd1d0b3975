"""Every task starts to learn with its preset for two cores, and one process at a time learns in a folder."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import vmail_sim
from vmail.commands.simulate import FAST_PRESETS, fast_preset
from vmail.train import train_config
from vmail_core.episodes.episode import Episode
from vmail_core.learners.config import load_config
from vmail_core.learners.run_folder import RunFolder
from vmail_core.path_lock import PathLock
from vmail_sim.experts import has_expert
from vmail_sim.experts.demos import demonstrate
from vmail_sim.visual import Step, VisualTask

BRIEF_STEPS = 30
QUICK = {
    "train.pretrain_updates": 1,
    "train.updates": 4,
    "train.updates_per_episode": 3,
    "train.eval_every": 1000,
    "train.eval_episodes": 1,
    "train.batch": 4,
    "train.workers": 0,
    "policy.warm_start": 1,
}


def test_every_task_has_an_expert() -> None:
    assert [task for task in vmail_sim.task_names() if not has_expert(task)] == []


def test_every_task_has_a_preset() -> None:
    for task in vmail_sim.task_names():
        preset, settings = fast_preset(task)
        assert load_config(preset, settings).task == task
        assert sum(task.startswith(family) for family in FAST_PRESETS) == 1


@pytest.mark.parametrize("task", ["baoding", "car_racing", "dclaw_pose", "dclaw_valve3_cw", "walker_walk"])
def test_pictures_may_be_larger_than_a_screen_of_old(task: str) -> None:
    env = VisualTask(task, 700)
    picture = env.reset(0)
    assert picture.shape == (700, 700, 3)
    assert all(quarter.std() > 1.0 for half in np.split(picture, 2) for quarter in np.split(half, 2, 1))


def demonstration(env: VisualTask) -> Episode:
    random = np.random.default_rng(0)
    return demonstrate(lambda state: random.uniform(-0.1, 0.1, env.action_size).astype(np.float32), env, seed=0)


class Brief(VisualTask):
    """A task with little time: all that an episode of the longest chunks needs."""

    def reset(self, seed: int) -> np.ndarray:
        self._left = BRIEF_STEPS
        return super().reset(seed)

    def step(self, action: np.ndarray) -> Step:
        self._left -= 1
        step = super().step(action)
        return step._replace(last=step.last or self._left == 0)


@pytest.mark.parametrize("task", vmail_sim.task_names())
def test_learning_starts(task: str, tmp_path: Path) -> None:
    preset, settings = fast_preset(task)
    config = load_config(preset, settings | QUICK)
    make_env = functools.partial(Brief, task, config.model.image_size, **config.task_options)
    demo = demonstration(make_env())
    result = train_config(config, [demo, demo], tmp_path / "run", Console(quiet=True), make_env)
    assert result.finished and result.progress.update == 4
    rows = RunFolder(tmp_path / "run").metrics()
    assert 0 < rows[-1]["env_steps"] <= BRIEF_STEPS
    assert all(np.isfinite(value) for row in rows for value in row.values())
    assert rows[-1]["actor_loss"] != 0.0


def test_one_process_at_a_time_learns_in_a_folder(tmp_path: Path) -> None:
    refused = pytest.raises(FileExistsError, match="another process learns in .*run: wait for it")
    with PathLock(tmp_path / "run", "mine"), refused:
        train_config(load_config("debug"), [], tmp_path / "run", Console(quiet=True))
    assert not list(tmp_path.iterdir())
