"""`vmail takes`: look at recorded takes, film them, trim them, delete them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    takes = commands.add_parser(
        "takes", help="list recorded takes with what is wrong with them; film, trim, delete one"
    )
    takes.add_argument("path", type=Path, metavar="PATH", help="folder of takes, or one of them")
    takes.add_argument("--robot", default="dclaw", metavar="NAME", help="that they were recorded with [dclaw]")
    acts = takes.add_mutually_exclusive_group()
    acts.add_argument("--film", type=Path, metavar="FILE", help="write the take's pictures as .mp4")
    acts.add_argument(
        "--trim",
        type=float,
        nargs=2,
        metavar=("START", "END"),
        help="keep these seconds of the take; the whole one goes to .untrimmed beside it",
    )
    acts.add_argument("--delete", action="store_true", help="delete the take")
    takes.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; 1 when a listed take cannot be used."""
    from vmail.takes import is_take

    if not (arguments.film or arguments.trim or arguments.delete):
        return _list(arguments)
    if not is_take(arguments.path):
        raise ValueError(f"{arguments.path} is not a take: give one of those that `vmail takes DIR` lists")
    if arguments.film:
        if arguments.film.suffix != ".mp4":
            raise ValueError(f"--film {arguments.film}: give a name that ends in .mp4")
        from vmail.takes import film
        from vmail_core.robot import load_robot

        count = film(arguments.path, load_robot(arguments.robot), arguments.film)
        print(f"{count} pictures in {arguments.film}")
    elif arguments.trim:
        from vmail.takes import trim

        start, end = arguments.trim
        if not 0.0 <= start < end:
            raise ValueError(f"--trim {start:g} {end:g}: give two times in seconds, the first one smaller")
        print(trim(arguments.path, start, end))
    else:
        from vmail.takes import strangers
        from vmail_core.episodes.bag_reading import require_ended
        from vmail_nodes.take import delete_take

        require_ended(arguments.path)
        other = strangers(arguments.path)
        if other:
            raise ValueError(f"{arguments.path} also holds {', '.join(other)}: move that away, then delete the take")
        delete_take(arguments.path)
        print(f"deleted {arguments.path}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from vmail.takes import find_takes, put_aside, read_take, table
    from vmail_core.robot import load_robot

    robot = load_robot(arguments.robot)
    found = [read_take(path, robot) for path in find_takes(arguments.path)]
    Console(soft_wrap=True, highlight=False).print(table(found))
    for line in put_aside(arguments.path):
        print(line)
    return 0 if all(take.is_usable for take in found) else 1
