"""What choices of a preset are worth: the preset, and the preset with a choice changed, over seeds.

    python benchmarks/ablation_study.py [--task claw] [--variants base no_joints ...] [--seeds 0 1 2] [--threads 1]

Every training is a run of its own and every result is written at once, so the study may be stopped at any time: the
same command goes on. Parts of it (--variants, --seeds) may run side by side; all write into one file. The claw's
demonstrations are those that `claw_study.py` imports, the walker's as for `walker_study.py`. Writes
results/ablations_TASK.json and .md. This takes variants x seeds x the time of one training: a minute on the winding
road, a quarter of an hour and more for the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import winding_road
from lateness import MEANING, late_share
from rich.console import Console
from study_file import StudyFile

from vmail.demo.settings import ROOT
from vmail.train import deployed_policy, train_config
from vmail_core.episodes import Episode, load_episodes
from vmail_core.learners.collect import VisualEnv
from vmail_core.learners.config import Config, load_config
from vmail_core.learners.evaluate import TEST_SEED, evaluate
from vmail_core.learners.run_folder import RunFolder
from vmail_core.provenance import machine
from vmail_sim.visual import VisualTask

BASE = "base"


def simulator(config: Config) -> VisualTask:
    """Of the config's task."""
    return VisualTask(config.task, config.model.image_size, **config.task_options)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained: a preset, for how many updates, on how many demonstrations, scored over how many starts."""

    preset: str | Path
    demos: Callable[[], list[Episode]]
    count: int
    updates: int
    starts: int
    make_env: Callable[[Config], VisualEnv] = simulator


TASKS = {
    # Three: with ten, cloning alone comes nearly as far, and choices do not show.
    "claw": Task("fast/dclaw_cpu", lambda: load_episodes(ROOT / "runs" / "claw_study" / "episodes"), 3, 8000, 40),
    "walker": Task("fast/walker_cpu", lambda: load_episodes(ROOT / "runs" / "walker_demos"), 10, 8000, 10),
    "road": Task(
        winding_road.PRESET,
        lambda: winding_road.demonstrations(3),
        3,
        500,
        40,
        lambda config: winding_road.WindingRoad(),
    ),
}
TIMES = ("train.updates_per_episode", "model.pixel_scale")  # variants give these as multiples of the preset's
VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "no_joints": {"model.joint_scale": 0.0},
    "no_kl_balance": {"model.kl_balance": None},
    "free_nats_0": {"model.free_nats": 0.0},
    "free_nats_3": {"model.free_nats": 3.0},
    "quarter_pixel_scale": {"model.pixel_scale": 0.25},
    "pictures_64": {"model.image_size": 64, "model.pixel_scale": 0.25},
    "depth_16": {"model.depth": 16},
    "decode_eighth": {"model.decode_fraction": 0.125},
    "decode_all": {"model.decode_fraction": 1.0},
    "categorical": {"model.stoch": 16, "model.classes": 16},
    "layernorm": {"model.norm": True, "discriminator.norm": True, "policy.norm": True},
    "reward_log_d": {"policy.reward": "log_d"},
    "reward_d": {"policy.reward": "d"},
    "penalty_parameters": {"discriminator.penalty": "parameters", "discriminator.penalty_weight": 1.0},
    "no_penalty": {"discriminator.penalty": "none"},
    "no_return_range": {"policy.normalise": False},
    "no_bootstrap": {"policy.bootstrap": False, "policy.self_imitation": 0.0},
    "horizon_4": {"policy.horizon": 4},
    "horizon_8": {"policy.horizon": 8},
    "horizon_15": {"policy.horizon": 15, "policy.imagine_from": 96},
    "imitation_0.3": {"policy.imitation": 0.3},
    "imitation_1": {"policy.imitation": 1.0},
    "no_self_imitation": {"policy.self_imitation": 0.0},
    "self_imitation": {"policy.self_imitation": 0.5},
    # Without Eq. 8 there is no D either, so no self-imitation and no exploration where D finds practice unlike.
    "cloning_alone": {"policy.imitation": 0.0},
    "no_eq8": {"policy.imitation": 1e-9},  # D, critic and what goes by them learn on; only Eq. 8 itself counts nothing
    "no_cloning": {"policy.cloning": 0.0, "policy.warm_start": 0, "policy.self_imitation": 0.0},
    "no_cloning_but_entropy": {
        "policy.cloning": 0.0,
        "policy.warm_start": 0,
        "policy.self_imitation": 0.0,
        "policy.entropy": 0.01,
    },
    "entropy": {"policy.entropy": 0.01},
    "no_cloning_noise": {"policy.cloning_noise": 0.0},
    "demos_uniform": {"train.demo_fraction": None},
    "no_starts": {"train.from_start": 0.0},
    "last_weights": {"train.average": 0.0},
    "cooldown": {"train.cooldown": 0.4},
    "no_cooldown": {"train.cooldown": 0.0},
    "half_practice": {"train.updates_per_episode": 2.0},
    "twice_practice": {"train.updates_per_episode": 0.5},
    "exploration_0.3": {"policy.exploration": 0.3},
    "lost_exploration": {"policy.lost_exploration": 0.3},
    "no_lost_exploration": {"policy.lost_exploration": 0.0},
}


def config_of(task: Task, variant: str, seed: int, threads: int) -> Config:
    """The preset with the variant's choices."""
    changed, preset = dict(VARIANTS[variant]), load_config(task.preset)
    for name in set(TIMES) & set(changed):
        section, field = name.split(".")
        present = getattr(getattr(preset, section), field)
        changed[name] = type(present)(changed[name] * present)
    # Parts of the study run side by side: no training takes more cores than it was given.
    run = {"train.seed": seed, "train.updates": task.updates, "train.threads": threads, "train.overlap": False}
    return load_config(task.preset, run | changed)


