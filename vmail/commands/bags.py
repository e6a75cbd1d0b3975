"""`vmail import` and `vmail recover`: recorded takes to episodes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    importing = commands.add_parser("import", help="turn recorded takes (rosbag2) into episodes to learn from")
    importing.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="folder of a rosbag2, one for each take")
    importing.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    importing.add_argument("--robot", default="dclaw", help="robot that was recorded: name or YAML file [dclaw]")
    importing.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the frames [the robot's camera]")
    importing.add_argument("--task", help="name of the task [what the recorder noted]")
    importing.set_defaults(run=import_bags)
    recovering = commands.add_parser("recover", help="save what can be read of a bag that was cut off")
    recovering.add_argument("bag", type=Path, metavar="BAG", help="folder of the broken bag, or its .mcap file")
    recovering.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder of the new, whole bag")
    recovering.set_defaults(run=recover_bag)


def import_bags(arguments: argparse.Namespace) -> int:
    """Import and show the report; 1 when a bag gave no episode."""
    from rich.console import Console

    from vmail_core.episodes.bag_import import import_bags
    from vmail_core.robot import load_robot

    robot = load_robot(arguments.robot)
    report = import_bags(arguments.bags, arguments.out, robot, arguments.image_size, arguments.task)
    Console().print(report.table())
    return 0 if all(bag.episodes for bag in report.bags) else 1


def recover_bag(arguments: argparse.Namespace) -> int:
    """Recover and say what was saved."""
    from vmail_core.episodes.bag_recover import recover_bag

    print(recover_bag(arguments.bag, arguments.out))
    return 0
