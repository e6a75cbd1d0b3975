"""Episodes of practice (Algorithm 1, lines 4 to 9): one by one between updates here, or by processes in workers.py."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import write_episode
from vmail_core.learners.acting import FilteringPolicy, PracticeNoise
from vmail_core.learners.collect import VisualEnv, rollout
from vmail_core.learners.config import Config
from vmail_core.learners.run_folder import RunFolder, writing
from vmail_core.learners.vmail import VMAIL

PRACTICE_SEED = 1_000_000


class Collector(Protocol):
    """Where the learner's episodes of practice come from."""

    def collect(self, index: int) -> Episode:
        """Episode number `index`, counted from 0 and asked for in order; it lies in the run's folder too."""
        ...

    def begun(self) -> dict[int, bytes]:
        """Episodes that are begun and not yet handed out, with the weights that act in each: for a checkpoint."""
        ...

    def resume(self, begun: dict[int, bytes]) -> None:
        """Take what `begun` told a checkpoint, to begin these again."""
        ...

    def close(self) -> None:
        """Give back whatever is held."""
        ...


class Inline:
    """The learner collects an episode itself when one is due, with its newest weights, and learns on after that."""

    def __init__(self, learner: VMAIL, env: VisualEnv, folder: RunFolder, rng: np.random.Generator) -> None:
        """`rng` is the learner's own: exploration draws from it."""
        self._learner, self._env, self._folder, self._rng = learner, env, folder, rng

    def collect(self, index: int) -> Episode:
        """Roll the policy out now."""
        learner = self._learner
        noise = PracticeNoise(learner.config.policy, learner.judge, self._rng)
        policy = FilteringPolicy(learner.model, learner.actor, noise)
        episode = practise(policy, learner.config, self._env, index)
        with writing(self._folder.path):
            write_episode(self._folder.practice, episode, episode_name(index))
        return episode

    def begun(self) -> dict[int, bytes]:
        """Nothing: an episode is collected as a whole."""
        return {}

    def resume(self, begun: dict[int, bytes]) -> None:
        """Nothing to do."""
        assert not begun, f"episodes {sorted(begun)} were begun by workers"

    def close(self) -> None:
        """Nothing to do."""


def practise(policy: FilteringPolicy, config: Config, env: VisualEnv, index: int) -> Episode:
    """Roll the policy out from the start that belongs to episode `index`."""
    return rollout(policy, env, practice_seed(config, index), {"source": "practice", "task": config.task})[0]


def practice_seed(config: Config, index: int) -> int:
    """The environment's seed for episode `index`."""
    return PRACTICE_SEED + 10_000 * config.train.seed + index


def episode_name(index: int) -> str:
    """What episode `index` is called in the run's folder."""
    return f"practice_{index:06d}"
