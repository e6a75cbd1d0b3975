"""Memory of a run: over 20,000 updates with replay that is full, and of 250,000 pictures of 64 px in replay.

    python benchmarks/memory.py [--preset debug] [--updates 20000] [--device cpu]

Practice goes on all the time, in a world of noise that costs nothing; its oldest episodes make room for new. Exits with
1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.replay import Replay
from vmail_core.learners.config import load_config
from vmail_core.learners.device import arrays_on, choose_device
from vmail_core.learners.memory import keep_freed_memory
from vmail_core.learners.train import Trainer

ROWS, PIXELS, STEPS = 250_000, 64, 500
MOST_GIB, MOST_GROWTH = 3.3e9 / 2**30, 0.02


class Noise:
    """A world of random pictures; an episode is `STEPS` steps of one picture."""

    action_size, joint_count, joint_positions = 9, 9, np.zeros(9, np.float32)
    control_period, main_score = 0.1, "nothing"

    def __init__(self, size: int, steps: int) -> None:
        self._size, self._steps = size, steps

    def reset(self, seed: int) -> np.ndarray:
        self._left = self._steps
        self._image = np.random.default_rng(seed).integers(0, 256, (self._size, self._size, 3), np.uint8)
        return self._image

    def step(self, action: np.ndarray) -> SimpleNamespace:
        self._left -= 1
        return SimpleNamespace(image=self._image, reward=0.0, last=self._left == 0, ended=False)

    def score(self) -> dict[str, float]:
        return {"nothing": 0.0}

    def large_picture(self, size: int) -> np.ndarray:
        return np.zeros((size, size, 3), np.uint8)


def episode(rng: np.random.Generator, rows: int, pixels: int) -> Episode:
    """Noise in an episode's form."""
    action = rng.uniform(-1, 1, (rows, 9)).astype(np.float32)
    action[0] = 0.0
    image = rng.integers(0, 256, (rows, pixels, pixels, 3), np.uint8)
    return Episode(image, action, 0.1 * np.arange(rows), np.zeros((rows, 9), np.float32))


def in_use(device: torch.device) -> float:
    """GiB that this process holds at the moment, on the device that learns."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**30
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def over_a_run(preset: str, updates: int, device: torch.device) -> float:
    """Growth of memory from the first quarter of the run to its end, as a share; prints it on the way."""
    # Longer than what is looked at, for a run ends with a video of its policy.
    changes: dict[str, Any] = {"train.updates": 2 * updates, "train.eval_every": 2 * updates, "policy.warm_start": 0}
    changes |= {"train.capacity": 1000, "train.checkpoint_minutes": 1e9, "train.device": device.type}
    config, rng = load_config(preset, changes), np.random.default_rng(0)
    world = Noise(config.model.image_size, 2 * config.train.length)
    held: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        demos = [episode(rng, 3 * config.train.length, config.model.image_size)]
        trainer = Trainer(config, demos, world, Path(folder) / "run")
        while trainer.progress.update < updates:
            before = trainer.progress.update * 10 // updates
            trainer.advance()
            if trainer.progress.update * 10 // updates > before:
                held[trainer.progress.update] = in_use(device)
                print(
                    f"update {trainer.progress.update:>6}: {1024 * held[trainer.progress.update]:.0f} MiB", flush=True
                )
        trainer.collector.close()
        trainer.folder.close()
    settled = next(memory for update, memory in held.items() if update >= updates // 4)
    return list(held.values())[-1] / settled - 1.0


def of_replay(device: torch.device) -> float:
    """GiB that replay holds more when it is full."""
    rng, replay, before = np.random.default_rng(0), Replay(50, ROWS, arrays=arrays_on(device)), in_use(device)
    while replay.rows + STEPS <= ROWS:
        replay.add(episode(rng, STEPS, PIXELS))
    return in_use(device) - before


def main() -> int:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="debug")
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    keep_freed_memory()  # as `vmail train` does
    device = choose_device(arguments.device)
    growth, replay = over_a_run(arguments.preset, arguments.updates, device), of_replay(device)
    met = growth <= MOST_GROWTH and replay <= MOST_GIB
    print(f"{arguments.preset}, {device}: from a quarter of {arguments.updates} updates to the end {growth:+.1%}")
    print(f"replay of {ROWS} pictures of {PIXELS} px: {replay:.2f} GiB ({replay * 2**30 / ROWS:.0f} bytes each)")
    print(f"target: at most {MOST_GROWTH:+.0%} and {MOST_GIB:.2f} GiB (3.3 GB): {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
