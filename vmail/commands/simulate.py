"""`vmail tasks` and `vmail expert`: the simulator without ROS."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from vmail.commands.learn import MOST_SEED, add_settings, parse_settings

# By the beginning of a task's name: the preset for two cores, and what differs from it beside the task.
FAST_PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "baoding": ("fast/baoding_cpu", {}),
    "car_racing": ("fast/car_racing_cpu", {}),
    "cheetah": ("fast/walker_cpu", {"task_options.look": "plain"}),  # that of demonstrations made here
    "dclaw": ("fast/dclaw_cpu", {}),
    "walker": ("fast/walker_cpu", {"task_options.look": "plain"}),
}


def fast_preset(task: str) -> tuple[str, dict[str, Any]]:
    """The preset with which the task is learned on two cores, and the settings that are not the preset's."""
    from vmail_core.learners.config import load_config

    preset, settings = next(known for family, known in FAST_PRESETS.items() if task.startswith(family))
    return preset, settings if load_config(preset).task == task else {"task": task, **settings}


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    listing = commands.add_parser("tasks", help="list the simulated tasks")
    listing.add_argument("--gallery", type=Path, metavar="DIR", help="write a page that shows them: DIR/index.html")
    listing.add_argument("--task", nargs="+", metavar="TASK", help="only these [all]")
    listing.add_argument("--again", action="store_true", help="show anew what DIR shows already")
    listing.set_defaults(run=tasks)
    showing = commands.add_parser("expert", help="record a shipped expert in the bare simulator, straight to episodes")
    showing.add_argument("task", metavar="TASK", help="one of `vmail tasks`")
    showing.add_argument("--episodes", type=int, default=10, metavar="N", help="how many [10]")
    showing.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    showing.add_argument("--seed", type=int, default=0, help="start of the first episode; the next is one higher [0]")
    showing.add_argument("--image-size", type=int, default=64, metavar="PIXELS", help="side of the frames [64]")
    showing.add_argument("--workers", type=int, metavar="N", help="processes that play [one for each core]")
    add_settings(showing, "an option of the task, as task_options.NAME in training: look=random")
    showing.set_defaults(run=expert)


def tasks(arguments: argparse.Namespace) -> int:
    """Print every task, whether an expert ships for it, and how to learn from its episodes; or write their gallery."""
    from vmail_sim import task_names
    from vmail_sim.experts import has_expert

    chosen = arguments.task or task_names()
    for name in chosen:
        _require_task(name)
    if arguments.gallery is not None:
        from rich.console import Console

        from vmail.gallery import write_gallery

        print(write_gallery(chosen, arguments.gallery, arguments.again, Console()))
        return 0
    for name in chosen:
        preset, settings = fast_preset(name)
        words = " ".join([preset, *(f"--set {key}={value}" for key, value in settings.items())])
        print(f"{name:<18}{'expert ships' if has_expert(name) else 'no expert':<14}vmail train {words}")
    return 0


def expert(arguments: argparse.Namespace) -> int:
    """Record demonstrations and print their scores."""
    from vmail_core.learners.scores import in_words
    from vmail_sim.experts.recording import LEAST_SCORE, record_demonstrations

    task = arguments.task
    _require_task(task)
    if arguments.episodes < 1:
        raise ValueError(f"--episodes {arguments.episodes}: at least one is needed")
    if not 8 <= arguments.image_size <= 4096:
        raise ValueError(f"--image-size {arguments.image_size} is not between 8 and 4096 pixels")
    if not 0 <= arguments.seed < MOST_SEED - arguments.episodes:
        raise ValueError(f"--seed {arguments.seed} is not between 0 and {MOST_SEED - arguments.episodes}")
    workers = len(os.sched_getaffinity(0)) if arguments.workers is None else arguments.workers
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least one must play")

    def tell(start: int, score: dict[str, float], kept: bool) -> None:
        words = ", ".join(map(in_words, score, score.values()))
        if not kept:
            words += "; left out"
        print(f"seed {start}: {words}", flush=True)

    options = parse_settings(arguments.settings)
    print(f"a demonstration has {LEAST_SCORE[task]}" if task in LEAST_SCORE else "every episode is a demonstration")
    found = record_demonstrations(
        task, arguments.episodes, arguments.out, arguments.seed, arguments.image_size, workers, tell, options
    )
    scores = list(found.kept.values())
    words = ", ".join(in_words(name, sum(score[name] for score in scores) / len(scores)) for name in scores[0])
    left_out = f"; {len(found.left_out)} were left out" if found.left_out else ""
    print(f"{len(scores)} episodes in {arguments.out}, mean: {words}{left_out}")
    return 0


def _require_task(name: str) -> None:
    from vmail_sim import TASKS, task_names

    if name not in TASKS:
        raise ValueError(f"no task {name!r}; known tasks: {', '.join(task_names())}")
