"""Bags to episodes: `vmail import`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmail_core.episodes.alignment import BagAlignment, Row, segments
from vmail_core.episodes.bag_reading import IMAGE, JOINTS, REQUEST, SENT, Bag, BagError
from vmail_core.episodes.commanders import commands_by
from vmail_core.episodes.episode import Episode
from vmail_core.episodes.import_report import ImportReport, Rejection, SourceReport, copy_of
from vmail_core.episodes.kinesthetic import with_led_commands
from vmail_core.episodes.quality import REJECTED
from vmail_core.episodes.staging import publish, staged
from vmail_core.episodes.store import write_episode
from vmail_core.robot import RobotSpec

__all__ = ["BagError", "ImportReport", "import_bags"]

MIN_ROWS = 5
"""A run of fewer rows teaches nothing and is rejected."""


def import_bags(
    bags: Sequence[str | Path],
    out: str | Path,
    robot: RobotSpec,
    image_size: int | None = None,
    task: str | None = None,
) -> ImportReport:
    """Turn recorded takes into episodes; either all of them are in `out` at the end, or none.

    A take is split where a frame or a command is missing. A bag that cannot be used is rejected in the report, and
    the others are imported.

    Args:
        bags: rosbag2 folders, or their .mcap or .db3 files.
        out: folder for the episodes and `import_report.json`; made if it is missing.
        robot: the robot that the bags were recorded with.
        image_size: side of the square frames of the episodes; by default the robot's camera size.
        task: overrides the task that the recorder noted.

    Returns:
        What was read, split, dropped and rejected.

    Raises:
        BagError: no bag gave an episode, or a bag does not exist; the message says why for each.
        FileExistsError: `out` already holds an episode of one of the bags.
    """
    paths = [Path(bag) for bag in bags]
    _check_arguments(paths, image_size)
    report = ImportReport(str(out), robot.name)
    with staged(Path(out)) as stage:
        for path in paths:
            report.sources.append(_import_bag(path, stage, robot, image_size, task, report.sources))
        _check_result(report)
        publish(stage, report)
    return report


def _check_arguments(bags: list[Path], image_size: int | None) -> None:
    if not bags:
        raise BagError("no bag given; name at least one rosbag2 folder")
    if image_size is not None and not 8 <= image_size <= 4096:
        raise BagError(f"image size {image_size} is not between 8 and 4096 pixels")
    for bag in bags:
        if not bag.exists():
            raise BagError(f"no bag at {bag}; give a rosbag2 folder or its .mcap or .db3 file")
    if len({bag.resolve() for bag in bags}) != len(bags):
        raise BagError("the same bag is given twice")


def _import_bag(
    path: Path, stage: Path, robot: RobotSpec, image_size: int | None, task: str | None, earlier: list[SourceReport]
) -> SourceReport:
    report = SourceReport(str(path))
    if REJECTED in {folder.name for folder in path.resolve().parents[:2]}:  # of a bag, or of a file in it
        report.notes.append(f"the recorder rejected this take as no good: `vmail takes {path}` says why")
    size = None if image_size is None else (image_size, image_size)
    try:
        with Bag(path, robot) as bag:
            _check_robot(bag, robot, report)
            _check_copy(bag, earlier)
            report.sha256 = bag.sha256
            rows, valve, commanders = _align(bag, BagAlignment(robot, size), report)
            provenance = _provenance(bag, robot, task)
    except BagError as error:
        report.rejected.append(Rejection("the bag", str(error)))
        return report
    times: list[np.ndarray] = []
    runs = _usable_runs(rows, report)
    for number, run in enumerate(runs, 1):
        origin = {"segment": number, **_shifts(run, commanders)}
        episode = _episode(run, provenance | origin, valve)
        name = f"{path.stem}-{report.sha256[:8]}" + (f"-{number:02d}" if len(runs) > 1 else "")
        write_episode(stage, episode, name)
        report.add_commands(commands_by(episode.provenance, len(run)))
        report.episodes.append(f"{name}.npz")
        if "radians_turned" in episode.provenance:
            report.radians_turned.append(episode.provenance["radians_turned"])
        times.append(episode.time)
    if times:
        report.add_times(times)
    return report


def _check_robot(bag: Bag, robot: RobotSpec, report: SourceReport) -> None:
    recorded, digest = bag.info.get("robot"), bag.info.get("interface_digest")
    if recorded and recorded != robot.name and digest != robot.digest():
        raise BagError(f"{bag.path} was recorded with robot {recorded}, not {robot.name}; give --robot {recorded}")
    if digest is not None and digest != robot.digest():
        # Bags hold angles, not actions: the import normalises with the spec as it is now.
        report.notes.append(f"joints, limits or rates of robot {robot.name} have changed since this was recorded")


def _check_copy(bag: Bag, earlier: list[SourceReport]) -> None:
    copied = copy_of(bag.sha256, earlier)
    if copied:
        raise BagError(f"{bag.path} has the same content as {copied}; give one of them")


def _align(
    bag: Bag, alignment: BagAlignment, report: SourceReport
) -> tuple[list[Row], dict[int, float], dict[int, str]]:
    """Rows of the bag; by stamp, the valve's angle where the twin's state was recorded, and who commanded."""
    valve: dict[int, float] = {}
    commanders: dict[int, str] = {}
    for event in with_led_commands(bag.events()):
        if event.topic == IMAGE:
            report.frames += 1
            alignment.on_image(event.stamp_ns, event.value)
        elif not np.isfinite(event.value).all():
            alignment.counts[f"value on {event.topic} that is not finite"] += 1  # the driver refuses such a command
        elif event.topic == JOINTS:
            alignment.on_joint_states(event.stamp_ns, event.value)
        elif event.topic == REQUEST:
            alignment.on_request(event.stamp_ns, event.value)
        elif event.topic == SENT:
            alignment.on_sent(event.stamp_ns, event.value)
            commanders.setdefault(event.stamp_ns, event.commander)  # as the alignment, which keeps the first
        else:
            valve[event.stamp_ns] = event.value
    rows = alignment.rows()
    report.counts = dict(alignment.counts)
    return rows, valve, commanders


def _usable_runs(rows: list[Row], report: SourceReport) -> list[list[Row]]:
    """Runs that are long enough; the report takes the splits and the runs that are not."""
    if all(row.first for row in rows):
        reason = "no two frames are joined by a sent command that carries the first one's stamp"
        report.rejected.append(Rejection("the bag", f"{report.source}: {reason}; was the driver running?"))
        return []
    start = rows[0].stamp_ns
    runs = segments(rows)
    report.gaps = [{"at_s": round((run[0].stamp_ns - start) / 1e9, 3), "reason": run[0].reason} for run in runs[1:]]
    for run in runs:
        if len(run) < MIN_ROWS:
            where = f"{len(run)} rows from {(run[0].stamp_ns - start) / 1e9:.2f} s on"
            report.rejected.append(Rejection(where, f"shorter than {MIN_ROWS} rows"))
    lonely = len(rows) - sum(map(len, runs))
    if lonely:
        report.rejected.append(Rejection(f"{lonely} frames", "no sent command leads to the next one or to them"))
    return [run for run in runs if len(run) >= MIN_ROWS]


def _provenance(bag: Bag, robot: RobotSpec, task: str | None) -> dict[str, Any]:
    noted = ("operator", "commander", "bundle", "vmail_version", "simulator_version", "take", "recovered", "trimmed")
    digests = ("calibration_digest", "camera_info_digest")
    return {
        "source": "bag",
        "bag": bag.path.name,
        "bag_sha256": bag.sha256,
        "robot": robot.name,
        "interface_digest": robot.digest(),
        "task": bag.info.get("task", "") if task is None else task,
        **{key: text for key, text in bag.info.items() if key in noted + digests or key.startswith("latency_")},
    }


def _shifts(run: list[Row], commanders: dict[int, str]) -> dict[str, Any]:
    """Who commanded from which row's action on: one shift, or more where control was handed over."""
    shifts: list[dict[str, Any]] = []
    for number, before in enumerate(run[:-1], 1):
        name = commanders.get(before.stamp_ns, "")
        if not shifts or shifts[-1]["name"] != name:
            shifts.append({"name": name, "from_row": number})
    return {"commanders": shifts} if any(shift["name"] for shift in shifts) else {}  # older takes do not say


def _episode(run: list[Row], provenance: dict[str, Any], valve: dict[int, float]) -> Episode:
    angles = [valve.get(row.stamp_ns) for row in run]
    known = [angle for angle in angles if angle is not None]
    if known:
        # For scores only: the learner never sees the valve.
        provenance["valve_angle"] = [None if angle is None else round(angle, 6) for angle in angles]
        provenance["radians_turned"] = round(known[-1] - known[0], 6)
    stamps = np.array([row.stamp_ns for row in run], np.int64)
    return Episode(
        image=np.stack([row.image for row in run]),
        action=np.stack([row.action for row in run]),
        # Seconds since the epoch as float64 would round to 0.2 us; the start is kept exactly instead.
        time=(stamps - stamps[0]).astype(np.float64) / 1e9,
        joint_positions=np.stack([row.joint_positions for row in run]),
        provenance=provenance | {"start_ns": int(stamps[0])},
    )


def _check_result(report: ImportReport) -> None:
    if not report.episodes:
        reasons = [f"{part.what}: {part.reason}" for bag in report.sources for part in bag.rejected]
        raise BagError(reasons[0].removeprefix("the bag: ") if len(reasons) == 1 else "\n".join(reasons))
