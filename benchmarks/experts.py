"""How good the experts are: ten episodes each, beside zero and random actions.

    python benchmarks/experts.py [--tasks dclaw_valve3_ccw ...] [--episodes 10] [--out results/experts.json]

Starts are those of seeds 300,000 and up, by which no expert was made or tuned; every start counts, also those that
`vmail expert` would leave out. Episodes that the file holds are not played again unless expert or world are others now,
so it may be stopped at any time. An episode of Baoding balls is planned for two minutes and more, the others take
seconds. Writes the JSON file and a table beside it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from study_file import StudyFile

import vmail_sim
from vmail.demo.settings import ROOT
from vmail_core.provenance import git_commit, machine
from vmail_sim.experts import has_expert, load_expert
from vmail_sim.experts.demos import demonstrate, simulator
from vmail_sim.experts.policy import fingerprint
from vmail_sim.visual import VisualTask

FIRST_SEED = 300_000
EXPERT, ZERO, RANDOM = "expert", "zero action", "random actions"
POLICIES = (EXPERT, ZERO, RANDOM)


def play(policy: str, env: VisualTask, seed: int) -> dict[str, float]:
    """The scores of one episode."""
    if policy == EXPERT:
        return dict(demonstrate(load_expert(env.task), env, seed).provenance["score"])
    random = np.random.default_rng(seed)
    env.reset(seed)
    while True:
        action = np.zeros(env.action_size) if policy == ZERO else random.uniform(-1.0, 1.0, env.action_size)
        if env.step(action.astype(np.float32)).last:
            return env.score()


def forget_others(study: dict[str, Any], of: dict[str, Any], made_by: dict[str, Any]) -> None:
    """Leave out runs of the same task and policy that another expert or simulator made."""

    def same(run: dict[str, Any], facts: dict[str, Any]) -> bool:
        return all(run.get(name) == value for name, value in facts.items())

    study["runs"] = [run for run in study["runs"] if not same(run, of) or same(run, made_by)]


def summaries(study: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each task and policy: mean, standard deviation and least of what it is judged by, and the mean return."""
    found = []
    for task, policy in itertools.product(sorted({run["task"] for run in study["runs"]}), POLICIES):
        runs = [run for run in study["runs"] if (run["task"], run["policy"]) == (task, policy)]
        if not runs:
            continue
        name = runs[0]["judged_by"]
        values, returns = (np.array([run["scores"][key] for run in runs]) for key in (name, "return"))
        judged = {"mean": values.mean(), "deviation": values.std(), "least": values.min(), "return": returns.mean()}
        about = {"task": task, "policy": policy, "episodes": len(runs), "judged_by": name}
        found.append({**about, **{key: round(float(value), 6) for key, value in judged.items()}})
    return found


def write_table(path: Path, study: dict[str, Any]) -> None:
    """Markdown beside the study's file: a line for each task and policy."""
    lines = [
        "# Experts",
        "",
        f"Made by `python benchmarks/experts.py`: starts of seeds {FIRST_SEED:,} and up, mean, standard deviation and "
        "least of what the task is judged by, and the return.",
        f"Commits: {', '.join(sorted({run['commit'] for run in study['runs']}))}.",
        f"Machines: {'; '.join(sorted({run['machine'] for run in study['runs']}))}.",
        "",
        "| task | policy | episodes | judged by | mean | deviation | least | return |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in summaries(study):
        judged = " | ".join(f"{found[key]:.2f}" for key in ("mean", "deviation", "least"))
        words = f"{found['task']} | {found['policy']} | {found['episodes']} | {found['judged_by']}"
        lines.append(f"| {words} | {judged} | {found['return']:.1f} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def main() -> int:
    """Play what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [task for task in vmail_sim.task_names() if has_expert(task)]
    parser.add_argument("--tasks", nargs="+", choices=known, default=known, metavar="TASK")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "experts.json")
    arguments = parser.parse_args()
    study = StudyFile(arguments.out, {"first_seed": FIRST_SEED}, write_table)
    study.require({"first_seed": FIRST_SEED})
    for task in arguments.tasks:
        env = VisualTask(task, 64)
        for policy in POLICIES:
            of = {"task": task, "policy": policy}
            made_by = {"simulator": simulator(task), "expert": fingerprint(task) if policy == EXPERT else None}
            study.change(functools.partial(forget_others, of=of, made_by=made_by))
            for seed in range(FIRST_SEED, FIRST_SEED + arguments.episodes):
                key = {**of, **made_by, "seed": seed}
                if study.find(key):
                    continue
                scores = play(policy, env, seed)
                print(f"{task}, {policy}, seed {seed}: {env.main_score} {scores[env.main_score]:.2f}", flush=True)
                study.add(
                    {**key, "judged_by": env.main_score, "scores": scores, "commit": git_commit(), "machine": machine()}
                )
        study.change(lambda known: known.update(summary=summaries(known)))
    print(arguments.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
