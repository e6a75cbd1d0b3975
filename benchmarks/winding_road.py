"""A tiny task from pictures: a ball rolls along a winding road by itself, the action steers it.

It is learned in a minute, so tests and `ablation_study.py` use it.

Demonstrations start on the road and never leave it, so they never show how to get back. Practice and scoring start
beside it: there a copy of the expert's steering runs along the bends, beside the road, and never comes back.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.learners.collect import rollout

PRESET = Path(__file__).with_suffix(".yaml")
SIZE = 32  # px of the picture; lengths below are in px, too
STEPS = 32  # of an episode; the ball rolls one px a step, so it comes round once
STEER = 2.0  # the ball's largest step to either side
BEND = 2.5  # of the road to either side
HALF_WIDTH = 1.5  # of the road
BESIDE = (6.0, 9.0)  # how far from the road's middle episodes start, to either side
EDGE = 3.0  # the ball stays as far from the upper and lower edge
BALL = 4.0  # its size
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(np.float32)


def middle(column: Any) -> Any:
    """The row of the road's middle at a column, both in px."""
    return (SIZE - 1) / 2 + BEND * np.sin(2.0 * np.pi * column / SIZE)


ROAD = 0.25 * np.exp(-0.5 * (ROWS - middle(COLUMNS)) ** 2)  # its brightness, (S, S) in [0, 1]


class WindingRoad:
    """The task as a `VisualEnv`: one action, pictures of 32 px, scored by the share of steps that end on the road."""

    action_size = 1
    joint_count = 0
    control_period = 0.1
    joint_positions = None
    main_score = "on_road"

    def __init__(self, beside: bool = True) -> None:
        """Episodes start beside the road, or, for demonstrations, within half a px of its middle."""
        self._beside = beside

    def reset(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        self.column = rng.uniform(0.0, SIZE)
        offset = rng.choice([-1.0, 1.0]) * rng.uniform(*BESIDE) if self._beside else rng.uniform(-0.5, 0.5)
        self.row = middle(self.column) + offset
        self._steps = self._steps_on_road = 0
        return self._picture()

    def step(self, action: np.ndarray) -> SimpleNamespace:
        self.row = float(np.clip(self.row + STEER * float(action[0]), EDGE, SIZE - 1 - EDGE))
        self.column = (self.column + 1.0) % SIZE
        self._steps += 1
        on_road = bool(abs(self.row - middle(self.column)) <= HALF_WIDTH)
        self._steps_on_road += on_road
        return SimpleNamespace(image=self._picture(), reward=float(on_road), last=self._steps == STEPS, ended=False)

    def score(self) -> dict[str, float]:
        return {"on_road": self._steps_on_road / STEPS}

    def large_picture(self, size: int) -> np.ndarray:
        nearest = np.arange(size) * SIZE // size
        return self._picture()[nearest][:, nearest]

    def _picture(self) -> np.ndarray:
        """A white road, and a soft red ball on it that leaves on the right and enters on the left."""
        along = np.abs(COLUMNS - self.column)
        along = np.minimum(along, SIZE - along)
        ball = np.exp(-0.5 * ((ROWS - self.row) ** 2 + along**2) / BALL**2)
        beneath = ROAD * (1.0 - ball)
        return (255.0 * np.stack([np.maximum(ROAD, ball), beneath, beneath], -1)).astype(np.uint8)


class Expert:
    """Steers to the middle of the road as fast as it can; unlike a learner it sees where things are."""

    def __init__(self, env: WindingRoad) -> None:
        self._env = env

    def reset(self) -> None:
        pass

    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        wanted = (middle(self._env.column + 1.0) - self._env.row) / STEER
        return np.clip([wanted], -1.0, 1.0).astype(np.float32)


def demonstrations(count: int, seed: int = 0) -> list[Episode]:
    """What the expert does on the road."""
    env = WindingRoad(beside=False)
    notes = {"source": "expert", "task": "winding_road"}
    return [rollout(Expert(env), env, 1000 * seed + index, notes)[0] for index in range(count)]
