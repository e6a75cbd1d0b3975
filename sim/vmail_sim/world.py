"""What every task of the registry is: a dm_env environment with a camera and a score."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class World(Protocol):
    """A task. Its observations hold `image` (S, S, 3) uint8, `state`, and `joint_positions` where a robot has them."""

    @property
    def main_score(self) -> str:
        """The name of the score that the task is judged by: one of `score()`, or "return"."""
        ...

    @property
    def joint_count(self) -> int:
        """J, how many `joint_positions` an observation holds; 0 where there is no robot."""
        ...

    def reseed(self, seed: int) -> None:
        """Draw the coming episodes from `seed`: the same seed, the same episode."""
        ...

    def reset(self) -> Any:
        """Begin an episode; returns a dm_env.TimeStep."""
        ...

    def step(self, action: np.ndarray) -> Any:
        """One control step with a normalised action (A,) float32; returns a dm_env.TimeStep."""
        ...

    def action_spec(self) -> Any:
        """A dm_env BoundedArray, (A,) float32 in [-1, 1]."""
        ...

    def observation_spec(self) -> Any:
        """What an observation holds: dm_env Arrays by name."""
        ...

    def control_timestep(self) -> float:
        """Seconds between two control steps."""
        ...

    def picture(self, height: int, width: int) -> np.ndarray:
        """The camera's view now, (height, width, 3) uint8."""
        ...

    def score(self) -> dict[str, float]:
        """What the episode achieved so far beside its return, by name."""
        ...
