"""Updates a second with practice included: the learner collects in between, or workers collect while it learns.

    python benchmarks/collect.py [--presets fast/dclaw_cpu fast/walker_cpu] [--workers 0 1 2] [--threads 1]
                                 [--overlap 0 1] [--turns 2]

With --overlap 1, policy and D learn beside the model (train.overlap).
A turn is an episode and the updates that follow it. The first one starts the workers and waits for a whole episode,
which a run does once; the rates leave it out. Each measurement is a process of its own, as `vmail train` sets it up.
Demonstrations are noise: how long an update takes does not depend on what is in them.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.learners.config import Config, load_config
from vmail_core.learners.memory import keep_freed_memory
from vmail_core.learners.train import Trainer
from vmail_sim.visual import VisualTask


def settings(preset: str, workers: int, threads: int, overlap: bool) -> Config:
    """The preset in full swing from the first update on: no warm start, no evaluation, no end."""
    changes = {"train.workers": workers, "train.threads": threads, "train.overlap": overlap}
    changes |= {"train.pretrain_updates": 0}
    changes |= {"policy.warm_start": 0, "policy.ramp": 0, "train.updates": 10**9, "train.eval_every": 10**9}
    return load_config(preset, changes)


def noise(config: Config, action_size: int) -> Episode:
    """Something of a demonstration's form."""
    rng, rows, size = np.random.default_rng(0), 2 * config.train.length, config.model.image_size
    action = rng.uniform(-1, 1, (rows, action_size)).astype(np.float32)
    action[0] = 0.0
    image = rng.integers(0, 256, (rows, size, size, 3), np.uint8)
    return Episode(image, action, np.arange(float(rows)), joint_positions=action.copy())


def measure(preset: str, workers: int, threads: int, overlap: bool, turns: int) -> dict[str, float]:
    """Seconds of the first turn, and of the `turns` after it: all, and those spent on or waiting for practice."""
    keep_freed_memory()
    config = settings(preset, workers, threads, overlap)
    make_env = functools.partial(VisualTask, config.task, config.model.image_size, **config.task_options)
    env = make_env()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, [noise(config, env.action_size)], env, Path(folder) / "run", make_env=make_env)
        collect, spent = trainer.collector.collect, [0.0]

        def timed(index: int) -> Episode:
            began = time.perf_counter()
            episode = collect(index)
            spent[0] += time.perf_counter() - began
            return episode

        trainer.collector.collect = timed  # type: ignore[method-assign]
        try:
            began = time.perf_counter()
            trainer.advance()
            first, updates, spent[0] = time.perf_counter() - began, trainer.progress.update, 0.0
            for _ in range(turns):
                trainer.advance()
            wall = time.perf_counter() - began - first
        finally:
            trainer.collector.close()
            trainer.folder.close()
        return {"first": first, "wall": wall, "practice": spent[0], "updates": trainer.progress.update - updates}


def main() -> None:
    """A line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["fast/dclaw_cpu", "fast/walker_cpu"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="of torch, in the learner [1]")
    parser.add_argument("--overlap", nargs="+", type=int, choices=(0, 1), default=[0, 1], help="[0 1]")
    parser.add_argument("--turns", type=int, default=2, help="that are timed [2]")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        (preset,), (workers,), (threads,) = arguments.presets, arguments.workers, arguments.threads
        print(json.dumps(measure(preset, workers, threads, bool(arguments.overlap[0]), arguments.turns)))
        return
    print(f"{'preset':<18} {'threads':>7} {'workers':>7} {'overlap':>7} {'first turn s':>12} {'wall s':>8}", end="")
    print(f" {'practice s':>10} {'updates/s':>9} {'ratio':>6}")
    for preset in arguments.presets:
        rates: list[float] = []
        for setting in itertools.product(arguments.threads, arguments.workers, arguments.overlap):
            threads, workers, overlap = map(str, setting)
            command = [sys.executable, __file__, "--one", "--presets", preset, "--turns", str(arguments.turns)]
            command += ["--workers", workers, "--threads", threads, "--overlap", overlap]
            environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
            result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            found = json.loads(result.stdout)
            rates.append(found["updates"] / found["wall"])
            print(f"{preset:<18} {threads:>7} {workers:>7} {overlap:>7} {found['first']:>12.1f}", end="")
            print(f" {found['wall']:>8.1f} {found['practice']:>10.1f} {rates[-1]:>9.2f}", end="")
            print(f" {rates[-1] / rates[0]:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
