"""Recorded takes: what each holds and whether it is any good, as a table, and as a film; and how one is trimmed."""

from __future__ import annotations

import collections
import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.text import Text

from vmail.tables import Column, FittingTable
from vmail_core.episodes.bag_reading import IMAGE, JOINTS, SENT, TWIN, Bag, BagError
from vmail_core.episodes.bag_recover import trim_bag
from vmail_core.episodes.commanders import in_words
from vmail_core.episodes.kinesthetic import with_led_commands
from vmail_core.episodes.quality import REJECTED, Quality, Remark, Verdict
from vmail_core.robot import RobotSpec
from vmail_nodes.take import DISCARDED, UNTRIMMED, free_place

STORAGE = (".mcap", ".db3")
METADATA = "metadata.yaml"
LABELS = ("task", "operator", "commander")
LABEL_RANKS = {"task": 3, "operator": 4, "commander": 2}
GOOD = "good"
POLICY = "policy"  # as the runner calls itself in its commands
FILM_PIXELS = 320  # height at least, for people


@dataclasses.dataclass(frozen=True)
class TakeFacts:
    """What a take holds.

    Attributes:
        path: its folder.
        task, operator: as noted; empty where they were not.
        commander: who commanded: a mode of teleop, or policy with the start of its bundle's digest; of several, each
            one's share of the commands.
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

    @property
    def is_usable(self) -> bool:
        """Whether it can be read, and nothing is so wrong with it that the recorder would reject it."""
        return not self.trouble and all(remark.verdict != Verdict.REJECT for remark in self.remarks)


def is_take(path: Path) -> bool:
    """Whether the folder is a bag, whole or not. Files of other kinds may lie in it, folders may not."""
    inside = list(path.iterdir()) if path.is_dir() else []
    return any(file.suffix in STORAGE for file in inside) and all(file.is_file() for file in inside)


def strangers(take: Path) -> list[str]:
    """What lies in a take and is no part of a bag; a disk that was full leaves metadata.yaml.tmp, which is."""
    return sorted(
        file.name for file in take.iterdir() if file.suffix not in STORAGE and file.name.split(".tmp")[0] != METADATA
    )


def find_takes(folder: str | Path) -> list[Path]:
    """The takes in a folder, or the folder itself if it is one. Raises OSError: there is none."""
    folder = Path(folder)
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file; give a folder of takes, or a take, which is a folder too")
    found = [folder] if is_take(folder) else sorted(path for path in folder.glob("*") if is_take(path))
    if not found:
        aside = "".join(f"; {line}" for line in put_aside(folder))
        records = f"`vmail up dclaw_teleop_demo record:={shlex.quote(str(folder))}` records some"
        raise FileNotFoundError(f"no take in {folder}{aside or f'; {records}'}")
    return found


def put_aside(folder: Path) -> list[str]:
    """What lies in hidden folders beside the takes, and what one can do with it; a line for each."""
    rejected, discarded, untrimmed = folder / REJECTED, folder / DISCARDED, folder / UNTRIMMED
    counts = {place: sum(map(is_take, place.glob("*"))) for place in (rejected, discarded, untrimmed)}
    lines, typed = [], {place: shlex.quote(str(place)) for place in (folder, *counts)}  # to be copied as they are
    if counts[rejected]:
        said = f"{_takes(counts[rejected])} rejected: `vmail takes {typed[rejected]}` says why"
        lines.append(f"{said}, `rm -r {typed[rejected]}` deletes them")
    if counts[discarded]:
        back = f"`mv {typed[discarded]}/TAKE {typed[folder]}/` brings one back, `rm -r {typed[discarded]}` deletes them"
        lines.append(f"{_takes(counts[discarded])} discarded after being kept: {back}")
    if counts[untrimmed]:
        kept = f"{_takes(counts[untrimmed])} kept as before trimming"
        lines.append(f"{kept}: `vmail takes {typed[untrimmed]}` lists them, `rm -r {typed[untrimmed]}` deletes them")
    return lines


def _takes(count: int) -> str:
    return f"{count} take{'s' if count > 1 else ''}"


def trim(take: Path, start_s: float, end_s: float) -> str:
    """Keep of a take what lies between two times, in s, and put the whole one aside; returns what was done.

    Raises:
        BagError: the take is broken, or nothing of it lies between the times.
    """
    take = Path(os.path.abspath(take)) if not take.name else take
    aside = free_place(take.parent / UNTRIMMED, take.name)
    report = trim_bag(take, start_s, end_s, aside)
    kept = f"{start_s:.1f} to {min(end_s, report.whole_seconds):.1f} s of {report.whole_seconds:.1f} s"
    return f"{take}: {kept} are kept, {sum(report.messages.values())} messages; the whole take is now {aside}"


def read_take(path: Path, robot: RobotSpec) -> TakeFacts:
    """Read a take whole, and judge it as the recorder does. A take that cannot be read says so in `trouble`."""
    try:
        with Bag(path, robot) as bag:
            quality = Quality(robot, sensor="simulator_version" not in bag.info)
            stamps: list[int] = []
            commanders: collections.Counter[str] = collections.Counter()
            for event in with_led_commands(bag.events()):
                if event.topic == IMAGE:
                    stamps.append(event.stamp_ns)
                    quality.picture(event.stamp_ns, np.asarray(event.value, np.uint8).reshape(-1))
                elif event.topic == JOINTS:
                    quality.joints(event.stamp_ns, event.value)
                elif event.topic == SENT:
                    commanders[event.commander] += 1
                    quality.command(event.stamp_ns)
                else:
                    assert event.topic in (TWIN, "joint_commands"), event.topic
            seconds = (stamps[-1] - stamps[0]) * 1e-9 if stamps else 0.0
            noted = bag.info.get
            return TakeFacts(
                path,
                noted("task", ""),
                noted("operator", ""),
                _commander(commanders, noted("commander", ""), noted("bundle", "")),
                seconds,
                len(stamps),
                commanders.total(),
                tuple(quality.remarks()),
            )
    except BagError as error:
        return TakeFacts(path, trouble=str(error))


def _commander(commands: Mapping[str, int], noted: str, bundle: str) -> str:
    """Who commanded, as the commands say, or as the recorder noted; a policy with the start of its bundle's digest."""
    who = in_words(commands) or noted
    return who.replace(POLICY, f"{POLICY} {bundle[:6]}") if bundle else who


