"""Practice in processes of their own while the learner learns, with the same result however fast they are.

An episode is begun with the weights of a fixed update and joins replay at a fixed later one, where the learner waits if
it is late. Its noise belongs to the run's seed and its number alone. So nothing depends on timing, on which worker
collected it, or on how often: a worker that dies is replaced, and a run that was killed begins its episodes again from
the weights in its checkpoint.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import SUFFIX, write_episode
from vmail_core.learners.acting import FilteringPolicy, PracticeNoise, new_actor, new_discriminator, new_model
from vmail_core.learners.collect import VisualEnv
from vmail_core.learners.config import Config
from vmail_core.learners.practice import episode_name, practice_seed, practise
from vmail_core.learners.run_folder import RunFolder, writing
from vmail_core.learners.vmail import VMAIL
from vmail_core.models import Actor, Discriminator, WorldModel
from vmail_core.worker_pool import ATTEMPTS, WorkerPool, WorkerPoolError

# A worker that has finished finds its next episode waiting, so a single one has two as well.
LEAST_AHEAD = 2
JUDGE = "discriminator"

MakeEnv = Callable[[], VisualEnv]
Begun = tuple[int, bytes]  # an episode's number, and the weights that it is begun with


class Workers:
    """A `Collector` whose episodes are collected by `train.workers` processes, a fixed number of episodes ahead."""

    def __init__(self, learner: VMAIL, make_env: MakeEnv, folder: RunFolder) -> None:
        """Start nothing yet.

        Args:
            learner: whose weights act, as they are when an episode is begun.
            make_env: makes a worker's environment; it is pickled.
            folder: the run's.
        """
        self._learner, self._folder = learner, folder
        config = learner.config
        self._ahead = max(LEAST_AHEAD, config.train.workers)
        self._staging = folder.path / "practice.new"
        self._begun: dict[int, tuple[bytes, Future[Episode]]] = {}
        self._to_begin_again: dict[int, bytes] = {}
        collector = functools.partial(_Collector, config, make_env, self._staging)
        self._pool = WorkerPool[Begun, Episode](collector, config.train.workers)

    def collect(self, index: int) -> Episode:
        """Begin the episode that is `ahead` of `index` with the weights of now, then wait for episode `index`.

        At the start all from `index` on are begun, so the first one is no older than without workers.

        Raises:
            RuntimeError: it failed time after time; the message says how and what to do.
        """
        learner = self._learner
        acting = _acting(learner.model, learner.actor, learner.judge)
        newest = save({name: part.contiguous() for name, part in acting.state_dict().items()})
        for later in range(index, index + self._ahead + 1):
            if later not in self._begun:
                weights = self._to_begin_again.pop(later, newest)
                future = self._pool.submit((later, weights), f"practice episode {later}")
                self._begun[later] = weights, future
        episode = self._wait_for(index)
        name = episode_name(index) + SUFFIX
        with writing(self._folder.path):
            self._folder.practice.mkdir(exist_ok=True)
            (self._staging / name).rename(self._folder.practice / name)
        del self._begun[index]
        return episode

    def begun(self) -> dict[int, bytes]:
        """See `Collector`."""
        return self._to_begin_again | {index: weights for index, (weights, _) in self._begun.items()}

    def resume(self, begun: dict[int, bytes]) -> None:
        """See `Collector`."""
        self._to_begin_again = begun

    def close(self) -> None:
        """End all workers at once; what they had begun is lost, and begun again by a run that resumes."""
        self._pool.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def _wait_for(self, index: int) -> Episode:
        """The episode, which lies in the staging folder, too."""
        try:
            return self._begun[index][1].result()
        except WorkerPoolError as error:
            task, seed = self._learner.config.task, practice_seed(self._learner.config, index)
            raise RuntimeError(
                f"practice episode {index} of {task} (seed {seed}) failed {ATTEMPTS} times in a worker, at last with "
                f"{error}. Remove the cause, then start the same command again: the run goes on from its last "
                "checkpoint"
            ) from error


class _Collector:
    """In a worker: an environment and the networks that act in it."""

    def __init__(self, config: Config, make_env: MakeEnv, staging: Path) -> None:
        torch.set_num_threads(1)
        self._config, self._env, self._staging = config, make_env(), staging
        # Not the whole learner: its optimisers take seconds to import.
        self._model = new_model(config, self._env.action_size, self._env.joint_count)
        self._actor = new_actor(config, self._env.action_size, self._model.feature_size)
        self._discriminator = new_discriminator(config, self._env.action_size, self._model.feature_size)

    def __call__(self, begun: Begun) -> Episode:
        """Store the episode, and hand it over."""
        index, weights = begun
        state = load(weights)
        judge = self._discriminator if any(name.startswith(JUDGE) for name in state) else None
        _acting(self._model, self._actor, judge).load_state_dict(state)
        rng = np.random.default_rng([self._config.train.seed, index])
        policy = FilteringPolicy(self._model, self._actor, PracticeNoise(self._config.policy, judge, rng))
        torch.manual_seed(int(rng.integers(2**63)))
        episode = practise(policy, self._config, self._env, index)
        # A worker may have died after writing and before it could say so.
        (self._staging / (episode_name(index) + SUFFIX)).unlink(missing_ok=True)
        write_episode(self._staging, episode, episode_name(index))
        return episode


def _acting(model: WorldModel, actor: Actor, judge: Discriminator | None) -> nn.ModuleDict:
    """The networks that act in practice, whose weights go to the workers; see `PracticeNoise` for the judge."""
    acting: dict[str, nn.Module] = {"model": model, "actor": actor}
    return nn.ModuleDict(acting if judge is None else acting | {JUDGE: judge})
