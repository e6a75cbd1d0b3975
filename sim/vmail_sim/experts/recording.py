"""Demonstrations of a task's expert, by several processes: the same ones however many, also after a stop."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from vmail_core.durable import replace_file
from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import SUFFIX, read_outline, write_episode
from vmail_core.path_lock import PathLock
from vmail_core.worker_pool import ATTEMPTS, WorkerPool, WorkerPoolError
from vmail_sim.experts.demos import demonstrate, simulator
from vmail_sim.experts.policy import fingerprint, load_expert
from vmail_sim.visual import VisualTask


class Least(NamedTuple):
    """What an episode must reach to be a demonstration: the task's main score, and whether something may drop."""

    score: str
    value: float
    nothing_dropped: bool = False

    def __str__(self) -> str:
        """In words."""
        return f"{self.score} at least {self.value:g}" + (", nothing dropped" if self.nothing_dropped else "")


# Of tasks whose experts fall short now and then. The next start takes the place of one below it.
LEAST_SCORE = {
    "baoding": Least("radians", 8.0, nothing_dropped=True),
    "car_racing": Least("return", 850.0),
    "dclaw_screw3": Least("success", 0.5),
    "dclaw_screw4": Least("success", 0.5),
    "dclaw_turn3": Least("success", 0.25),
    "dclaw_turn4": Least("success", 0.25),
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
    options: Mapping[str, Any] | None = None,
) -> Recorded:
    """Write `episodes` demonstrations of a task's expert to `out`, of starts from `seed` on.

    What was played before lies in `out` with a report and is not played again.

    Args:
        task, episodes, out, seed, image_size: what, how many, where, of which starts, pixels of a side.
        workers: processes that play; with 1, this one does.
        tell: is called after each episode with its start, its score, and whether it is a demonstration.
        options: of the task (look, dynamics, ...), as a training's `task_options`.

    Raises:
        ValueError: the task has no such option, or `out` holds demonstrations of something else.
        FileNotFoundError: the task has no expert.
        FileExistsError: another process records there.
        RuntimeError: too many starts end below `LEAST_SCORE`, or one of them failed in worker after worker.
    """
    facts = {
        "task": task,
        "image_size": image_size,
        "options": VisualTask(task, image_size, **(options or {})).options,
        "least_score": str(LEAST_SCORE.get(task)),
        "expert": fingerprint(task),
        "simulator": simulator(task),
    }
    with PathLock(Path(out), f"another process records in {out}: wait for it, or choose another folder"):
        return _record(_Report(Path(out), facts), episodes, range(seed, seed + MOST_STARTS * episodes), workers, tell)


def _record(
    report: _Report, episodes: int, starts: range, workers: int, tell: Callable[[int, Score, bool], None]
) -> Recorded:
    task, found = report.facts["task"], Recorded()
    new = (start for start in starts if start not in report)

    def wanted() -> int:
        return episodes - len(found.kept)

    with contextlib.closing(_played(report.facts, new, workers, wanted)) as played:
        for start in starts:
            if not wanted():
                return found
            if start not in report:
                report.add(start, next(played))
                tell(start, report.score(start), report.is_kept(start))
            (found.kept if report.is_kept(start) else found.left_out)[start] = report.score(start)
    if wanted():
        raise RuntimeError(
            f"{len(found.left_out)} of {len(starts)} starts of {task} are no demonstrations ({LEAST_SCORE[task]}), and "
            f"{len(found.kept)} of {episodes} were written: it is the expert that is wrong"
        )
    return found


class _Stage:
    """An expert and its world, in whatever process."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        """As the report has it."""
        self._env = VisualTask(facts["task"], facts["image_size"], **facts["options"])
        self._expert, self._made_by = load_expert(facts["task"]), facts["expert"]

    def __call__(self, start: int) -> Episode:
        """The episode, which says by whom and how well."""
        episode = demonstrate(self._expert, self._env, start)
        return dataclasses.replace(episode, provenance={**episode.provenance, "expert": self._made_by})


def _played(
    facts: Mapping[str, Any], starts: Iterator[int], workers: int, wanted: Callable[[], int]
) -> Generator[Episode, None, None]:
    """The episodes of `starts` in their order, no more of them ahead of it than may still be wanted."""
    if workers == 1:
        yield from map(_Stage(facts), starts)
        return
    task = facts["task"]
    with WorkerPool[int, Episode](functools.partial(_Stage, facts), workers) as pool:
        begun: collections.deque[tuple[int, Future[Episode]]] = collections.deque()
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
        for rest in folder.glob(f".{facts['task']}_*.tmp"):  # of a process that was killed while it wrote
            rest.unlink()

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

    def add(self, start: int, episode: Episode) -> None:
        """Write an episode, if it is a demonstration, then what became of the start."""
        least, score = LEAST_SCORE.get(self.facts["task"]), episode.provenance["score"]
        kept = least is None or (score[least.score] >= least.value and not score.get("dropped"))
        if kept:
            self._remove_own(start, episode)
            write_episode(self._folder, episode, self._episode(start).stem)
        self._starts[str(start)] = {"score": score, "kept": kept}
        replace_file(self._path, json.dumps({**self.facts, "starts": self._starts}, indent=1) + "\n")

    def _remove_own(self, start: int, episode: Episode) -> None:
        """What was written before a stop that came before the report. Raises ValueError: it is something else."""
        path = self._episode(start)
        if path.exists() and read_outline(path).provenance != episode.provenance:
            raise ValueError(f"{path} is not of this recording, and no report tells what it is: give another --out")
        path.unlink(missing_ok=True)

    def _episode(self, start: int) -> Path:
        return self._folder / f"{self.facts['task']}_{start:05d}{SUFFIX}"
