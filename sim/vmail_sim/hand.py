"""What the tasks of hands share: starts by seed, and what a `World` is, of a dm_control task and its physics."""

from __future__ import annotations

import abc
from typing import Any

import dm_env
import numpy as np
from dm_control.rl import control
from dm_control.suite import base


class HandTask(base.Task, abc.ABC):
    """A task for a hand, whose physics knows its `joint_positions()` and a `picture(height, width)`."""

    main_score: str

    def __init__(self, pixels: int | None, seed: int | None) -> None:
        """`pixels` is the side of the square picture, None leaves pictures out; starts are drawn from `seed`."""
        super().__init__(random=seed)
        self._pixels = pixels

    def reseed(self, seed: int) -> None:
        """Draw all that comes from `seed`: the same seed, the same episode."""
        self._random = np.random.RandomState(seed)

    @abc.abstractmethod
    def state(self, physics: Any) -> np.ndarray:
        """(S,) float32 for state-feedback experts."""

    @abc.abstractmethod
    def score(self, physics: Any) -> dict[str, float]:
        """What the episode achieved so far."""

    def get_observation(self, physics: Any) -> dict[str, Any]:
        """The camera picture `image` (P, P, 3) uint8, `state` (S,) and joint angles `joint_positions` (J,) rad."""
        seen = {} if self._pixels is None else {"image": physics.picture(self._pixels, self._pixels)}
        return seen | {"state": self.state(physics), "joint_positions": physics.joint_positions()}


class HandEnvironment(control.Environment):
    """A hand's task as a `vmail_sim.world.World`."""

    @property
    def main_score(self) -> str:
        """See `World`."""
        return self.task.main_score

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        """As dm_control has it, but an end in the last step is an end of the task, not of the time."""
        timestep = super().step(action)
        end = self.task.get_termination(self.physics) if timestep.last() else None
        return timestep if end is None else timestep._replace(discount=end)

    @property
    def joint_count(self) -> int:
        """See `World`."""
        return len(self.physics.joint_positions())

    def reseed(self, seed: int) -> None:
        """See `World`."""
        self.task.reseed(seed)

    def picture(self, height: int, width: int) -> np.ndarray:
        """See `World`."""
        return self.physics.picture(height, width)

    def score(self) -> dict[str, float]:
        """See the task's."""
        return self.task.score(self.physics)
