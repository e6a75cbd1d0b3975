"""`vmail demo`: the whole chain on a simulated D'Claw, ending in a page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

INTERRUPTED = 130


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    demo = commands.add_parser(
        "demo",
        help="learn from recorded demonstrations, run the policy on a simulated D'Claw, and show a page about it",
        description="Imports recorded takes, learns, exports, runs policy and expert through ROS on the simulated twin,"
        " and writes a page. Interrupted, the same command goes on.",
    )
    demo.add_argument(
        "--pretrained", action="store_true", help="run the bundle that ships, under two minutes, instead of learning"
    )
    demo.add_argument("--out", type=Path, metavar="DIR", help="folder of the results [runs/demo, runs/demo-pretrained]")
    demo.add_argument("--record", action="store_true", help="record ten takes through ROS first")
    demo.add_argument(
        "--takes", type=Path, metavar="DIR", help="folder of recorded takes [those that ship; with --record DIR/takes]"
    )
    demo.add_argument("--minutes", type=float, default=12.0, metavar="M", help="time to learn [12]")
    demo.add_argument("--episodes", type=int, metavar="N", help="starts through ROS [10; with --pretrained 3]")
    demo.add_argument("--seed", type=int, default=0, metavar="S", help="of the learner and of the starts [0]")
    demo.add_argument("--until", default="", metavar="STEP", help="stop after this step, for example record or learn")
    demo.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 130 when it was interrupted."""
    from vmail.demo.settings import SHIPPED_TAKES, Settings
    from vmail.up import node_environment

    if arguments.pretrained and (arguments.record or arguments.takes):
        raise ValueError("--pretrained learns nothing: leave out --record and --takes")
    out = arguments.out or Path("runs") / ("demo-pretrained" if arguments.pretrained else "demo")
    settings = Settings(
        out=out,
        pretrained=arguments.pretrained,
        record=arguments.record,
        takes=arguments.takes or (out / "takes" if arguments.record else SHIPPED_TAKES),
        minutes=arguments.minutes,
        episodes=(3 if arguments.pretrained else 10) if arguments.episodes is None else arguments.episodes,
        seed=arguments.seed,
        until=arguments.until,
    )
    os.environ.update(node_environment())  # before anything imports rclpy
    from vmail.demo.run import run_demo

    return 0 if run_demo(settings) else INTERRUPTED
