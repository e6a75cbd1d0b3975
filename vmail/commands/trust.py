"""`vmail trust`: how far a trained run's imagination may be believed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    trusting = commands.add_parser(
        "trust",
        help="measure how far a run's imagination may be believed, on takes that it did not learn from",
        description="Compares what the model foretells from recorded actions alone, 1 to K steps ahead, with what came,"
        " and writes trust.json and a page.",
    )
    trusting.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a training run")
    trusting.add_argument(
        "--episodes",
        type=Path,
        required=True,
        metavar="DIR",
        help="takes; those that the run learned from are left out",
    )
    trusting.add_argument("--out", type=Path, metavar="DIR", help="folder of the report [RUN/trust]")
    trusting.add_argument("--steps", type=int, metavar="K", help="how far ahead [30, or as the takes allow]")
    trusting.set_defaults(run=trust)


def trust(arguments: argparse.Namespace) -> int:
    """Measure, and print the verdict and where the page is."""
    if arguments.steps is not None and arguments.steps < 1:
        raise ValueError(f"--steps {arguments.steps}: at least one is needed")
    from vmail.trust import trust_report
    from vmail.trust_page import verdict

    out = arguments.out or arguments.run_folder / "trust"
    result = trust_report(arguments.run_folder, arguments.episodes, out, arguments.steps)
    for remark in result["left_out"]:
        print(remark)
    for name in ("pixels", "joints"):
        print(_in_words(result, name))
    print(f"{verdict(result)}; more in {out / 'index.html'}")
    return 0


def _in_words(result: dict[str, Any], name: str) -> str:
    if result[name] is None:
        return f"{name}: not measured, {result['why_no_joints']}"
    curves = result[name]
    chosen = [k for k in (1, 5, 10, 20, 30) if k <= result["steps"]]
    errors = ", ".join(f"{k}: {curves['predicted'][k - 1]:.3g} (it stays {curves['still'][k - 1]:.3g})" for k in chosen)
    return f"{name}, error in {curves['unit']} by steps ahead: {errors}"
