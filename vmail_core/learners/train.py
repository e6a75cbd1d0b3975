"""The loop of Algorithm 1: collect, then learn from demonstrations and practice, until done.

Killed at any moment, it goes on from its last checkpoint when called again on the same folder.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as iio
import numpy as np
import torch

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.frames import at_size
from vmail_core.episodes.replay import Chunks, Replay, joint_batch, shared_demo_count, side_by_side
from vmail_core.episodes.store import list_episodes, read_episode
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.learners.collect import VisualEnv
from vmail_core.learners.config import Config
from vmail_core.learners.demonstrations import actions_digest, demo_name, interfaces_of, usable
from vmail_core.learners.device import arrays_on, choose_device, device_name, on_host
from vmail_core.learners.evaluate import evaluate, summarise
from vmail_core.learners.practice import Collector, Inline
from vmail_core.learners.prediction_pictures import prediction_video
from vmail_core.learners.run_folder import RunFolder, writing
from vmail_core.learners.scores import expert_score
from vmail_core.learners.vmail import VMAIL, SpoiltGradientError
from vmail_core.learners.workers import MakeEnv, Workers

VIDEO_PIXELS = 240
SHOWN_CHUNKS = 4  # in videos of predictions, half of them demonstrations
SHOWN_CONTEXT = 5  # pictures that the belief sees in them before the model foretells the rest


@dataclasses.dataclass
class Progress:
    """Where a run stands; what a checkpoint's state.json holds."""

    update: int = 0
    episodes: int = 0
    env_steps: int = 0
    seconds: float = 0.0


class _Batch(NamedTuple):
    """What an update learns from: chunks, how many of them the expert made, and more demonstrations for D."""

    chunks: Chunks
    demo_count: int
    expert: Chunks | None


