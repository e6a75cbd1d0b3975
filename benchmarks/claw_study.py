"""V-MAIL against cloning with ten, three and one demonstrations, without and with kicks, beside the controls.

    python benchmarks/claw_study.py [--updates 8000] [--counts 10 3 1] [--seeds 0 1 2] [--methods vmail ...]
    python benchmarks/claw_study.py --minutes 10 --counts 10 --methods vmail --out results/claw_ten_minutes.json

Every training is a run of its own and every result is written at once, so the study may be stopped at any time: the
same command goes on. Parts of it (--counts, --seeds, --methods) may run side by side, with --threads 1 each; all write
into one file. Trainings end after so many updates, for minutes depend on what else the machine does; or after
--minutes, where just these are asked for and nothing else runs. Writes results/claw_study.json, .csv and .md. This
takes hours: methods x counts x seeds.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lateness import MEANING, late_share
from rich.console import Console
from state_clone import StateExpert, clone_states, expert_episodes
from study_file import StudyFile

from vmail.demo.bare import blind_controls
from vmail.demo.learning import import_takes
from vmail.demo.recording import list_takes
from vmail.demo.settings import PRESET, ROOT, SHIPPED_TAKES, STUDY, TASK
from vmail.demo.study import METHODS
from vmail.runs import evaluations
from vmail.train import deployed_policy, train_config
from vmail_core.episodes import Episode, load_episodes
from vmail_core.episodes.frames import at_size
from vmail_core.learners.bc import CloningConfig, clone_pixels
from vmail_core.learners.collect import ImagePolicy
from vmail_core.learners.config import load_config
from vmail_core.learners.evaluate import TEST_SEED, evaluate
from vmail_core.learners.run_folder import RunFolder
from vmail_core.provenance import git_commit, machine
from vmail_core.robot import load_robot
from vmail_sim.visual import VisualTask

STARTS = 20
KICK = "both"
COLUMNS = tuple("method demos seed minutes updates radians radians_min return kicked kicked_min late".split())
NO_LIMIT = 1_000_000  # updates, where minutes end a training
Maker = Callable[[VisualTask], ImagePolicy]


def scores_of(make: Maker, size: int) -> dict[str, Any]:
    """Radians and return on the same starts, left alone and kicked. `make` gets the environment that it will act in."""
    found = {}
    for name, kick in (("plain", "none"), ("kicked", KICK)):
        env = VisualTask(TASK, size, kick=kick)
        found[name] = evaluate(make(env), env, STARTS, TEST_SEED)
    return found


def train_latent(method: str, demos: list[Episode], seed: int, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """A V-MAIL run, or one that only clones on latents; None when it was interrupted."""
    overrides: dict[str, Any] = {
        "train.seed": seed,
        "train.updates": NO_LIMIT if arguments.minutes else arguments.updates,
        "train.minutes": arguments.minutes,
    }
    if arguments.threads:
        overrides |= {"train.threads": arguments.threads, "train.overlap": False}
    if method == "latent_cloning":
        overrides["policy.imitation"] = 0.0
    config = load_config(arguments.preset, overrides)
    path = arguments.work / f"{method}-{len(demos)}-{seed}"
    result = train_config(config, demos, path, Console())
    if not result.finished:
        return None
    made = scores_of(lambda env: deployed_policy(RunFolder(path), env), config.model.image_size)
    progress = result.progress
    return {
        **made,
        "minutes": progress.seconds / 60.0,
        "updates": progress.update,
        "env_steps": progress.env_steps,
        "evaluations": evaluations(RunFolder(path)).values.tolist(),
        "config": dataclasses.asdict(config),
        "commit": RunFolder(path).facts()["commit"],  # which began it, perhaps long ago
    }


def train_pixels(demos: list[Episode], seed: int) -> dict[str, Any]:
    """Pixel cloning. It has its own number of updates: longer training does not help it."""
    config, began = CloningConfig(seed=seed), time.monotonic()
    policy = clone_pixels([at_size(demo, config.image_size) for demo in demos], config)
    minutes = (time.monotonic() - began) / 60.0
    made = scores_of(lambda env: policy, config.image_size)
    return {**made, "minutes": minutes, "updates": config.updates, "env_steps": 0, "config": dataclasses.asdict(config)}


def controls() -> dict[str, Any]:
    """Expert, clone from the full state, and policies that do not look."""
    makers: dict[str, Maker] = {
        "expert": lambda env: StateExpert(env, TASK),
        "full-state clone": clone_states(expert_episodes(TASK, 10), seed=0),
    }
    robot = load_robot("dclaw")
    for name in blind_controls(robot):
        makers[name] = lambda env, name=name: blind_controls(robot)[name]  # type: ignore[misc]
    return {name: scores_of(make, 64) for name, make in makers.items()}


def write_tables(path: Path, study: dict[str, Any]) -> None:
    """CSV and Markdown beside the study's file."""
    runs = sorted(study["runs"], key=lambda run: (METHODS.index(run["method"]), -run["demos"], run["seed"]))
    rows = [table_row(run) for run in runs]
    rows += [table_row({"method": name, **scores}) for name, scores in study["controls"].items()]
    with path.with_suffix(".csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    path.with_suffix(".md").write_text(markdown(study, rows))


def table_row(run: dict[str, Any]) -> list[str]:
    """One line of the tables, by COLUMNS."""
    radians, kicked = run["plain"]["radians"], run["kicked"]["radians"]
    minutes = f"{run['minutes']:.0f}" if "minutes" in run else ""
    numbers = (np.mean(radians), min(radians), np.mean(run["plain"]["return"]), np.mean(kicked), min(kicked))
    known = [str(run.get(key, "")) for key in ("method", "demos", "seed")]
    found = [f"{number:.2f}" for number in numbers]
    return [*known, minutes, str(run.get("updates", "")), *found, late_share([run.get("evaluations", [])])]


def markdown(study: dict[str, Any], rows: list[list[str]]) -> str:
    """The table with where it comes from."""
    runs = study["runs"]
    lines = [
        f"# {TASK}: radians turned in 80 steps, mean and least of {STARTS} wide starts",
        "",
        "Made by `python benchmarks/claw_study.py` in the bare simulator.",
        "Kicked: valve and claw are disturbed once in mid-episode.",
        MEANING,
        f"Commits: {', '.join(sorted({run['commit'] for run in runs})) or '-'}.",
        f"Machines: {'; '.join(sorted({run['machine'] for run in runs})) or '-'}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the part of the grid that was asked for and is not done; 130 when interrupted."""
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    episodes = arguments.work / "episodes"
    if not episodes.is_dir():
        import_takes(list_takes(arguments.takes), episodes, load_robot("dclaw"), Console())
    demos, starts = load_episodes(episodes), {"first_seed": TEST_SEED, "count": STARTS, "kick": KICK}
    results = StudyFile(arguments.out, {"task": TASK, "starts": starts, "controls": {}}, write_tables)
    results.require({"starts": starts})
    if not results.read()["controls"]:
        print("controls", flush=True)
        measured = controls()
        results.change(lambda study: study.update(controls=measured))
    commit = git_commit()
    for count in arguments.counts:
        for seed in arguments.seeds:
            for method in arguments.methods:
                key = {"method": method, "demos": count, "seed": seed}
                if method != "pixel_cloning":
                    minutes, updates = arguments.minutes, arguments.updates
                    key |= {"minutes_allowed": minutes} if minutes else {"updates": updates}
                if results.find(key):
                    continue
                print(", ".join(f"{name} {value}" for name, value in key.items()), flush=True)
                made: dict[str, Any] | None
                if method == "pixel_cloning":
                    made = train_pixels(demos[:count], seed)
                else:
                    made = train_latent(method, demos[:count], seed, arguments)
                if made is None:
                    return 130
                results.add({**key, "preset": arguments.preset, "commit": commit, "machine": machine(), **made})
    print(results.path.with_suffix(".md").read_text())
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=8000, help="of each training [8000]")
    parser.add_argument("--minutes", type=float, help="of each training, instead of --updates")
    parser.add_argument("--threads", type=int, help="of controls, and all that trainings take [all, the preset's]")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 3, 1], help="demonstrations [10 3 1]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the learners [0 1 2]")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--preset", default=PRESET)
    parser.add_argument("--takes", type=Path, default=SHIPPED_TAKES, help="folder of recorded takes")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "claw_study", help="folder of the runs")
    parser.add_argument("--out", type=Path, default=STUDY, help="JSON file of the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
