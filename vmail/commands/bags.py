"""`vmail import`, `recover` and `convert`: takes, recorded here or by others, to episodes, and episodes to others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

FILES = {".npz": ".npz", ".hdf5": ".hdf5", ".h5": ".hdf5"}
"""Endings of files that others make, and their kind."""
LEROBOT = "a LeRobot dataset"
LEROBOT_INFO = Path("meta", "info.json")
"""What a folder of that kind holds; everything else is a bag."""
OPTIONS = {
    "robot": ("bag",),
    "period": (".npz", ".hdf5"),
    "camera": (".hdf5", LEROBOT),
    "normalise": (LEROBOT,),
}
"""Options that only some kinds have a use for."""


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    importing = commands.add_parser("import", help="turn recorded takes into episodes to learn from")
    importing.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="TAKE",
        help="rosbag2 folder, LeRobot dataset (v3) folder, Dreamer-style .npz or robomimic .hdf5",
    )
    importing.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    importing.add_argument("--robot", help="robot that a bag was recorded with: name or YAML file [dclaw]")
    importing.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="side of the frames [of a bag: what its robot's file says; of others: as they are]",
    )
    importing.add_argument("--task", help="name of the task [what the recorder noted]")
    importing.add_argument(
        "--period", type=float, metavar="SECONDS", help="from frame to frame, where a file does not tell"
    )
    importing.add_argument("--camera", metavar="NAME", help="which picture, where a dataset has several")
    importing.add_argument(
        "--normalise",
        action="store_true",
        default=None,
        help="scale each action of a LeRobot dataset from its smallest and largest there to [-1, 1]",
    )
    importing.set_defaults(run=import_takes)
    recovering = commands.add_parser("recover", help="save what can be read of a bag that was cut off")
    recovering.add_argument("bag", type=Path, metavar="BAG", help="folder of the broken bag, or its .mcap file")
    recovering.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder of the new, whole bag")
    recovering.set_defaults(run=recover_bag)
    converting = commands.add_parser("convert", help="write episodes as a LeRobot dataset (v3)")
    converting.add_argument("episodes", type=Path, metavar="DIR", help="folder of episodes")
    converting.add_argument("--out", type=Path, required=True, metavar="DATASET", help="folder of the new dataset")
    converting.add_argument("--task", metavar="WORDS", help="what the episodes show [what each says]")
    converting.add_argument("--robot", help="robot that they are of, for its joints' names: name or YAML file")
    converting.add_argument("--video", action="store_true", help="pictures as H.264, smaller and not quite exact [PNG]")
    converting.set_defaults(run=convert)


def import_takes(arguments: argparse.Namespace) -> int:
    """Import and show the report; 1 when a source gave no episode, or a demonstration in a file is none."""
    from rich.console import Console

    from vmail.import_table import import_table

    kinds = {_kind(path) for path in arguments.sources}
    if len(kinds) > 1:
        raise ValueError(f"{' and '.join(sorted(kinds))} cannot be imported together: start once for each")
    (kind,) = kinds
    _check_options(arguments, kind)
    importers = {"bag": _import_bags, ".npz": _import_npz, ".hdf5": _import_hdf5, LEROBOT: _import_lerobot}
    report = importers[kind](arguments)
    Console(soft_wrap=True, highlight=False).print(import_table(report))
    return 0 if (all(source.episodes for source in report.sources) if kind == "bag" else report.ok) else 1


def _kind(path: Path) -> str:
    return LEROBOT if (path / LEROBOT_INFO).is_file() else FILES.get(path.suffix, "bag")


def _check_options(arguments: argparse.Namespace, kind: str) -> None:
    for option, kinds in OPTIONS.items():
        if getattr(arguments, option) is not None and kind not in kinds:
            raise ValueError(f"--{option} means nothing for {kind}: leave it out")
    period, size = arguments.period, arguments.image_size
    if period is not None and not 0.0 < period < float("inf"):
        raise ValueError(f"--period {period}: give the seconds from frame to frame (0.05 is 20 Hz)")
    if period is None and kind == ".npz":
        raise ValueError("--period: .npz files hold no times; give the seconds from frame to frame (0.05 is 20 Hz)")
    if arguments.normalise and len(arguments.sources) > 1:
        raise ValueError("--normalise takes one dataset at a time: two would get two different scales")
    if size is not None and not 8 <= size <= 4096:
        raise ValueError(f"--image-size {size} is not between 8 and 4096 pixels")


def _import_bags(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.bag_import import import_bags
    from vmail_core.robot import load_robot

    robot = load_robot(arguments.robot or "dclaw")
    return import_bags(arguments.sources, arguments.out, robot, arguments.image_size, arguments.task)


def _import_npz(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.dreamer_import import read_dreamer
    from vmail_core.episodes.file_import import import_files

    period, task = arguments.period, arguments.task or ""
    return import_files(
        arguments.sources, arguments.out, lambda path: [read_dreamer(path, period, task)], arguments.image_size
    )


def _import_hdf5(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.file_import import import_files
    from vmail_core.episodes.robomimic_import import read_robomimic

    camera, period, task = arguments.camera, arguments.period, arguments.task or ""
    return import_files(
        arguments.sources, arguments.out, lambda path: read_robomimic(path, camera, period, task), arguments.image_size
    )


def _import_lerobot(arguments: argparse.Namespace) -> Any:
    from vmail_core.episodes.file_import import import_files
    from vmail_core.episodes.lerobot import read_lerobot

    camera, normalise, size = arguments.camera, bool(arguments.normalise), arguments.image_size
    return import_files(
        arguments.sources,
        arguments.out,
        lambda path: read_lerobot(path, camera, normalise, arguments.task or "", size),
        size,
    )


def recover_bag(arguments: argparse.Namespace) -> int:
    """Recover and say what was saved."""
    from vmail_core.episodes.bag_recover import recover_bag

    print(recover_bag(arguments.bag, arguments.out))
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Write the dataset and say what it holds."""
    from vmail_core.episodes.lerobot import write_lerobot
    from vmail_core.episodes.store import some_episodes
    from vmail_core.robot import load_robot

    paths = some_episodes(arguments.episodes)
    robot = load_robot(arguments.robot) if arguments.robot else None
    written = write_lerobot(paths, arguments.out, arguments.task, robot, arguments.video)
    print(f"{written.episodes} episodes, {written.frames} frames at {written.fps} a second, in {arguments.out}")
    return 0
