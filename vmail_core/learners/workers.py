"""Practice in processes of their own while the learner learns, with the same result however fast they are.

An episode is begun with the weights of a fixed update and joins replay at a fixed later one, where the learner waits if
it is late. Its noise belongs to the run's seed and its number alone. So nothing depends on timing, on which worker
collected it, or on how often: a worker that dies is replaced, and a run that was killed begins its episodes again from
the weights in its checkpoint.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import SUFFIX, read_episode, write_episode
from vmail_core.learners.acting import FilteringPolicy, PracticeNoise, new_actor, new_discriminator, new_model
from vmail_core.learners.collect import VisualEnv
from vmail_core.learners.config import Config
from vmail_core.learners.practice import episode_name, practice_seed, practise
from vmail_core.learners.run_folder import RunFolder, writing
from vmail_core.learners.vmail import VMAIL
from vmail_core.models import Actor, Discriminator, WorldModel

ATTEMPTS = 3
# A worker that has finished finds its next episode waiting, so a single one has two as well.
LEAST_AHEAD = 2
JUDGE = "discriminator"

MakeEnv = Callable[[], VisualEnv]


class Workers:
    """A `Collector` whose episodes are collected by `train.workers` processes, a fixed number of episodes ahead."""

    def __init__(self, learner: VMAIL, make_env: MakeEnv, folder: RunFolder) -> None:
        """Start nothing yet.

        Args:
            learner: whose weights act, as they are when an episode is begun.
            make_env: makes a worker's environment; it is pickled.
            folder: the run's.
        """
        self._learner, self._make_env, self._folder = learner, make_env, folder
        count = learner.config.train.workers
        self._ahead = max(LEAST_AHEAD, count)
        self._staging = folder.path / "practice.new"
        self._begun: dict[int, tuple[bytes, Future[None]]] = {}
        self._to_begin_again: dict[int, bytes] = {}
        # A thread minds each worker. It does nothing but wait, so it takes no time from the learner.
        self._threads = ThreadPoolExecutor(count, "practice")
        self._minded = threading.local()
        self._running: set[_Worker] = set()
        self._lock = threading.Lock()  # over `_running` and `_closed`
        self._closed = False

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
                self._begun[later] = weights, self._threads.submit(self._see_through, later, weights)
        self._begun[index][1].result()
        name = episode_name(index) + SUFFIX
        with writing(self._folder.path):
            self._folder.practice.mkdir(exist_ok=True)
            path = (self._staging / name).rename(self._folder.practice / name)
        del self._begun[index]
        return read_episode(path)

    def begun(self) -> dict[int, bytes]:
        """See `Collector`."""
        return self._to_begin_again | {index: weights for index, (weights, _) in self._begun.items()}

    def resume(self, begun: dict[int, bytes]) -> None:
        """See `Collector`."""
        self._to_begin_again = begun

    def close(self) -> None:
        """End all workers at once; what they had begun is lost, and begun again by a run that resumes."""
        with self._lock:
            self._closed = True
            for worker in self._running:
                worker.end()
        self._threads.shutdown(cancel_futures=True)
        shutil.rmtree(self._staging, ignore_errors=True)

    def _see_through(self, index: int, weights: bytes) -> None:
        """In a thread: until the episode lies in the staging folder."""
        for _ in range(ATTEMPTS):
            worker = self._my_worker()
            trouble = worker.collect(index, weights)
            if trouble is None:
                return
            with self._lock:
                worker.end()
                self._running.discard(worker)
                if not self._closed:
                    warnings.warn(f"practice episode {index} failed in a worker, with {trouble}", stacklevel=1)
            del self._minded.worker
        task, seed = self._learner.config.task, practice_seed(self._learner.config, index)
        raise RuntimeError(
            f"practice episode {index} of {task} (seed {seed}) failed {ATTEMPTS} times in a worker, at last with "
            f"{trouble}. Remove the cause, then start the same command again: the run goes on from its last checkpoint"
        )

    def _my_worker(self) -> _Worker:
        """The worker that this thread minds, a new one if it has none."""
        if not hasattr(self._minded, "worker"):
            with self._lock:
                if self._closed:
                    raise RuntimeError("workers that are closed collect no more episodes")
                self._minded.worker = _Worker(self._learner.config, self._make_env, self._staging)
                self._running.add(self._minded.worker)
        return self._minded.worker


class _Worker:
    """A worker as its parent sees it."""

    _book = threading.Lock()  # multiprocessing keeps a list of its processes, which is not made for threads

    def __init__(self, config: Config, make_env: MakeEnv, staging: Path) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's and GL's locks in unknown states
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_work, args=(far_end, config, make_env, staging), daemon=True)
        with self._book, interrupts_blocked():
            self._process.start()
        far_end.close()  # the worker has it now, so the pipe ends with the worker

    def collect(self, index: int, weights: bytes) -> str | None:
        """Wait for an episode; None when it is stored, or what went wrong, after which the worker is of no more use."""
        try:
            self._pipe.send((index, weights))
            return self._pipe.recv()
        except (EOFError, OSError):
            return self.end()

    def end(self) -> str:
        """End the process, which has nothing to save, unless it has ended; returns how it ended."""
        with self._book:
            self._process.kill()
            self._process.join()
            code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "its process killed (SIGKILL), as the system does when memory runs out: `dmesg` tells"
        return f"its process ended with exit code {code}"


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes that this thread starts inside never see Ctrl-C.

    It goes to all of a terminal's processes, but what it means is their parent's to decide. They inherit the mask, so
    it holds from their first instruction on.
    """
    resource_tracker.ensure_running()  # multiprocessing would start it inside, and that lifts the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(pipe: Connection, config: Config, make_env: MakeEnv, staging: Path) -> None:
    """A worker's life: takes (number, weights) and answers with None or what went wrong, after which it ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        # First of all take what the parent sends: it would not hear of trouble while it is still sending.
        index, weights = pipe.recv()
        env = make_env()
        # Not the whole learner: its optimisers take seconds to import.
        model = new_model(config, env.action_size, env.joint_count)
        actor = new_actor(config, env.action_size, model.feature_size)
        discriminator = new_discriminator(config, env.action_size, model.feature_size)
        while True:
            state = load(weights)
            judge = discriminator if any(name.startswith(JUDGE) for name in state) else None
            _acting(model, actor, judge).load_state_dict(state)
            rng = np.random.default_rng([config.train.seed, index])
            policy = FilteringPolicy(model, actor, PracticeNoise(config.policy, judge, rng))
            _collect(policy, config, env, index, rng, staging)
            pipe.send(None)
            index, weights = pipe.recv()
    except (EOFError, ConnectionError):
        return  # the parent is gone
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        last_line = traceback.format_exception_only(error)[-1].strip()
        pipe.send(f"{last_line} ({Path(place.filename).name}, line {place.lineno}, in {place.name})")


def _end_with_parent() -> None:
    """However the parent ends, be it by SIGKILL in the middle of an episode."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _acting(model: WorldModel, actor: Actor, judge: Discriminator | None) -> nn.ModuleDict:
    """The networks that act in practice, whose weights go to the workers; see `PracticeNoise` for the judge."""
    acting: dict[str, nn.Module] = {"model": model, "actor": actor}
    return nn.ModuleDict(acting if judge is None else acting | {JUDGE: judge})


def _collect(
    policy: FilteringPolicy, config: Config, env: VisualEnv, index: int, rng: np.random.Generator, staging: Path
) -> None:
    torch.manual_seed(int(rng.integers(2**63)))
    episode = practise(policy, config, env, index)
    # A worker may have died after writing and before it could say so.
    (staging / (episode_name(index) + SUFFIX)).unlink(missing_ok=True)
    write_episode(staging, episode, episode_name(index))
