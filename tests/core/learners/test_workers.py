"""Practice in processes of its own: the same losses whatever happens to them, and no process is left behind."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_world import Dot, Faulty, demos

from vmail_core.learners.config import Config, load_config
from vmail_core.learners.practice import practice_seed
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.train import Trainer

PRETRAIN, UPDATES, PER_EPISODE = 4, 16, 2


def config(workers: int) -> Config:
    settings = {
        "pretrain_updates": PRETRAIN,
        "updates": UPDATES,
        "updates_per_episode": PER_EPISODE,
        "eval_every": 1000,
        "checkpoint_minutes": 0.0,
        "threads": 1,
        "workers": workers,
    }
    return load_config("debug", {f"train.{name}": value for name, value in settings.items()})


def begin(folder: Path, workers: int, make_env: Callable[[], Dot] = Dot) -> Trainer:
    return Trainer(config(workers), demos(), Dot(), folder, make_env=make_env)


def run(folder: Path, workers: int, make_env: Callable[[], Dot] = Dot) -> list[dict[str, float]]:
    """All metrics but how long it took."""
    begin(folder, workers, make_env).run()
    return metrics(folder)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in RunFolder(folder).metrics()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """What a run with two workers and no trouble writes down."""
    folder = tmp_path_factory.mktemp("whole")
    found = run(folder, 2)
    assert not multiprocessing.active_children()
    assert not (folder / "practice.new").exists()
    return found


def test_losses_of_one_worker_with_trouble_are_those_of_two_without(tmp_path, whole):
    first = practice_seed(config(1), 0)
    faults = {first: ["killed"], first + 2: ["raises", "raises"]}
    assert run(tmp_path / "run", 1, functools.partial(Faulty, faults, tmp_path)) == whole
    tries = {int(path.name) - first: len(path.read_text()) for path in tmp_path.glob("1*")}
    assert [tries[index] for index in range(4)] == [2, 1, 3, 1]


def test_updates_and_episodes_keep_the_ratio_that_they_have_without_workers(tmp_path, whole):
    inline = run(tmp_path, 0)
    assert [(row["update"], row["env_steps"]) for row in whole] == [(row["update"], row["env_steps"]) for row in inline]
    practised = (UPDATES - PRETRAIN) // PER_EPISODE
    assert whole[-1]["env_steps"] == 8 * practised
    assert whole != inline  # weights that are older act in practice


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_goes_on_to_the_same_losses(tmp_path, whole):
    program = (
        "import pathlib, test_workers, toy_world; "
        f"test_workers.begin(pathlib.Path({str(tmp_path)!r}), 2, toy_world.Slow).run()"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path})
    later = PRETRAIN + 2 * PER_EPISODE  # there is a checkpoint of the turn before, with episodes under way
    wait_until(lambda: any(row["update"] >= later for row in metrics(tmp_path)), process)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(runs(pid) for pid in workers))
    resumed = begin(tmp_path, 2)
    assert PRETRAIN < resumed.progress.update < UPDATES and len(RunFolder(tmp_path).begun_practice()) == 2
    resumed.run()
    assert metrics(tmp_path) == whole
    assert len(list((tmp_path / "practice").glob("*.npz"))) == (UPDATES - PRETRAIN) // PER_EPISODE


def wait_until(true: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + 120.0
    while not true():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether the process is there and more than an entry that nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]


def test_an_episode_that_always_fails_is_one_clear_error(tmp_path):
    seed = practice_seed(config(1), 0)
    trainer = begin(tmp_path / "run", 1, functools.partial(Faulty, {seed: ["raises", "killed", "raises"]}, tmp_path))
    wanted = (
        rf"episode 0 of \S+ \(seed {seed}\) failed 3 times .*ValueError: the valve came off \(\S+\.py, line \d+, in "
    )
    with pytest.raises(RuntimeError, match=wanted + ".*same command again"):
        trainer.run()
    assert not multiprocessing.active_children()
    assert not list((tmp_path / "run").rglob("*.npz"))


def test_ctrl_c_is_not_for_workers(tmp_path):
    trainer = begin(tmp_path, 1)
    while trainer.progress.episodes < 2:
        trainer.advance()
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGINT)
    trainer.advance()
    trainer.advance()
    assert [child.pid for child in multiprocessing.active_children()] == [worker.pid]
    trainer.stop()
    trainer.run()
    assert sorted(RunFolder(tmp_path).begun_practice()) == [4, 5]
    assert not multiprocessing.active_children()


def test_workers_that_cannot_be_had_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"train\.workers=1 needs `make_env`"):
        Trainer(config(1), demos(), Dot(), tmp_path)
    with pytest.raises(ValueError, match="train.workers cannot be -1"):
        begin(tmp_path, -1)
