"""`vmail train` and `vmail eval`: a run of the learner with something to look at while it works."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vmail.training_display import TrainingDisplay
from vmail_core.durable import replace_file
from vmail_core.episodes import Episode, load_episodes
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.learners.collect import VisualEnv
from vmail_core.learners.config import Config, load_config
from vmail_core.learners.evaluate import TEST_SEED, evaluate, summarise
from vmail_core.learners.memory import keep_freed_memory
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.train import Progress, Trainer, write_video
from vmail_core.learners.vmail import VMAIL
from vmail_core.path_lock import PathLock
from vmail_sim.visual import VisualTask

GRID_PIXELS = 160
FILMED = 10  # starts; more would fill the memory with frames


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How far a run came: `finished` is false when it was interrupted and can go on."""

    run: Path
    progress: Progress
    finished: bool


def train(
    preset: str | Path,
    demos_dir: str | Path,
    run_dir: str | Path,
    overrides: dict[str, Any] | None = None,
    minutes: float | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Begin a run, or go on with the one that the folder holds. The first Ctrl-C saves and ends it, a second at once.

    Args:
        preset: name of a preset ("fast/dclaw_cpu") or a YAML file.
        demos_dir: folder of the demonstrations' episodes.
        run_dir: the run's folder.
        overrides: dotted settings that replace the preset's ({"train.seed": 1}).
        minutes: time limit of learning; evaluations come on top. By default the preset's.
        console: where progress is shown.

    Raises:
        FileNotFoundError: unknown preset, or no demonstrations.
        ValueError: unknown setting, or the folder holds a run with other settings.
    """
    overrides = dict(overrides or {}) | ({} if minutes is None else {"train.minutes": minutes})
    config = load_config(preset, overrides)
    return train_config(config, load_episodes(demos_dir), run_dir, console or Console())


def train_config(
    config: Config,
    demos: Sequence[Episode],
    run_dir: str | Path,
    console: Console,
    make_env: Callable[[], VisualEnv] | None = None,
) -> TrainResult:
    """`train` with a config and episodes in hand, by default in the simulator of the config's task.

    Raises:
        FileExistsError: another process learns in that folder.
    """
    keep_freed_memory()
    if make_env is None:
        make_env = functools.partial(VisualTask, config.task, config.model.image_size, **config.task_options)
    with PathLock(Path(run_dir), f"another process learns in {run_dir}: wait for it, or choose another folder"):
        return _train(config, demos, run_dir, console, make_env)


def _train(
    config: Config, demos: Sequence[Episode], run_dir: str | Path, console: Console, make_env: Callable[[], VisualEnv]
) -> TrainResult:
    trainer = Trainer(config, demos, make_env(), run_dir, make_env=make_env)
    for remark in trainer.left_out:
        console.print(remark)
    if trainer.progress.update:
        console.print(f"going on with {run_dir} from update {trainer.progress.update}")
    display = TrainingDisplay(trainer, console)
    trainer.report = display.report
    with _interrupt_stops(trainer, console), display:
        trainer.run()
    if not trainer.done:
        console.print(f"saved at update {trainer.progress.update}; the same command goes on from there")
    return TrainResult(Path(run_dir), trainer.progress, trainer.done)


@contextlib.contextmanager
def _interrupt_stops(trainer: Trainer, console: Console) -> Iterator[None]:
    """While open, the first SIGINT or SIGTERM asks for a checkpoint and an end; the next one ends at once."""

    def on_signal(number: int, frame: Any) -> None:
        restore()
        trainer.stop()
        console.print("stopping after the updates in progress, with a checkpoint; again to stop at once")

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    try:
        yield
    finally:
        restore()


def evaluate_run(
    run: str | Path,
    episodes: int = 10,
    out: str | Path | None = None,
    kick: str = "none",
    seed: int = TEST_SEED,
) -> dict[str, Any]:
    """Score a run's last checkpoint in the bare simulator, without exploration.

    Args:
        run: the run's folder.
        episodes: starts, the same for every run.
        out: folder for `scores.json` and `episodes.mp4`, which shows the first ten; by default the run's `evaluation`.
        kick: "none", or what is disturbed in mid-episode: "valve", "claw" or "both".
        seed: of the first start; the next is one higher.

    Returns:
        What `scores.json` holds: the scores of each start, their mean and least, and where they come from.
    """
    folder = RunFolder(Path(run))
    config = folder.config()
    options = config.task_options | ({} if kick == "none" else {"kick": kick})
    env = VisualTask(config.task, config.model.image_size, **options)
    policy = deployed_policy(folder, env)
    began = time.monotonic()
    frames: list[list[np.ndarray]] = [[] for _ in range(min(episodes, FILMED))]

    def watch(episode: int, watched: VisualEnv) -> None:
        if episode < FILMED:
            frames[episode].append(watched.large_picture(GRID_PIXELS))

    scores = evaluate(policy, env, episodes, seed, watch)
    result = {
        "run": str(run),
        "task": config.task,
        "kick": kick,
        "first_seed": seed,
        "scores": scores,
        "summary": summarise(scores),
        "seconds": round(time.monotonic() - began, 1),
    }
    out = Path(out) if out is not None else folder.path / "evaluation"
    write_video(out / "episodes.mp4", grid(frames), 1.0 / env.control_period)
    replace_file(out / "scores.json", json.dumps(result, indent=1) + "\n")
    return result


def deployed_policy(folder: RunFolder, env: VisualEnv) -> FilteringPolicy:
    """The policy of a run's last checkpoint, as it is scored and exported; see `RunFolder.load_networks` for errors."""
    learner = VMAIL(folder.config(), env.action_size, env.joint_count)
    folder.load_networks(learner)
    return FilteringPolicy(*learner.deployed)


def grid(episodes: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Frames (T, S, S, 3) of each of N episodes side by side, in up to five columns; empty cells stay white."""
    columns = min(5, len(episodes))
    rows = -(-len(episodes) // columns)
    longest = max(len(frames) for frames in episodes)
    size = episodes[0][0].shape[0]
    pictures = []
    for step in range(longest):
        picture = np.full((rows * size, columns * size, 3), 255, np.uint8)
        for index, frames in enumerate(episodes):
            row, column = divmod(index, columns)
            cell = frames[min(step, len(frames) - 1)]
            picture[row * size : (row + 1) * size, column * size : (column + 1) * size] = cell
        pictures.append(picture)
    return pictures
