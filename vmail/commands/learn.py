"""`vmail train`, `eval`, `runs` and `compare`: from episodes to a trained run, how well it does, and beside others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

INTERRUPTED = 130
MOST_SEED = 2**32 - 1  # that simulators take


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    training = commands.add_parser(
        "train", help="learn from demonstrations; the same command goes on with a run that was stopped"
    )
    training.add_argument("preset", nargs="?", default="fast/dclaw_cpu", help="preset or YAML file [fast/dclaw_cpu]")
    training.add_argument("--demos", type=Path, required=True, metavar="DIR", help="episodes that `vmail import` wrote")
    training.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    training.add_argument("--minutes", type=float, metavar="M", help="stop after so much learning [the preset's]")
    add_settings(training, "replace a setting of the preset, for example train.seed=1")
    training.set_defaults(run=train)
    scoring = commands.add_parser("eval", help="score a trained run in the bare simulator, with a video")
    scoring.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a training run")
    scoring.add_argument("--episodes", type=int, default=10, metavar="N", help="starts [10]")
    scoring.add_argument("--kick", default="none", choices=("none", "valve", "claw", "both"), help="disturb [none]")
    scoring.add_argument("--seed", type=int, metavar="N", help="of the first start [200000: none that learning knows]")
    scoring.add_argument("--out", type=Path, metavar="DIR", help="folder for scores and video [RUN/evaluation]")
    scoring.set_defaults(run=evaluate)
    listing = commands.add_parser("runs", help="list training runs: how far each came, and its scores")
    listing.add_argument("folders", nargs="*", type=Path, default=[Path("runs")], metavar="DIR", help="where [runs]")
    listing.set_defaults(run=runs)
    comparing = commands.add_parser("compare", help="draw the learning curves of runs, pooled over their seeds")
    comparing.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="runs, or folders of runs")
    comparing.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".png, .svg or .pdf; a .csv beside it"
    )
    comparing.add_argument(
        "--axis", default="update", choices=("update", "env_steps", "minutes"), help="what to draw over [update]"
    )
    comparing.set_defaults(run=compare)


def add_settings(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--set NAME=VALUE`, whose words `parse_settings` reads from `settings`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help=f"{what}; as often as needed",
    )


def parse_settings(words: list[str]) -> dict[str, Any]:
    """`["train.seed=1", ...]` to values as YAML reads them.

    Raises:
        ValueError: a word of another form, or a value that is not YAML.
    """
    import yaml

    settings = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise ValueError(f"--set {word!r}: write NAME=VALUE, for example train.seed=1")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {word!r}: the value is not YAML ({error})") from error
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
    if arguments.seed is not None and not 0 <= arguments.seed < MOST_SEED - arguments.episodes:
        raise ValueError(f"--seed {arguments.seed} is not between 0 and {MOST_SEED - arguments.episodes}")
    from vmail.train import evaluate_run

    out = arguments.out or arguments.run_folder / "evaluation"
    seed = {} if arguments.seed is None else {"seed": arguments.seed}
    result = evaluate_run(arguments.run_folder, arguments.episodes, out, arguments.kick, **seed)
    from vmail_core.learners.scores import in_words

    scores, mean = result["scores"], result["summary"]
    for index, values in enumerate(zip(*scores.values(), strict=True)):
        print(f"start {index:>3}: " + ", ".join(map(in_words, scores, values)))
    print("mean: " + ", ".join(in_words(name, mean[f"eval_{name}"]) for name in scores) + f"; more in {out}")
    return 0


def runs(arguments: argparse.Namespace) -> int:
    """Print a table of the runs."""
    from rich.console import Console

    from vmail.runs import find_runs, table

    Console(soft_wrap=True, highlight=False).print(table(find_runs(arguments.folders)))
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Draw, and say what was written."""
    from vmail.runs import draw, find_runs, group_runs

    if arguments.out.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out {arguments.out}: the picture is a .png, .svg or .pdf")
    groups = group_runs(find_runs(arguments.folders))
    draw(groups, arguments.axis, arguments.out)
    for group in groups:
        span = f"{group.low[-1]:.1f} to {group.high[-1]:.1f}"
        print(f"{group.label}: last {group.mean[-1]:.1f} ({span}, seeds: {group.seeds})")
    print(f"{arguments.out} and {arguments.out.with_suffix('.csv')}")
    return 0
