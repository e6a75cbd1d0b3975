"""Replay of episodes for learning: B_E and B_pi of Algorithm 1.

Chunks are drawn uniformly over episodes, then over start rows, as in the paper's published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Rows(Protocol):
    """What replay needs of an episode: `image` (T, S, S, 3) uint8 and `action` (T, A) float32."""

    @property
    def image(self) -> np.ndarray:
        """Pictures."""
        ...

    @property
    def action(self) -> np.ndarray:
        """Actions."""
        ...


class Replay:
    """Episodes in memory, at most `capacity` rows; the oldest go first, demonstrations never."""

    def __init__(self, length: int, capacity: int | None = None, from_start: float = 0.0) -> None:
        """Chunks will have `length` rows; `capacity` None keeps everything.

        `from_start` is the share of chunks that begin where their episode does: starts are rare among uniform
        chunks, and a policy that never learns to start gets nowhere.
        """
        self.length, self.capacity, self.from_start = length, capacity, from_start
        self._episodes: list[Rows] = []
        self.rows = 0

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._episodes)

    def add(self, episode: Rows) -> None:
        """Append an episode.

        Raises:
            ValueError: the episode is shorter than a chunk.
        """
        rows = len(episode.action)
        if rows < self.length:
            raise ValueError(f"episode has {rows} rows, chunks need {self.length}: lower train.length or record longer")
        self._episodes.append(episode)
        self.rows += rows
        while self.capacity is not None and self.rows > self.capacity and len(self._episodes) > 1:
            self.rows -= len(self._episodes.pop(0).action)

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Chunks, time-major: images (L, count, S, S, 3) uint8 and actions (L, count, A) float32."""
        if not self._episodes:
            raise ValueError("replay is empty: add demonstrations or collect an episode first")
        images, actions = [], []
        for index in rng.integers(len(self._episodes), size=count):
            episode = self._episodes[index]
            start = int(rng.integers(len(episode.action) - self.length + 1))
            start = 0 if rng.random() < self.from_start else start
            images.append(episode.image[start : start + self.length])
            actions.append(episode.action[start : start + self.length])
        return np.stack(images, 1), np.stack(actions, 1)


def joint_batch(
    demos: Replay, practice: Replay, count: int, demo_count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch from B_E and B_pi whose first `demo_count` chunks are demonstrations; see `Replay.sample`.

    While there is no practice yet, demonstrations fill the whole batch.
    """
    if len(practice) == 0:
        return demos.sample(count, rng)
    parts = [demos.sample(demo_count, rng), practice.sample(count - demo_count, rng)]
    return np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts], 1)


def shared_demo_count(demos: Sequence[Rows] | Replay, practice: Sequence[Rows] | Replay, count: int) -> int:
    """How many of `count` chunks uniform sampling over B_E union B_pi gives to demonstrations, at least one."""
    return max(1, round(count * len(demos) / (len(demos) + len(practice))))
