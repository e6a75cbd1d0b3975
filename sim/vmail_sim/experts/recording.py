"""Demonstrations of a task's expert, by several processes: the same ones however many, also after a stop."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import SUFFIX, write_episode
from vmail_core.path_lock import PathLock
from vmail_core.worker_pool import ATTEMPTS, WorkerPool, WorkerPoolError
from vmail_sim.experts.demos import demonstrate, simulator
from vmail_sim.experts.policy import fingerprint, load_expert
from vmail_sim.visual import VisualTask

# The task's main score from which on an episode is a demonstration; the next start takes the place of one below it, and
# of one in which something was dropped.
LEAST_SCORE = {
    "baoding": 8.0,
    "car_racing": 850.0,
    "dclaw_screw3": 0.5,
    "dclaw_screw4": 0.5,
    "dclaw_turn3": 0.25,
    "dclaw_turn4": 0.25,
}
MOST_STARTS = 3  # tried for each demonstration, before it is the expert that is wrong
REPORT = "expert_report.json"

Score = dict[str, float]


@dataclasses.dataclass
class Recorded:
    """Scores by seed: of the demonstrations that were written, and of the episodes that fell short."""

    kept: dict[int, Score] = dataclasses.field(default_factory=dict)
    left_out: dict[int, Score] = dataclasses.field(default_factory=dict)


def record_demonstrations(
    task: str,
    episodes: int,
    out: str | Path,
    seed: int = 0,
    image_size: int = 64,
    workers: int = 1,
    tell: Callable[[int, Score, bool], None] = lambda start, score, kept: None,
) -> Recorded:
    """Write `episodes` demonstrations of a task's expert to `out`, of starts from `seed` on.

    What was played before lies in `out` with a report and is not played again.

    Args:
        task, episodes, out, seed, image_size: what, how many, where, of which starts, pixels of a side.
        workers: processes that play; with 1, this one does.
        tell: is called after each episode with its start, its score, and whether it is a demonstration.

    Raises:
        ValueError: `out` holds demonstrations of something else.
        FileNotFoundError: the task has no expert.
        FileExistsError: another process records there.
        RuntimeError: too many starts end below `LEAST_SCORE`, or one of them failed in worker after worker.
    """
    facts = {"task": task, "image_size": image_size, "least_score": LEAST_SCORE.get(task), "expert": fingerprint(task)}
    with PathLock(Path(out), f"another process records in {out}: wait for it, or choose another folder"):
        report = _Report(Path(out), {**facts, "simulator": simulator(task)})
        return _record(report, episodes, range(seed, seed + MOST_STARTS * episodes), workers, tell)


def _record(
    report: _Report, episodes: int, starts: range, workers: int, tell: Callable[[int, Score, bool], None]
) -> Recorded:
    task, image_size = report.facts["task"], report.facts["image_size"]
    least, found = LEAST_SCORE.get(task, float("-inf")), Recorded()
    new = (start for start in starts if start not in report)

    def wanted() -> int:
        return episodes - len(found.kept)

    with contextlib.closing(_played(task, image_size, new, workers, wanted)) as played:
        for start in starts:
            if not wanted():
                return found
            if start not in report:
                report.add(start, next(played), least)
                tell(start, report.score(start), report.is_kept(start))
            (found.kept if report.is_kept(start) else found.left_out)[start] = report.score(start)
    if wanted():
        short = f"{len(found.left_out)} of {len(starts)} starts of {task} ended below {least:g}"
        judged_by, written = VisualTask(task, image_size).main_score, len(found.kept)
        raise RuntimeError(f"{short} ({judged_by}), and {written} demonstrations of {episodes} were written")
    return found


class _Stage:
    """An expert and its world, in whatever process."""

    def __init__(self, task: str, image_size: int) -> None:
        self._env, self._expert = VisualTask(task, image_size), load_expert(task)

    def __call__(self, start: int) -> tuple[Episode, float]:
        """The episode and what the task judges it by."""
        episode = demonstrate(self._expert, self._env, start)
        return episode, episode.provenance["score"][self._env.main_score]


def _played(
    task: str, image_size: int, starts: Iterator[int], workers: int, wanted: Callable[[], int]
) -> Generator[tuple[Episode, float], None, None]:
    """The episodes of `starts` in their order, no more of them ahead of it than may still be wanted."""
    if workers == 1:
        yield from map(_Stage(task, image_size), starts)
        return
    with WorkerPool[int, tuple[Episode, float]](functools.partial(_Stage, task, image_size), workers) as pool:
        begun: collections.deque[tuple[int, Future[tuple[Episode, float]]]] = collections.deque()
        while True:
            while len(begun) < min(2 * workers, wanted()) and (start := next(starts, None)) is not None:
                begun.append((start, pool.submit(start, f"{task}, seed {start},")))
            if not begun:
                return
            start, future = begun.popleft()
            try:
                yield future.result()
            except WorkerPoolError as error:
                raise RuntimeError(f"{task}, seed {start}, failed {ATTEMPTS} times, at last with {error}") from error


class _Report:
    """What was played so far, as a file beside the episodes. Starts are in it once their episode is on the disk."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self._folder, self._path = folder, folder / REPORT
        self.facts, self._starts = facts, dict[str, dict[str, Any]]()
        if self._path.exists():
            self._read()

    def _read(self) -> None:
        try:
            known = json.loads(self._path.read_text())
            self._starts = dict(known.pop("starts"))
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{self._path} is damaged ({error}): move {self._folder} away") from error
        for name, value in self.facts.items():
            if known.get(name) != value:
                found = f"{name} {known.get(name)}, not {value}"
                raise ValueError(f"{self._folder} holds demonstrations with {found}: give another --out")

    def __contains__(self, start: int) -> bool:
        """Whether it needs not be played: a demonstration that was removed does."""
        return str(start) in self._starts and (not self.is_kept(start) or self._episode(start).exists())

    def score(self, start: int) -> Score:
        """All scores of the episode."""
        return self._starts[str(start)]["score"]

    def is_kept(self, start: int) -> bool:
        """Whether it is a demonstration."""
        return self._starts[str(start)]["kept"]

    def add(self, start: int, played: tuple[Episode, float], least: float) -> None:
        """Write an episode, if it is a demonstration, then what became of the start."""
        episode, score = played
        kept = score >= least and not episode.provenance["score"].get("dropped")
        if kept:
            self._episode(start).unlink(missing_ok=True)  # written, but stopped before the report was
            write_episode(self._folder, episode, self._episode(start).stem)
        self._starts[str(start)] = {"score": episode.provenance["score"], "kept": kept}
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps({**self.facts, "starts": self._starts}, indent=1) + "\n")
        temporary.replace(self._path)

    def _episode(self, start: int) -> Path:
        return self._folder / f"{self.facts['task']}_{start:05d}{SUFFIX}"
