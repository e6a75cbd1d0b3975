"""What each choice of a preset is worth: the preset, and the preset with one choice changed, over seeds.

    python benchmarks/ablation_study.py [--task claw] [--variants base no_joints ...] [--seeds 0 1 2] [--threads 1]

Every training is a run of its own and every result is written at once, so the study may be stopped at any time: the
same command goes on. Parts of it (--variants, --seeds) may run side by side; all write into one file. Writes
results/ablations_TASK.json and .md. This takes hours: variants x seeds x the time of one training.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from study_file import StudyFile

from vmail.demo.settings import ROOT
from vmail.train import train_config
from vmail_core.episodes import load_episodes
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.learners.config import load_config
from vmail_core.learners.evaluate import EVAL_SEED, evaluate
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.vmail import VMAIL
from vmail_core.provenance import git_commit, machine
from vmail_sim.visual import VisualTask

BASE = "base"
LATE = 5  # evaluations that the late mean is taken over


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained: a preset, for how many updates, on which demonstrations, scored over how many starts."""

    preset: str
    demos: Path
    updates: int
    starts: int


TASKS = {
    "claw": Task("fast/dclaw_cpu", ROOT / "runs" / "claw_study" / "episodes", 3000, 20),
    "walker": Task("fast/walker_cpu", ROOT / "runs" / "walker_demos", 20_000, 10),
}
NO_CLONING = {"policy.cloning": 0.0, "policy.warm_start": 0, "policy.self_imitation": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "no joints in the belief": {"model.joint_scale": 0.0},
    "no KL balancing": {"model.kl_balance": None},
    "no free nats": {"model.free_nats": 0.0},
    "free nats 3": {"model.free_nats": 3.0},
    "pixels weigh 1": {"model.pixel_scale": 1.0},
    "all frames decoded": {"model.decode_fraction": 1.0},
    "LayerNorm": {"model.norm": True, "discriminator.norm": True, "policy.norm": True},
    "reward log D": {"policy.reward": "log_d"},
    "reward D": {"policy.reward": "d"},
    "penalty on parameters": {"discriminator.penalty": "parameters", "discriminator.penalty_weight": 1.0},
    "no penalty": {"discriminator.penalty": "none"},
    "no return normalisation": {"policy.normalise": False},
    "no bootstrap": {"policy.bootstrap": False, "policy.self_imitation": 0.0},
    "horizon 10": {"policy.horizon": 10},
    "no self-imitation": {"policy.self_imitation": 0.0},
    "cloning alone": {"policy.imitation": 0.0},
    "no cloning": NO_CLONING,
    "no noise on cloned latents": {"policy.cloning_noise": 0.0},
    "demonstrations uniform": {"train.demo_fraction": None},
    "no chunks from the start": {"train.from_start": 0.0},
    "last weights": {"train.average": 0.0},
    "cooldown": {"train.cooldown": 0.4},
    "half the practice": {"train.updates_per_episode": 20},
    "twice the practice": {"train.updates_per_episode": 5},
    "exploration 0.3": {"policy.exploration": 0.3},
}


def train_variant(task: Task, variant: str, seed: int, folder: Path, threads: int) -> dict[str, Any] | None:
    """One training and its scores; None when it was interrupted."""
    settings = {"train.seed": seed, "train.updates": task.updates, "train.threads": threads}
    config = load_config(task.preset, settings | VARIANTS[variant])
    result = train_config(config, load_episodes(task.demos), folder, Console())
    if not result.finished:
        return None
    env = VisualTask(config.task, config.model.image_size, **config.task_options)
    learner, run = VMAIL(config, env.action_size, env.joint_count), RunFolder(folder)
    run.load_networks(learner)
    scores = evaluate(FilteringPolicy(*learner.deployed), env, task.starts, EVAL_SEED)
    name = f"eval_{env.main_score}"
    return {
        "score": env.main_score,
        "scores": scores[env.main_score],
        "evaluations": [[row["update"], row[name]] for row in run.metrics() if name in row],
        "minutes": result.progress.seconds / 60.0,
        "updates": result.progress.update,
        "env_steps": result.progress.env_steps,
        "config": dataclasses.asdict(config),
    }


def write_table(path: Path, study: dict[str, Any]) -> None:
    """Markdown beside the study's file: a line a variant, the base first, then from best to worst."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in study["runs"]:
        groups.setdefault(run["variant"], []).append(run)
    base = np.mean([np.mean(run["scores"]) for run in groups[BASE]]) if BASE in groups else np.nan
    order = sorted(groups, key=lambda name: (name != BASE, -np.mean([np.mean(run["scores"]) for run in groups[name]])))
    lines = [
        f"# {study['task']}: one choice changed at a time",
        "",
        f"Made by `python benchmarks/ablation_study.py --task {study['task']}`: {study['preset']}, {study['updates']} "
        f"updates, mean of {study['starts']} starts, with the lowest and highest seed. A line of one seed is a lead.",
        f"Late: mean of the last {LATE} evaluations over the best one, lowest seed.",
        f"Commits: {', '.join(sorted({run['commit'] for run in study['runs']}))}.",
        f"Machines: {'; '.join(sorted({run['machine'] for run in study['runs']}))}.",
        "",
        "| choice | seeds | score | against base | late | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name in order:
        means = [float(np.mean(run["scores"])) for run in groups[name]]
        late = min(lateness([value for _, value in run["evaluations"]]) for run in groups[name])
        minutes = np.mean([run["minutes"] for run in groups[name]])
        spread = f"{np.mean(means):.1f} ({min(means):.1f} to {max(means):.1f})"
        lines.append(
            f"| {name} | {len(means)} | {spread} | {np.mean(means) - base:+.1f} | {late:.0%} | {minutes:.0f} |"
        )
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def lateness(evaluations: list[float]) -> float:
    """Mean of the last evaluations as a share of the best one."""
    return float(np.mean(evaluations[-LATE:]) / max(evaluations)) if evaluations else float("nan")


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
    facts = {"preset": task.preset, "updates": task.updates, "starts": task.starts}
    study = StudyFile(out, {"task": arguments.task, **facts}, write_table)
    for seed in arguments.seeds:
        for variant in arguments.variants:
            if study.find({"variant": variant, "seed": seed}):
                continue
            print(f"{arguments.task}, {variant}, seed {seed}", flush=True)
            folder = arguments.work / arguments.task / f"{variant.replace(' ', '_')}-{seed}"
            made = train_variant(task, variant, seed, folder, arguments.threads)
            if made is None:
                return 130
            study.add({"variant": variant, "seed": seed, **made, "commit": git_commit(), "machine": machine()})
    print(out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
