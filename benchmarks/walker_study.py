"""Walker walk from ten demonstrations made by others: the learning curve of a run beside cloning from pixels.

    vmail import DIR/*.npz --period 0.05 --task walker_walk --out runs/walker_demos
    vmail train fast/walker_cpu --demos runs/walker_demos --out runs/walker
    python benchmarks/walker_study.py [--run runs/walker] [--seeds 0 1 2] [--threads 1]

Scores the run's last checkpoint over ten starts, clones the same demonstrations with each seed (once; a later call only
adds to the run), and writes results/walker_walk.json, .md and .png. About an hour with three seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from study_file import StudyFile

from vmail.demo.settings import ROOT
from vmail.runs import evaluations
from vmail.train import deployed_policy
from vmail_core.episodes import Episode, load_episodes
from vmail_core.episodes.frames import at_size
from vmail_core.learners.bc import CloningConfig, clone_pixels
from vmail_core.learners.config import Config
from vmail_core.learners.evaluate import TEST_SEED, evaluate
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.scores import expert_score
from vmail_core.provenance import git_commit, machine
from vmail_sim.visual import VisualTask

STARTS = 10
SCORE = "return"
ACTION_REPEAT = 2  # frames of the simulator that one step of practice takes
CLONING = CloningConfig(updates=20_000)  # scored best of what was tried: 3000 and 64 px come to less


def environment(config: Config, image_size: int) -> VisualTask:
    """The run's task with pictures of this size."""
    return VisualTask(config.task, image_size, **config.task_options)


def clone(demos: list[Episode], config: Config, seed: int) -> dict[str, Any]:
    """Pixel cloning at its best, and its returns."""
    cloning, began = dataclasses.replace(CLONING, seed=seed), time.monotonic()
    policy = clone_pixels([at_size(demo, cloning.image_size) for demo in demos], cloning)
    minutes = (time.monotonic() - began) / 60.0
    scores = evaluate(policy, environment(config, cloning.image_size), STARTS, TEST_SEED)
    return {"scores": scores[SCORE], "minutes": minutes, "updates": cloning.updates}


def score_run(folder: RunFolder) -> dict[str, Any]:
    """The last checkpoint's returns and the run's curve: update, steps of practice, minutes of learning, return."""
    config = folder.config()
    env = environment(config, config.model.image_size)
    scores = evaluate(deployed_policy(folder, env), env, STARTS, TEST_SEED)
    state, curve = folder.state(), evaluations(folder)
    axes = (curve.axes["update"], curve.axes["env_steps"], curve.axes["minutes"], curve.values)
    return {
        "scores": scores[SCORE],
        "curve": [list(point) for point in zip(*(axis.tolist() for axis in axes)) if point[0] <= state["update"]],
        "updates": state["update"],
        "env_steps": state["env_steps"],
        "minutes": state["seconds"] / 60.0,
        "config": dataclasses.asdict(config),
        "trained_at": folder.facts()["commit"],
    }


def render(path: Path, study: dict[str, Any]) -> None:
    """Markdown and picture beside the study's file."""
    expert = study["expert"]
    lines = [
        "# walker_walk from ten demonstrations made by others",
        "",
        f"Made by `python benchmarks/walker_study.py`; mean and least return of {STARTS} starts, the demonstrations' "
        f"mean is {expert:.1f}. Frames are the simulator's: {ACTION_REPEAT} a step of practice.",
        f"Machines: {'; '.join(sorted({run['machine'] for run in study['runs']}))}.",
        "",
        "| method | seed | updates | frames | minutes of learning | return | least | of the expert | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in study["runs"]:
        mean, frames = float(np.mean(run["scores"])), ACTION_REPEAT * run.get("env_steps", 0)
        lines.append(
            f"| {run['method']} | {run['seed']} | {run['updates']} | {frames:.0f} | {run['minutes']:.0f} | "
            f"{mean:.1f} | {min(run['scores']):.1f} | {mean / expert:.0%} | {run.get('trained_at', run['commit'])} |"
        )
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    draw(path.with_suffix(".png"), study)


def draw(path: Path, study: dict[str, Any]) -> None:
    """Return over frames of practice, with cloning and the demonstrations as lines."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    plot = figure.add_subplot()
    for run in study["runs"]:
        if "curve" in run:
            curve = np.array(run["curve"])
            label = f"V-MAIL, seed {run['seed']}: {run['updates']:.0f} updates, {run['minutes']:.0f} min"
            plot.plot(ACTION_REPEAT * curve[:, 1], curve[:, 3], marker="o", markersize=3, label=label)
    cloned = [float(np.mean(run["scores"])) for run in study["runs"] if run["method"] == "pixel_cloning"]
    if cloned:
        plot.axhline(float(np.mean(cloned)), color="tab:red", label=f"cloning from pixels, {len(cloned)} seeds")
        plot.axhspan(min(cloned), max(cloned), color="tab:red", alpha=0.2, linewidth=0)
    plot.axhline(study["expert"], color="black", linestyle="--", label="demonstrations")
    plot.set_xlabel("frames of practice")
    plot.set_ylabel(f"return, mean of starts\n({study['runs'][-1]['machine'].split(',')[0]})")
    plot.set_ylim(0, 1000)
    plot.grid(alpha=0.3)
    plot.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Clone what is not cloned yet, then score the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "walker", help="folder of a V-MAIL run")
    parser.add_argument("--demos", type=Path, default=ROOT / "runs" / "walker_demos", help="its demonstrations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of pixel cloning [0 1 2]")
    parser.add_argument("--threads", type=int, default=1, help="of cloning, which gains little from more [1]")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "walker_walk.json", help="JSON file of results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder, demos = RunFolder(arguments.run), load_episodes(arguments.demos)
    config, expert = folder.config(), expert_score(demos, SCORE)
    if expert is None:
        raise ValueError(f"{arguments.demos}: not all demonstrations tell their return")
    study, commit = StudyFile(arguments.out, {"expert": expert, "first_seed": TEST_SEED}, render), git_commit()
    study.require({"first_seed": TEST_SEED})
    for seed in arguments.seeds:
        if not study.find({"method": "pixel_cloning", "seed": seed}):
            print(f"pixel cloning, seed {seed}", flush=True)
            made = clone(demos, config, seed)
            study.add({"method": "pixel_cloning", "seed": seed, **made, "commit": commit, "machine": machine()})
    print(f"scoring {arguments.run}", flush=True)
    key, made = {"method": "vmail", "seed": config.train.seed}, score_run(folder)

    def replace(content: dict[str, Any]) -> None:
        content["runs"] = [run for run in content["runs"] if {name: run[name] for name in key} != key]
        content["runs"].append({**key, **made, "commit": commit, "machine": machine()})

    study.change(replace)
    print(arguments.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
