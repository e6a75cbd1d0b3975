"""Every task, learned for some minutes with the preset that `vmail tasks` names: it must start, and its losses fall.

    python benchmarks/every_task.py [--tasks walker_walk ...] [--minutes 2] [--work runs/every]

Demonstrations come from `vmail expert`, three for each task, learning from `vmail train`, both as anybody would call
them. The score of so short a training says nothing of what a task takes; it is there to be compared with nothing but
itself. The same command goes on where it was stopped. Writes results/every_task.json and .md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from study_file import StudyFile

import vmail_sim
from vmail.commands.simulate import fast_preset
from vmail.demo.settings import ROOT
from vmail_core.episodes import load_episodes
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.scores import expert_score, in_words

DEMONSTRATIONS = 3
LOSS = "model_loss"
SCORES = ("score", "demonstrations")


def call(*words: object) -> None:
    """`vmail WORDS`; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "vmail.cli", *map(str, words)]
    print("vmail", *words, flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def learn(task: str, minutes: float, work: Path) -> dict[str, Any]:
    """Demonstrations and a training of the task, and what became of it."""
    demos, run = work / f"demos_{task}", work / f"run_{task}"
    if not (run / "run.json").exists():
        call("expert", task, "--episodes", DEMONSTRATIONS, "--out", demos)
    preset, settings = fast_preset(task)
    settings = {**settings, "train.minutes": minutes}
    call(
        "train", preset, "--demos", demos, "--out", run, *(f"--set={name}={value}" for name, value in settings.items())
    )
    folder = RunFolder(run)
    lines, facts = folder.metrics(), folder.facts()
    losses, score = [line[LOSS] for line in lines if LOSS in line], facts["main_score"]
    return {
        "task": task,
        "preset": preset,
        "updates": lines[-1]["update"],
        "minutes": lines[-1]["seconds"] / 60.0,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "judged_by": score,
        "score": lines[-1].get(f"eval_{score}"),
        "demonstrations": expert_score(load_episodes(demos), score),
        "commit": facts["commit"],
        "machine": facts["machine"],
    }


def write_table(path: Path, study: dict[str, Any]) -> None:
    """Markdown beside the study's file."""
    lines = [
        "# Every task, for some minutes",
        "",
        "Made by `python benchmarks/every_task.py`: three demonstrations each, one seed. That it starts and learns "
        "without an error is what this shows; scores of so short a training are no results. Minutes are a clock's, on "
        "busy processors, with pauses.",
        f"Commits: {', '.join(sorted({run['commit'] for run in study['runs']}))}.",
        f"Machines: {'; '.join(sorted({run['machine'] for run in study['runs']}))}.",
        "",
        "| task | preset | updates | minutes | model's loss at first | at last | score | demonstrations |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in sorted(study["runs"], key=lambda run: run["task"]):
        scores = ("none yet" if run[key] is None else in_words(run["judged_by"], run[key]) for key in SCORES)
        learned = f"{run['updates']} | {run['minutes']:.1f} | {run['first_loss']:.1f} | {run['last_loss']:.1f}"
        lines.append(f"| {run['task']} | {run['preset']} | {learned} | {' | '.join(scores)} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def main() -> int:
    """Learn what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = vmail_sim.task_names()
    parser.add_argument("--tasks", nargs="+", choices=known, default=known, metavar="TASK")
    parser.add_argument("--minutes", type=float, default=2.0, help="of learning [2]")
    parser.add_argument("--work", type=Path, default=Path("runs/every"), help="folder for demonstrations and runs")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "every_task.json")
    arguments = parser.parse_args()
    study, failed = StudyFile(arguments.out, {}, write_table), []
    for task in arguments.tasks:
        if study.find({"task": task}):
            continue
        try:
            study.add(learn(task, arguments.minutes, arguments.work))
        except subprocess.CalledProcessError:
            failed.append(task)
    print(arguments.out.with_suffix(".md").read_text() if arguments.out.exists() else "nothing was learned")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
