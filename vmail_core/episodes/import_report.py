"""What an import found and did, source by source: as data, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A part of a source that did not become an episode: which rows or what, and why."""

    what: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Note:
    """What is worth knowing of a source, though it kept nothing from becoming episodes."""

    text: str


@dataclasses.dataclass
class SourceReport:
    """One bag or file.

    Attributes:
        source: its path.
        sha256: of its content; empty when it could not be read.
        episodes: names of the files that it became.
        frames: camera frames in it.
        rows: rows of all its episodes.
        seconds: recorded time that is in the episodes.
        rate_mean, rate_min, rate_max: ticks a second inside the episodes, Hz.
        gaps: where a take was split: seconds from the first frame, and the reason.
        counts: reason to number of messages that gave no row (duplicates, late frames, lost commands).
        radians_turned: of each episode's valve, where the twin's state was recorded.
        rejected: what did not become an episode.
        notes: what is worth knowing but changed nothing.
    """

    source: str
    sha256: str = ""
    episodes: list[str] = dataclasses.field(default_factory=list)
    frames: int = 0
    rows: int = 0
    seconds: float = 0.0
    rate_mean: float | None = None
    rate_min: float | None = None
    rate_max: float | None = None
    gaps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    radians_turned: list[float] = dataclasses.field(default_factory=list)
    rejected: list[Rejection] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add_times(self, times: list[np.ndarray]) -> None:
        """Sum up rate and length from each episode's times (T,) s."""
        intervals = np.concatenate([np.diff(time) for time in times])
        self.rows = sum(len(time) for time in times)
        self.seconds = float(intervals.sum())
        self.rate_mean = float(len(intervals) / intervals.sum())
        self.rate_min, self.rate_max = float(1 / intervals.max()), float(1 / intervals.min())


def copy_of(sha256: str, earlier: Sequence[SourceReport]) -> str | None:
    """The path of an earlier source with the same content, if there is one."""
    return next((report.source for report in earlier if report.sha256 == sha256), None)


@dataclasses.dataclass
class ImportReport:
    """All sources of one import.

    Attributes:
        out: the folder of the episodes.
        robot: name of the robot spec; empty where actions came normalised.
        sources: one report each, in the order given.
    """

    out: str
    robot: str = ""
    sources: list[SourceReport] = dataclasses.field(default_factory=list)

    @property
    def episodes(self) -> list[Path]:
        """Paths of all episodes written."""
        return [Path(self.out) / name for source in self.sources for name in source.episodes]

    @property
    def ok(self) -> bool:
        """Whether every source became at least one episode and nothing was rejected."""
        return all(source.episodes and not source.rejected for source in self.sources)

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    def table(self) -> Any:
        """The report as a rich renderable: a line a source, then what was split, dropped and rejected."""
        from rich.console import Group  # here, because episodes are also read where rich is not installed
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{len(self.episodes)} episodes in {self.out}")
        for name in ("source", "episodes", "rows", "seconds", "rate Hz (min-max)", "gaps", "dropped", "turned rad"):
            table.add_column(name, justify="left" if name == "source" else "right")
        for source in self.sources:
            table.add_row(*_cells(source), style=None if source.episodes else "red")
        remarks = [Text(line) for source in self.sources for line in _remarks(source)]
        return Group(table, *remarks)


def _cells(report: SourceReport) -> list[str]:
    rate = f"{report.rate_mean:.2f}" if report.rate_mean else "-"
    if report.rate_min and report.rate_max and report.rate_max - report.rate_min > 0.005:
        rate += f" ({report.rate_min:.2f}-{report.rate_max:.2f})"
    turned = ", ".join(f"{radians:.1f}" for radians in report.radians_turned) or "-"
    dropped = str(sum(report.counts.values()))
    counts = [
        str(len(report.episodes)),
        str(report.rows),
        f"{report.seconds:.1f}",
        rate,
        str(len(report.gaps)),
        dropped,
    ]
    return [Path(report.source).name, *counts, turned]


def _remarks(report: SourceReport) -> list[str]:
    name = Path(report.source).name
    lines = [f"{name}: rejected {part.what}: {part.reason}" for part in report.rejected]
    lines += [f"{name}: split after {gap['at_s']:.2f} s: {gap['reason']}" for gap in report.gaps]
    lines += [f"{name}: {reason}: {count}" for reason, count in report.counts.items()]
    return lines + [f"{name}: {note}" for note in report.notes]