class Trainer:
    """One run of Algorithm 1 in a folder."""

    def __init__(
        self,
        config: Config,
        demos: Sequence[Episode],
        env: VisualEnv,
        folder: str | Path,
        report: Callable[[Progress, dict[str, float]], None] | None = None,
        make_env: MakeEnv | None = None,
    ) -> None:
        """Begin a run in `folder`, or go on with the one that is there.

        Args:
            config: all choices; a folder begun with others is refused.
            demos: the expert's episodes, at any picture size.
            env: where the policy practises and is scored, with pictures of the model's size.
            folder: the run's folder.
            report: called with progress and metrics after every turn (see `advance`).
            make_env: makes the same environment in another process, for `train.workers`; it can be pickled.

        Raises:
            ValueError: no demonstrations, they do not fit config or environment (see `usable`), the folder holds a run
                with another config, or workers cannot be had.
        """
        if not demos:
            raise ValueError("no demonstrations to learn from: record some, or `vmail import BAG… --out DIR`")
        demos, self.left_out = usable(demos, config, env.action_size, env.joint_count)
        self.config, self.env, self.report = config, env, report
        self.progress = Progress()
        self.stage = "learning"  # what it does now, for a display: learning, practising, evaluating or saving
        self._stopping = False
        self._turn_began: float | None = None
        self.folder = RunFolder(Path(folder))
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        torch.manual_seed(config.train.seed)
        self.rng = np.random.default_rng(config.train.seed)
        device, length, from_start = choose_device(config.train.device), config.train.length, config.train.from_start
        self.demos = Replay(length, None, from_start, arrays_on(device))
        self.practice = Replay(length, config.train.capacity, from_start, arrays_on(device))
        for demo in demos:
            self.demos.add(at_size(demo, config.model.image_size))
        self.learner = VMAIL(config, env.action_size, env.joint_count, device)
        self.expert_score = expert_score(demos, env.main_score)
        self.collector = self._collector(make_env)
        self._resume_or_begin(demos)

    def _collector(self, make_env: MakeEnv | None) -> Collector:
        workers = self.config.train.workers
        if not workers:
            return Inline(self.learner, self.env, self.folder, self.rng)
        if make_env is None:
            raise ValueError(f"train.workers={workers} needs `make_env` for their environments: pass it, or set 0")
        return Workers(self.learner, make_env, self.folder)

    def _resume_or_begin(self, demos: Sequence[Episode]) -> None:
        if not self.folder.exists:
            self.folder.begin(
                self.config,
                [demo_name(demo) for demo in demos],
                self.env.main_score,
                device_name(self.learner.device),
                [actions_digest(demo) for demo in demos],
                interfaces_of(demos),
            )
            return
        if self.folder.config() != self.config:
            raise ValueError(f"{self.folder.path} holds a run with another config; choose another folder or remove it")
        self._check_same_demos(demos)
        if self.folder.checkpoint() is None:  # killed before its first one: it begins again
            self.folder.forget_after(-1)
        else:
            self.progress = Progress(**self.folder.load_checkpoint(self.learner, self.rng))
            self.folder.forget_after(self.progress.update)
        practised = list_episodes(self.folder.practice) if self.folder.practice.is_dir() else []
        if len(practised) < self.progress.episodes:
            raise ValueError(
                f"{self.folder.practice} holds {len(practised)} episodes, the checkpoint has learned from "
                f"{self.progress.episodes}: put the others back, or start a new run in another folder"
            )
        for index, path in enumerate(practised):
            if index < self.progress.episodes:
                self._keep(read_episode(path))
            else:
                path.unlink()  # collected after the checkpoint: it will be collected again
        self.collector.resume(self.folder.begun_practice())

    def _check_same_demos(self, demos: Sequence[Episode]) -> None:
        begun_with = self.folder.facts().get("demo_actions")  # runs of 0.1 did not note them
        if begun_with is not None and begun_with != [actions_digest(demo) for demo in demos]:
            raise ValueError(
                f"{self.folder.path} was begun with other demonstrations ({', '.join(self.folder.facts()['demos'])}): "
                "give the same ones, or choose another folder"
            )

    @property
    def done(self) -> bool:
        """Whether the run has used its updates or its time."""
        return self.elapsed >= 1.0

    @property
    def elapsed(self) -> float:
        """Share of the run's updates that are done, or of its minutes, whichever is nearer to the end: in [0, 1]."""
        train = self.config.train
        timed = 0.0 if train.minutes is None else self.seconds / (60.0 * train.minutes)
        return min(1.0, max(self.progress.update / train.updates, timed))

    @property
    def seconds(self) -> float:
        """Seconds spent on practice and learning, the turn in progress included; evaluations do not count."""
        began = self._turn_began  # a display asks from a thread of its own
        return self.progress.seconds + (0.0 if began is None else time.monotonic() - began)

    def stop(self) -> None:
        """End `run` soon: after the updates in progress, with a checkpoint to go on from. Safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Algorithm 1, to the end of the run's updates or time, or until `stop`."""
        saved = time.monotonic()
        with contextlib.closing(self.folder), contextlib.closing(self.collector):
            while not (self.done or self._stopping):
                self.advance()
                if time.monotonic() - saved > 60.0 * self.config.train.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
            self.save()

    def advance(self) -> None:
        """One turn of Algorithm 1's outer loop: the episodes that are due, then updates; at times an evaluation.

        Whoever calls it instead of `run` closes `collector` in the end.
        """
        train, before = self.config.train, self.progress.update
        began = self._turn_began = time.monotonic()
        metrics = self._collect() if self._episode_is_due() else {}
        if not self._episode_is_due():  # while practice is prefilled, a turn is an episode and no update
            left = (train.pretrain_updates - before) if before < train.pretrain_updates else train.updates_per_episode
            metrics |= self._learn(min(left, train.updates_per_episode, train.updates - before))
        self._turn_began = None
        self.progress.seconds += time.monotonic() - began
        if self.progress.update // train.eval_every > before // train.eval_every or self.done:
            metrics |= self.evaluate()  # for people to see: it costs the learner no time
        self._log(metrics)

    def _episode_is_due(self) -> bool:
        train, episodes = self.config.train, self.progress.episodes
        practised = self.progress.update - train.pretrain_updates
        allowed = train.prefill_episodes + practised // train.updates_per_episode
        # In whole episodes: where a task ends them early, there are as many steps for an update as anywhere else.
        made = self.progress.env_steps / train.episode_steps if train.episode_steps else episodes
        return episodes < train.prefill_episodes or (practised >= 0 and made <= allowed)

    def _collect(self) -> dict[str, float]:
        """Lines 4 to 9: one episode of practice."""
        self.stage = "practising"
        episode = self.collector.collect(self.progress.episodes)
        self._keep(episode)
        self.progress.episodes += 1
        self.progress.env_steps += episode.steps
        return {f"practice_{name}": value for name, value in episode.provenance["score"].items()}

    def _keep(self, episode: Episode) -> None:
        """Practice into replay."""
        self.practice.add(episode, ended=bool(episode.provenance.get("ended")))

    def _learn(self, updates: int) -> dict[str, float]:
        """Lines 10 to 19, `updates` times; returns the mean of each metric."""
        self.stage = "learning"
        totals: dict[str, torch.Tensor] = {}
        counts: collections.Counter[str] = collections.Counter()

        def add(metrics: dict[str, torch.Tensor], batch: _Batch, before: _Batch | None) -> None:
            try:
                self.learner.check_gradients(metrics)
            except SpoiltGradientError as error:
                spoilt = before if error.behind and before is not None else batch
                raise self._failed(spoilt, self.progress.update + 1 - error.behind, error) from error
            for name, value in metrics.items():
                totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value
                counts[name] += 1

        batches = (self._draw() for _ in range(updates))
        batch, before = next(batches, None), None
        try:
            while batch is not None:
                self.learner.scale_learning_rates(self._cooling)
                metrics = self.learner.begin_update(
                    batch.chunks.image,
                    batch.chunks.action,
                    batch.demo_count,
                    self._imitation_share,
                    batch.chunks.joint_positions,
                    batch.expert,
                )
                following = next(batches, None)  # a GPU learns in the meantime
                add(metrics, batch, before)
                self.progress.update += 1
                batch, before = following, batch
            if before is not None:
                add(self.learner.finish_update(), before, before)
        finally:
            with contextlib.suppress(Exception):  # after an error of another kind
                self.learner.finish_update()
        return {name: float(total) / counts[name] for name, total in totals.items()}

    def _draw(self) -> _Batch:
        """What the coming update learns from."""
        train, demo_count = self.config.train, self._demo_count()
        chunks = joint_batch(self.demos, self.practice, train.batch, demo_count, self.rng)
        expert = self.demos.sample(train.expert_batch, self.rng) if train.expert_batch else None
        return _Batch(chunks, demo_count, expert)

    def _failed(self, batch: _Batch, update: int, error: FloatingPointError) -> FloatingPointError:
        """Keep the batch that broke learning; returns the error that says where it is."""
        where = f"{self.folder.path}, update {update}"
        arrays = on_host(batch.chunks)._asdict()
        if batch.expert is not None:
            arrays |= {f"expert_{name}": array for name, array in on_host(batch.expert)._asdict().items()}
        kept = self.folder.save_batch(arrays)
        return FloatingPointError(
            f"{where}: {error}; the batch is kept in {kept}. Start a new run with a lower learning rate "
            "(model, discriminator or policy.learning_rate)"
        )

    @property
    def _cooling(self) -> float:
        """Share of the learning rates at the coming update: 1, and in the run's last part down to almost 0."""
        train, left = self.config.train, 1.0 - self.elapsed
        return min(1.0, left / train.cooldown) if train.cooldown else 1.0

    @property
    def _imitation_share(self) -> float:
        """Share of Eq. 8's weight at the coming update: 0 in the warm start, then up to 1 over the ramp."""
        policy = self.config.policy
        since = self.progress.update + 1 - policy.warm_start
        return min(max(0.0, since / max(1, policy.ramp)), 1.0)

    def _demo_count(self) -> int:
        """Chunks of a batch that the expert made: the first ones."""
        train = self.config.train
        if len(self.practice) == 0:
            return train.batch
        if train.demo_fraction is None:
            return shared_demo_count(self.demos, self.practice, train.batch)
        return max(1, round(train.batch * train.demo_fraction))

    def evaluate(self) -> dict[str, float]:
        """Score the deterministic policy; videos of its first start and of predictions go to the run's folder."""
        self.stage = "evaluating"
        policy = FilteringPolicy(*self.learner.deployed)
        frames: list[np.ndarray] = []

        def watch(episode: int, env: VisualEnv) -> None:
            if episode == 0:
                frames.append(env.large_picture(VIDEO_PIXELS))

        scores = evaluate(policy, self.env, self.config.train.eval_episodes, watch=watch)
        self._write_video(f"update_{self.progress.update:07d}.mp4", frames)
        self._show_predictions()
        return summarise(scores)

    def _show_predictions(self) -> None:
        """A video of what the model foretells of the same chunks each time, of demonstrations and the oldest practice.

        It draws nothing from the learner's random states, so learning goes on as if nobody had looked.
        """
        own = min(SHOWN_CHUNKS // 2, len(self.practice))
        shown = self.demos.oldest(SHOWN_CHUNKS - own, np.random.default_rng(0))
        names = ["demonstration"] * shown.action.shape[1] + ["practice"] * own
        if own:
            shown = side_by_side(shown, self.practice.oldest(own, np.random.default_rng(0)), self.demos.arrays)
        shown = on_host(shown)
        context = min(SHOWN_CONTEXT, self.config.train.length // 2)
        frames = prediction_video(
            self.learner.deployed[0], shown.image, shown.action, names, context, shown.joint_positions
        )
        self._write_video(f"prediction_{self.progress.update:07d}.mp4", frames)

    def _write_video(self, name: str, frames: Sequence[np.ndarray]) -> None:
        with writing(self.folder.path):
            write_video(self.folder.videos / name, frames, 1.0 / self.env.control_period)

    def _log(self, metrics: dict[str, float]) -> None:
        rate = {"seconds": self.progress.seconds, "env_steps": float(self.progress.env_steps)}
        self.folder.log(self.progress.update, metrics | rate)
        if self.report is not None:
            self.report(self.progress, metrics)

    def save(self) -> None:
        """Write a checkpoint that `run` on the same folder goes on from."""
        self.stage = "saving"
        progress = dataclasses.asdict(self.progress)
        begun = {} if self.done else self.collector.begun()  # a run that is done never wants them
        self.folder.save_checkpoint(self.learner, progress, self.rng, begun)


def write_video(path: Path, frames: Sequence[np.ndarray], rate: float) -> None:
    """Frames (H, W, 3) uint8 to an MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, np.stack([np.ascontiguousarray(f) for f in frames]), fps=rate, codec="libx264", plugin="pyav")
