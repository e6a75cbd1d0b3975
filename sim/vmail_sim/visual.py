"""A task as the learner sees it: a picture in, an action out, and a score that learning never sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import vmail_sim
from vmail_core.episodes.frames import resize_frame
from vmail_sim.rendering import check_plausible
from vmail_sim.world import World

CAMERA_SIZE = 64


class Step(NamedTuple):
    """What one control step brings: image (S, S, 3) uint8, the task's reward, and whether the episode is over.

    `ended` tells an end of the task itself (a lap finished, a ball dropped) from time that ran out.
    """

    image: np.ndarray
    reward: float
    last: bool
    ended: bool


class VisualTask:
    """A registered task with pictures of one size, rendered at the camera's size and resized once."""

    def __init__(self, task: str, image_size: int, camera_size: int | None = None, **options: Any) -> None:
        """`options` go to the task (starts of a hand, kick of a claw, look of a suite task, indicators of the car).

        `camera_size` is by default 64, as a robot's, or more where larger pictures are asked for.
        """
        reserved = sorted({"pixels", "seed"} & set(options))
        if reserved:
            raise ValueError(f"{reserved[0]} of task {task} is no option: picture size and resets set it")
        self.task, self.options, self._image_size = task, options, image_size
        self.env: World = vmail_sim.load(task, pixels=camera_size or max(CAMERA_SIZE, image_size), **options)
        self.action_size = self.env.action_spec().shape[0]
        self.joint_count = self.env.joint_count
        self.control_period = self.env.control_timestep()
        self.main_score = self.env.main_score
        self._timestep: Any = None
        self._return = 0.0

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode that belongs to `seed`; returns its first picture."""
        self.env.reseed(seed)
        self._timestep = self.env.reset()
        self._return = 0.0
        check_plausible(self._timestep.observation["image"], self.task)
        return self._picture()

    def step(self, action: np.ndarray) -> Step:
        """One control step with a normalised action (A,) float32."""
        self._timestep = timestep = self.env.step(action)
        self._return += timestep.reward
        ended = timestep.last() and timestep.discount == 0.0
        return Step(self._picture(), float(timestep.reward), timestep.last(), ended)

    def _picture(self) -> np.ndarray:
        return resize_frame(self._timestep.observation["image"], (self._image_size, self._image_size))

    @property
    def state(self) -> np.ndarray:
        """The full state that experts and full-state clones use."""
        return self._timestep.observation["state"]

    @property
    def joint_positions(self) -> np.ndarray | None:
        """(J,) float32 rad, where the task has a robot with joints to read."""
        found = self._timestep.observation.get("joint_positions")
        return None if found is None else found.astype(np.float32)

    def score(self) -> dict[str, float]:
        """Of the episode so far: what the task counts, and its return."""
        return {**self.env.score(), "return": self._return}

    def large_picture(self, size: int = 240) -> np.ndarray:
        """The same view for people, (size, size, 3) uint8."""
        return self.env.picture(size, size)