def table(takes: Sequence[TakeFacts]) -> Group:
    """A line a take, and below them what is to be said of each. What all takes have in common is in the title."""
    labels = {name: {getattr(take, name) for take in takes if not take.trouble} for name in LABELS}
    common = [f"{name}: {value}" for name in LABELS if len(labels[name]) == 1 for value in labels[name] if value]
    shown = [name for name in LABELS if len(labels[name]) > 1]

    def number(name: str, cells: list[str], rank: int) -> Column:
        return Column(name, ["" if take.trouble else cell for take, cell in zip(takes, cells, strict=True)], rank, True)

    columns = [
        Column("take", [take.path.name for take in takes]),
        Column("verdict", [_verdict(take) for take in takes]),
        number("seconds", [f"{take.seconds:.1f}" for take in takes], 1),
        number("pictures", [str(take.pictures) for take in takes], 6),
        number("commands", [str(take.commands) for take in takes], 5),
        *(Column(name, [getattr(take, name) for take in takes], LABEL_RANKS[name]) for name in shown),
    ]
    styles = ["" if _verdict(take) == GOOD else "yellow" if take.is_usable else "red" for take in takes]
    remarks = [Text(f"{take.path.name}: {said}") for take in takes for said in _said(take)]
    return Group(FittingTable(columns, ", ".join(common), styles), *remarks)


def _verdict(take: TakeFacts) -> str:
    if take.trouble:
        return "broken"
    return "no good" if not take.is_usable else "usable" if take.remarks else GOOD


def _said(take: TakeFacts) -> list[str]:
    return [take.trouble] if take.trouble else [remark.text for remark in take.remarks]


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
    if len({picture.shape for _, picture in shown}) > 1:
        raise BagError(f"{path} has pictures of several sizes: its camera was changed meanwhile")
    period_ns = float(np.median(np.diff([stamp for stamp, _ in shown])))
    if not period_ns > 0.0:
        raise BagError(f"{path} has pictures whose stamps do not increase: nothing tells how fast to show them")
    rate = 1e9 / period_ns
    larger = max(1, -(-FILM_PIXELS // shown[0][1].shape[0]))
    frames = np.stack([picture.repeat(larger, 0).repeat(larger, 1) for _, picture in shown])
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    out.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(out, even, plugin="pyav", codec="libx264", fps=round(rate))
    return len(shown)
