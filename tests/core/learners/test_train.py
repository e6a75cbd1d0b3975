"""The loop of Algorithm 1 on a toy world: it collects, logs, stops and resumes; rewards never reach the learner."""

import dataclasses
import json
import resource

import numpy as np
import pytest
import torch
from toy_world import Dot, demos

from vmail_core.learners.config import Config, load_config
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.train import Trainer


@pytest.fixture
def config() -> Config:
    return load_config("debug")


def parameters(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.learner.parameters()])


def test_a_run_leaves_config_metrics_checkpoint_and_practice(tmp_path, config):
    Trainer(config, demos(), Dot(), tmp_path / "run").run()
    folder = RunFolder(tmp_path / "run")
    assert folder.config() == config
    rows = folder.metrics()
    assert rows[-1]["update"] >= config.train.updates and rows[-1]["env_steps"] > 0
    assert any("eval_radians" in row for row in rows)
    assert len(list(folder.practice.glob("*.npz"))) >= 1
    assert json.loads((folder.path / "run.json").read_text())["torch"] == torch.__version__


def test_rewards_never_reach_the_learner(tmp_path, config):
    runs = []
    for seed in (1, 2):
        trainer = Trainer(config, demos(), Dot(reward_seed=seed), tmp_path / str(seed))
        trainer.run()
        runs.append(parameters(trainer))
    assert torch.equal(*runs)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path, average):
    config = load_config("debug", {"train.average": average})
    whole = Trainer(config, demos(), Dot(), tmp_path / "whole")
    whole.run()
    first = Trainer(config, demos(), Dot(), tmp_path / "parts")
    half_way = 4
    while first.progress.update < half_way:
        first.advance()
    first.save()
    first.advance()  # lost: a kill comes before the next checkpoint
    second = Trainer(config, demos(), Dot(), tmp_path / "parts")
    assert second.progress.update == half_way
    second.run()
    assert torch.equal(parameters(whole), parameters(second))


def test_a_folder_of_another_run_is_refused(tmp_path, config):
    Trainer(config, demos(), Dot(), tmp_path)
    other = dataclasses.replace(config, task="another")
    with pytest.raises(ValueError, match="another config"):
        Trainer(other, demos(), Dot(), tmp_path)


def test_no_demonstrations_is_one_clear_error(tmp_path, config):
    with pytest.raises(ValueError, match="no demonstrations.*vmail import"):
        Trainer(config, [], Dot(), tmp_path)


def test_nan_stops_the_run_and_names_it(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path / "run")
    with torch.no_grad():
        next(trainer.learner.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"run, update 1: the gradient of .* in .*failed_batch\.npz"):
        trainer.run()
    with np.load(tmp_path / "run" / "failed_batch.npz") as batch:
        assert batch["image"].shape == (config.train.length, config.train.batch, 32, 32, 3)
        assert batch["action"].shape == (config.train.length, config.train.batch, 2)


def small_files(most: int) -> None:
    """No file of this process may grow beyond so many bytes: what a full disk looks like, at a place of our choice."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def test_a_disk_that_is_full_leaves_the_last_checkpoint(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path / "run")
    trainer.advance()
    trainer.save()
    saved = trainer.progress.update
    trainer.advance()
    small_files(1000)
    try:
        with pytest.raises(OSError, match=r"cannot write to .*run: .*start the same command again"):
            trainer.save()
    finally:
        small_files(resource.RLIM_INFINITY)
    assert Trainer(config, demos(), Dot(), tmp_path / "run").progress.update == saved


def test_joint_angles_that_were_not_recorded_are_missed_at_once(tmp_path):
    config = load_config("debug", {"model.joint_scale": 1.0})
    with pytest.raises(ValueError, match=r"has no joint angles.*model\.joint_scale=0"):
        Trainer(config, demos(), Dot(), tmp_path)
