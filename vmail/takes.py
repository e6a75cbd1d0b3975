"""Recorded takes: what each holds and whether it is any good, as a table, and as a film."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmail_core.episodes.bag_reading import IMAGE, JOINTS, SENT, TWIN, Bag, BagError
from vmail_core.episodes.kinesthetic import with_led_commands
from vmail_core.episodes.quality import Quality, Remark
from vmail_core.robot import RobotSpec

STORAGE = (".mcap", ".db3")
LABELS = ("task", "operator", "commander")
FILM_PIXELS = 320  # height at least, for people


@dataclasses.dataclass(frozen=True)
class TakeFacts:
    """What a take holds.

    Attributes:
        path: its folder.
        task, operator, commander: as noted; empty where they were not. The commander is a mode of teleop, or
            policy with the start of its bundle's digest.
        seconds: from the first picture to the last.
        pictures, commands: how many.
        remarks: of the quality gate.
        trouble: why it cannot be read; everything else is empty then.
    """

    path: Path
    task: str = ""
    operator: str = ""
    commander: str = ""
    seconds: float = 0.0
    pictures: int = 0
    commands: int = 0
    remarks: tuple[Remark, ...] = ()
    trouble: str = ""


def is_take(path: Path) -> bool:
    """Whether the folder is a bag, whole or not, and nothing else."""
    if not path.is_dir():
        return False
    inside = list(path.iterdir())
    return any(file.suffix in STORAGE for file in inside) and all(
        file.is_file() and (file.suffix in STORAGE or file.name == "metadata.yaml") for file in inside
    )


def find_takes(folder: str | Path) -> list[Path]:
    """The takes in a folder, or the folder itself if it is one. Raises FileNotFoundError: there is none."""
    folder = Path(folder)
    found = [folder] if is_take(folder) else sorted(path for path in folder.glob("*") if is_take(path))
    if not found:
        raise FileNotFoundError(f"no take in {folder}; `vmail up dclaw_teleop_demo record:={folder}` records some")
    return found


def read_take(path: Path, robot: RobotSpec) -> TakeFacts:
    """Read a take whole, and judge it as the recorder does. A take that cannot be read says so in `trouble`."""
    try:
        with Bag(path, robot) as bag:
            quality = Quality(robot, sensor="simulator_version" not in bag.info)
            stamps: list[int] = []
            commands = 0
            for event in with_led_commands(bag.events()):
                if event.topic == IMAGE:
                    stamps.append(event.stamp_ns)
                    quality.picture(event.stamp_ns, np.asarray(event.value, np.uint8).reshape(-1))
                elif event.topic == JOINTS:
                    quality.joints(event.stamp_ns, event.value)
                elif event.topic == SENT:
                    commands += 1
                    quality.command()
                else:
                    assert event.topic in (TWIN, "joint_commands"), event.topic
            seconds = (stamps[-1] - stamps[0]) * 1e-9 if stamps else 0.0
            noted = bag.info.get
            return TakeFacts(
                path,
                noted("task", ""),
                noted("operator", ""),
                f"{noted('commander', '')} {noted('bundle', '')[:6]}".strip(),
                seconds,
                len(stamps),
                commands,
                tuple(quality.remarks()),
            )
    except BagError as error:
        return TakeFacts(path, trouble=str(error))


def table(takes: Sequence[TakeFacts]) -> Any:
    """A rich table, a line a take. What all takes have in common is in its title."""
    from rich.table import Table

    labels = {name: {getattr(take, name) for take in takes if not take.trouble} for name in LABELS}
    common = [
        f"{name}: {value}" for name, (value, *others) in ((n, [*v]) for n, v in labels.items() if v) if not others
    ]
    shown = [name for name, values in labels.items() if len(values) > 1]
    found = Table(title=", ".join(text for text in common if not text.endswith(": ")) or None)
    found.add_column("take", no_wrap=True)
    for name in shown:
        found.add_column(name, overflow="fold")
    for name in ("seconds", "pictures", "commands"):
        found.add_column(name, justify="right")
    found.add_column("remarks", overflow="fold")
    for take in takes:
        remarks = take.trouble or "; ".join(remark.text for remark in take.remarks) or "good"
        numbers = ("", "", "") if take.trouble else (f"{take.seconds:.1f}", str(take.pictures), str(take.commands))
        found.add_row(take.path.name, *(getattr(take, name) for name in shown), *numbers, remarks)
    return found


def film(path: Path, robot: RobotSpec, out: Path) -> int:
    """Write a take's pictures as a video at the rate at which they were taken; returns how many they are.

    Raises:
        BagError: the take cannot be read, or has less than two pictures.
    """
    import imageio.v3 as iio

    with Bag(path, robot) as bag:
        shown = [(event.stamp_ns, event.value) for event in bag.events() if event.topic == IMAGE]
    if len(shown) < 2:
        raise BagError(f"{path} has {len(shown)} pictures: nothing to film")
    rate = 1e9 / float(np.median(np.diff([stamp for stamp, _ in shown])))
    larger = max(1, -(-FILM_PIXELS // shown[0][1].shape[0]))
    frames = np.stack([picture.repeat(larger, 0).repeat(larger, 1) for _, picture in shown])
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    out.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(out, even, plugin="pyav", codec="libx264", fps=round(rate))
    return len(shown)