def train_variant(task: Task, config: Config, folder: Path) -> dict[str, Any] | None:
    """One training and its scores; None when it was interrupted."""
    make_env = functools.partial(task.make_env, config)
    result = train_config(config, task.demos()[: task.count], folder, Console(), make_env)
    if not result.finished:
        return None
    env = make_env()
    run = RunFolder(folder)
    scores = evaluate(deployed_policy(run, env), env, task.starts, TEST_SEED)
    name = f"eval_{env.main_score}"
    return {
        "score": env.main_score,
        "scores": scores[env.main_score],
        "evaluations": [[row["update"], row[name]] for row in run.metrics() if name in row],
        "minutes": result.progress.seconds / 60.0,
        "updates": result.progress.update,
        "env_steps": result.progress.env_steps,
        "config": dataclasses.asdict(config),
        "commit": run.facts()["commit"],
    }


def write_table(path: Path, study: dict[str, Any]) -> None:
    """Markdown beside the study's file: a line a variant, the base first, then from best to worst."""
    groups: dict[str, list[float]] = {}
    for run in study["runs"]:
        groups.setdefault(run["variant"], []).append(float(np.mean(run["scores"])))
    base = groups.get(BASE, [np.nan])
    digits = 2 if abs(np.mean(base)) <= 1.0 else 1  # a share needs more
    order = sorted(groups, key=lambda name: (name != BASE, -np.mean(groups[name])))
    unit = next(iter(study["runs"]))["score"]
    lines = [
        f"# {study['task']}: what choices are worth",
        "",
        f"Made by `python benchmarks/ablation_study.py --task {study['task']}`: {study['preset']}, {study['demos']} "
        f"demonstrations, {study['updates']} updates, mean of {study['starts']} starts, with the lowest and highest "
        "seed. A line of one seed is a lead.",
        f"Apart: several seeds, and all score below every seed of {BASE}, or all above; chance alone does that in one "
        "of so many cases.",
        MEANING,
        f"Commits: {', '.join(sorted({run['commit'] for run in study['runs']}))}.",
        f"Machines: {'; '.join(sorted({run['machine'] for run in study['runs']}))}.",
        "",
        f"| choice | seeds | {unit} | against {BASE} | apart | late | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in order:
        runs, means = [run for run in study["runs"] if run["variant"] == name], groups[name]
        late = late_share([[value for _, value in run["evaluations"]] for run in runs])
        minutes = np.mean([run["minutes"] for run in runs])
        spread = f"{np.mean(means):.{digits}f} ({min(means):.{digits}f} to {max(means):.{digits}f})"
        against = f"{np.mean(means) - np.mean(base):+.{digits}f}"
        several = name != BASE and len(means) > 1 and len(base) > 1
        by_chance = math.comb(len(means) + len(base), len(base)) // 2
        apart = f"1 in {by_chance}" if several and (max(means) < min(base) or min(means) > max(base)) else ""
        lines.append(f"| {name} | {len(means)} | {spread} | {against} | {apart} | {late} | {minutes:.{digits - 1}f} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def main() -> int:
    """Run the part of the grid that was asked for and is not done; 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="claw")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the learners [0 1 2]")
    parser.add_argument("--threads", type=int, default=1, help="of each training [1]")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "ablations", help="folder of the runs")
    parser.add_argument("--out", type=Path, help="JSON file of the results [results/ablations_TASK.json]")
    arguments = parser.parse_args()
    task, out = TASKS[arguments.task], arguments.out or ROOT / "results" / f"ablations_{arguments.task}.json"
    facts = {
        "preset": task.preset if isinstance(task.preset, str) else task.preset.relative_to(ROOT).as_posix(),
        "demos": task.count,
        "updates": task.updates,
        "starts": task.starts,
        "first_seed": TEST_SEED,
    }
    study = StudyFile(out, {"task": arguments.task, **facts}, write_table)
    study.require(facts)
    for seed in arguments.seeds:
        for variant in arguments.variants:
            config = config_of(task, variant, seed, arguments.threads)
            if study.find({"variant": variant, "seed": seed, "updates": task.updates}):
                continue
            if variant != BASE and config == config_of(task, BASE, seed, arguments.threads):
                print(f"{arguments.task}, {variant}: nothing else than {BASE}", flush=True)
                continue
            print(f"{arguments.task}, {variant}, seed {seed}", flush=True)
            made = train_variant(task, config, arguments.work / arguments.task / f"{variant}-{seed}")
            if made is None:
                return 130
            study.add({"variant": variant, "seed": seed, "machine": machine(), **made})
    print(out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
