"""`vmail train` and `vmail eval`: from episodes to a trained run, and how well it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

INTERRUPTED = 130


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    training = commands.add_parser(
        "train", help="learn from demonstrations; the same command goes on with a run that was stopped"
    )
    training.add_argument("preset", nargs="?", default="fast/dclaw_cpu", help="preset or YAML file [fast/dclaw_cpu]")
    training.add_argument("--demos", type=Path, required=True, metavar="DIR", help="episodes that `vmail import` wrote")
    training.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    training.add_argument("--minutes", type=float, metavar="M", help="stop after so much learning [the preset's]")
    training.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="replace a setting of the preset, for example train.seed=1; as often as needed",
    )
    training.set_defaults(run=train)
    scoring = commands.add_parser("eval", help="score a trained run in the bare simulator, with a video")
    scoring.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a training run")
    scoring.add_argument("--episodes", type=int, default=10, metavar="N", help="starts [10]")
    scoring.add_argument("--kick", default="none", choices=("none", "valve", "claw", "both"), help="disturb [none]")
    scoring.add_argument("--out", type=Path, metavar="DIR", help="folder for scores and video [RUN/evaluation]")
    scoring.set_defaults(run=evaluate)


def parse_settings(words: list[str]) -> dict[str, Any]:
    """`["train.seed=1", ...]` to values as YAML reads them.

    Raises:
        ValueError: a word of another form.
    """
    import yaml

    settings = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise ValueError(f"--set {word!r}: write NAME=VALUE, for example train.seed=1")
        settings[name] = yaml.safe_load(value)
    return settings


def train(arguments: argparse.Namespace) -> int:
    """Train; 130 when it was interrupted."""
    settings = parse_settings(arguments.settings)
    from vmail.train import train

    result = train(arguments.preset, arguments.demos, arguments.out, settings, arguments.minutes)
    if not result.finished:
        return INTERRUPTED
    print(f"done: {result.run}. Score it with `vmail eval {result.run}`, export it with `vmail export {result.run}`")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate and print a line a start."""
    if arguments.episodes < 1:
        raise ValueError(f"--episodes {arguments.episodes}: at least one is needed")
    from vmail.train import evaluate_run

    out = arguments.out or arguments.run_folder / "evaluation"
    result = evaluate_run(arguments.run_folder, arguments.episodes, out, arguments.kick)
    from vmail_core.learners.scores import in_words

    scores, mean = result["scores"], result["summary"]
    for index, values in enumerate(zip(*scores.values(), strict=True)):
        print(f"start {index:>3}: " + ", ".join(map(in_words, scores, values)))
    print("mean: " + ", ".join(in_words(name, mean[f"eval_{name}"]) for name in scores) + f"; more in {out}")
    return 0
