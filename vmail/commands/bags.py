"""`vmail import` and `vmail recover`: takes, recorded here or by others, to episodes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

FILES = {".npz": "npz", ".hdf5": "hdf5", ".h5": "hdf5"}
"""Endings of files that others make; everything else is a bag."""


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    importing = commands.add_parser("import", help="turn recorded takes into episodes to learn from")
    importing.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="TAKE",
        help="rosbag2 folder, Dreamer-style .npz or robomimic .hdf5",
    )
    importing.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    importing.add_argument("--robot", default="dclaw", help="robot that was recorded: name or YAML file [dclaw]")
    importing.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the frames [the robot's camera]")
    importing.add_argument("--task", help="name of the task [what the recorder noted]")
    importing.add_argument(
        "--period", type=float, metavar="SECONDS", help="from frame to frame, where files hold no times"
    )
    importing.add_argument("--camera", metavar="NAME", help="which picture of a .hdf5 with several")
    importing.set_defaults(run=import_takes)
    recovering = commands.add_parser("recover", help="save what can be read of a bag that was cut off")
    recovering.add_argument("bag", type=Path, metavar="BAG", help="folder of the broken bag, or its .mcap file")
    recovering.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder of the new, whole bag")
    recovering.set_defaults(run=recover_bag)


def import_takes(arguments: argparse.Namespace) -> int:
    """Import and show the report; 1 when a source gave no episode."""
    from rich.console import Console

    kinds = {FILES.get(path.suffix, "bag") for path in arguments.sources}
    if len(kinds) > 1:
        raise ValueError(f"{' and '.join(sorted(kinds))} cannot be imported together: start once for each")
    report = {"bag": _import_bags, "npz": _import_npz, "hdf5": _import_hdf5}[kinds.pop()](arguments)
    Console().print(report.table())
    return 0 if all(source.episodes for source in report.sources) else 1


def _import_bags(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.bag_import import import_bags
    from vmail_core.robot import load_robot

    robot = load_robot(arguments.robot)
    return import_bags(arguments.sources, arguments.out, robot, arguments.image_size, arguments.task)


def _import_npz(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.dreamer_import import read_dreamer

    period, task = arguments.period, arguments.task or ""
    if period is None or period <= 0.0:
        raise ValueError("--period: .npz files hold no times; give the seconds from frame to frame (0.05 is 20 Hz)")
    return _import_files(arguments, lambda path: [read_dreamer(path, period, task)])


def _import_hdf5(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.robomimic_import import read_robomimic

    camera, period, task = arguments.camera, arguments.period, arguments.task or ""
    return _import_files(arguments, lambda path: read_robomimic(path, camera, period, task))


def _import_files(arguments: argparse.Namespace, read: Callable[[Path], Iterable[Any]]) -> Any:
    from vmail_core.episodes.file_import import import_files
    from vmail_core.episodes.frames import at_size

    size = arguments.image_size

    def sized(path: Path) -> Iterable[Any]:
        return (at_size(episode, size) if size else episode for episode in read(path))

    return import_files(arguments.sources, arguments.out, sized)


def recover_bag(arguments: argparse.Namespace) -> int:
    """Recover and say what was saved."""
    from vmail_core.episodes.bag_recover import recover_bag

    print(recover_bag(arguments.bag, arguments.out))
    return 0
