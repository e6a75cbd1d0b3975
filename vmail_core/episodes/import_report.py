"""What an import found and did, source by source: as data and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
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
        commands: commander to number of actions that are theirs; empty where the source does not tell.
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
    commands: dict[str, int] = dataclasses.field(default_factory=dict)
    radians_turned: list[float] = dataclasses.field(default_factory=list)
    rejected: list[Rejection] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add_commands(self, commands: Mapping[str, int]) -> None:
        """Add who commanded an episode, of `commands_by`."""
        for name, count in commands.items():
            self.commands[name] = self.commands.get(name, 0) + count

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
