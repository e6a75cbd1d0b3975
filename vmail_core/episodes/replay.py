"""Replay of episodes for learning: B_E and B_pi of Algorithm 1.

Chunks are drawn uniformly over episodes, then over start rows, as in the paper's published code.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Rows(Protocol):
    """What replay needs of an episode: `image` (T, S, S, 3) uint8, `action` (T, A) float32, perhaps joint angles."""

    @property
    def image(self) -> np.ndarray:
        """Pictures."""
        ...

    @property
    def action(self) -> np.ndarray:
        """Actions."""
        ...

    @property
    def joint_positions(self) -> np.ndarray | None:
        """Joint angles (T, J) float32 rad, where they were recorded."""
        ...


class Chunks(NamedTuple):
    """A batch of pieces of episodes, time-major, of numpy arrays or whatever `Arrays` makes of them.

    Images (L, count, S, S, 3) uint8, actions (L, count, A) float32 and joint angles (L, count, J) float32 rad, None if
    any of the episodes has none or another number of them.
    """

    image: Any
    action: Any
    joint_positions: Any


class Arrays(Protocol):
    """Where replay keeps its arrays, and how it puts pieces of them together."""

    def keep(self, array: np.ndarray) -> Any:
        """The array as it is kept; it can be sliced."""
        ...

    def stack(self, parts: Sequence[Any]) -> Any:
        """Pieces (L, ...) beside each other: (L, count, ...)."""
        ...

    def join(self, parts: Sequence[Any]) -> Any:
        """Batches (L, count, ...) as one (L, sum of counts, ...)."""
        ...


class HostArrays:
    """Numpy arrays as they are."""

    def keep(self, array: np.ndarray) -> np.ndarray:
        """The array itself: an episode's are read-only."""
        return array

    def stack(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Arrays`."""
        return np.stack(parts, 1)

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Arrays`."""
        return np.concatenate(parts, 1)


class _Kept(NamedTuple):
    """An episode in replay."""

    image: Any
    action: Any
    joint_positions: Any


class Replay:
    """Episodes in memory, at most `capacity` rows; the oldest go first, demonstrations never."""

    def __init__(
        self, length: int, capacity: int | None = None, from_start: float = 0.0, arrays: Arrays | None = None
    ) -> None:
        """Chunks will have `length` rows; `capacity` None keeps everything; `arrays` None keeps numpy arrays.

        `from_start` is the share of chunks that begin where their episode does: starts are rare among uniform
        chunks, and a policy that never learns to start gets nowhere.
        """
        self.length, self.capacity, self.from_start = length, capacity, from_start
        self.arrays: Arrays = arrays or HostArrays()
        self._episodes: list[_Kept] = []
        self.rows = 0

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._episodes)

    def add(self, episode: Rows, ended: bool = False) -> None:
        """Append an episode; one that the task `ended` early may be shorter than a chunk, see `standing_still`.

        Raises:
            ValueError: it is shorter than a chunk although its time ran out: no chunk could be had from any.
        """
        if ended:
            episode = standing_still(episode, self.length)
        rows = len(episode.action)
        if rows < self.length:
            raise ValueError(f"episode has {rows} rows, chunks need {self.length}: lower train.length or record longer")
        keep, joints = self.arrays.keep, episode.joint_positions
        self._episodes.append(
            _Kept(keep(episode.image), keep(episode.action), None if joints is None else keep(joints))
        )
        self.rows += rows
        while self.capacity is not None and self.rows > self.capacity and len(self._episodes) > 1:
            self.rows -= len(self._episodes.pop(0).action)

    def sample(self, count: int, rng: np.random.Generator) -> Chunks:
        """`count` chunks."""
        if not self._episodes:
            raise ValueError("replay is empty: add demonstrations or collect an episode first")
        return self._chunks([self._episodes[index] for index in rng.integers(len(self._episodes), size=count)], rng)

    def oldest(self, count: int, rng: np.random.Generator) -> Chunks:
        """A chunk of each of the `count` oldest episodes; at most `len(self)`, at least one.

        The same ones for an `rng` of the same seed, until the oldest practice makes room for new.
        """
        return self._chunks(self._episodes[:count], rng)

    def _chunks(self, episodes: Sequence[_Kept], rng: np.random.Generator) -> Chunks:
        images, actions, joints = [], [], []
        for episode in episodes:
            start = int(rng.integers(len(episode.action) - self.length + 1))
            start = 0 if rng.random() < self.from_start else start
            rows = slice(start, start + self.length)
            images.append(episode.image[rows])
            actions.append(episode.action[rows])
            joints.append(None if episode.joint_positions is None else episode.joint_positions[rows])
        known, stack = _all_or_none(joints), self.arrays.stack
        return Chunks(stack(images), stack(actions), None if known is None else stack(known))


def standing_still(episode: Rows, rows: int) -> Rows:
    """The episode, and if it is shorter than `rows`, its last picture as often as it takes, with actions at random.

    What follows the end of a task is a world in which nothing happens any more, whatever is done: an absorbing state
    (Kostrikov et al. 2019, Discriminator-Actor-Critic, 4.2). The same episode is always continued alike.
    """
    missing = rows - len(episode.action)
    if missing <= 0:
        return episode
    image, action, joints = episode.image, episode.action, episode.joint_positions
    random = np.random.default_rng(zlib.crc32(np.ascontiguousarray(action).tobytes()))
    return _Kept(
        np.concatenate([image, np.repeat(image[-1:], missing, 0)]),
        np.concatenate([action, random.uniform(-1.0, 1.0, (missing, action.shape[1])).astype(action.dtype)]),
        None if joints is None else np.concatenate([joints, np.repeat(joints[-1:], missing, 0)]),
    )


def _all_or_none(joints: Sequence[Any]) -> list[Any] | None:
    """The joint angles of every part, where all have them and as many; a run that learns from them has seen to that."""
    known = [part for part in joints if part is not None]
    alike = len(known) == len(joints) and len({part.shape[-1] for part in known}) == 1
    return known if alike else None


def joint_batch(demos: Replay, practice: Replay, count: int, demo_count: int, rng: np.random.Generator) -> Chunks:
    """A batch from B_E and B_pi whose first `demo_count` chunks are demonstrations; see `Replay.sample`.

    While there is no practice yet, demonstrations fill the whole batch.
    """
    if len(practice) == 0 or demo_count == count:
        return demos.sample(count, rng)
    return side_by_side(demos.sample(demo_count, rng), practice.sample(count - demo_count, rng), demos.arrays)


def side_by_side(first: Chunks, second: Chunks, arrays: Arrays) -> Chunks:
    """Two batches of the same length as one; with joint angles, where both have them and as many."""
    known = _all_or_none([first.joint_positions, second.joint_positions])
    image, action = (arrays.join(parts) for parts in zip(first[:2], second[:2], strict=True))
    return Chunks(image, action, None if known is None else arrays.join(known))


def shared_demo_count(demos: Sequence[Rows] | Replay, practice: Sequence[Rows] | Replay, count: int) -> int:
    """How many of `count` chunks uniform sampling over B_E union B_pi gives to demonstrations, at least one."""
    return max(1, round(count * len(demos) / (len(demos) + len(practice))))
