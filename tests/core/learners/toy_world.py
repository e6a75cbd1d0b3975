"""A world for tests of the training loop, in a module that a worker's process can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from vmail_core.episodes.episode import Episode


class Dot:
    """A bright square that the action moves. Rewards are whatever the test says."""

    action_size = 2
    control_period = 0.1
    main_score = "radians"

    def __init__(self, reward_seed: int = 0, joint_count: int = 0) -> None:
        self._rewards, self.joint_count = np.random.default_rng(reward_seed), joint_count

    @property
    def joint_positions(self) -> np.ndarray | None:
        return np.resize(self._place / 28.0, self.joint_count).astype(np.float32) if self.joint_count else None

    def reset(self, seed: int) -> np.ndarray:
        self._place, self._steps = np.random.default_rng(seed).uniform(4, 24, 2), 0
        return self._picture()

    def step(self, action: np.ndarray) -> SimpleNamespace:
        self._place = np.clip(self._place + 2 * action, 0, 27)
        self._steps += 1
        reward, last = float(self._rewards.normal()), self._steps == 8
        return SimpleNamespace(image=self._picture(), reward=reward, last=last, ended=False)

    def score(self) -> dict[str, float]:
        return {"radians": float(self._place[0])}

    def large_picture(self, size: int) -> np.ndarray:
        return np.zeros((size, size, 3), np.uint8)

    def _picture(self) -> np.ndarray:
        image = np.zeros((32, 32, 3), np.uint8)
        row, column = self._place.astype(int)
        image[row : row + 5, column : column + 5] = 255
        return image


class Faulty(Dot):
    """Goes wrong in chosen episodes: at each try the next of `faults[seed]`, until there are none."""

    def __init__(self, faults: dict[int, list[str]], tries: Path) -> None:
        super().__init__()
        self._faults, self._tries = faults, tries

    def reset(self, seed: int) -> np.ndarray:
        with (self._tries / str(seed)).open("a") as file:
            file.write(".")
            file.flush()
            fault = self._faults.get(seed, [])[file.tell() - 1 : file.tell()]
        if fault == ["killed"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == ["raises"]:
            raise ValueError("the valve came off")
        return super().reset(seed)


class Brief(Dot):
    """Is over after two steps: the task `ends`, or its time is out."""

    def __init__(self, ends: bool) -> None:
        super().__init__()
        self._ends = ends

    def step(self, action: np.ndarray) -> SimpleNamespace:
        step = super().step(action)
        step.last = self._steps == 2
        step.ended = self._ends and step.last
        return step


class Slow(Dot):
    """Takes its time, so that a kill comes in the middle of an episode."""

    def step(self, action: np.ndarray) -> SimpleNamespace:
        time.sleep(0.05)
        return super().step(action)


def demos(joint_count: int = 0) -> list[Episode]:
    world, episodes = Dot(joint_count=joint_count), []
    for seed in range(2):
        images, actions = [world.reset(seed)], [np.zeros(2, np.float32)]
        joints = [world.joint_positions]
        for _ in range(8):
            actions.append(np.array([0.5, 0.0], np.float32))
            images.append(world.step(actions[-1]).image)
            joints.append(world.joint_positions)
        known = np.stack(joints) if joint_count else None
        episodes.append(Episode(np.stack(images), np.stack(actions), 0.1 * np.arange(9.0), known))
    return episodes
