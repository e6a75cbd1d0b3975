"""What all tasks of the D'Claw share: the robot's actions, what is observed, and the claw of the episode."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from dm_control.rl import control
from dm_control.suite import base
from dm_env import specs

from vmail_core.robot import RobotInterface
from vmail_sim.dclaw.physics import ClawPhysics
from vmail_sim.dclaw.randomisation import Randomisation, Randomiser
from vmail_sim.world import observe


class ClawTask(base.Task, abc.ABC):
    """Nine joints are told where to go by normalised actions, as the real driver tells them."""

    main_score: str

    def __init__(
        self, robot: RobotInterface, randomisation: Randomisation, pixels: int | None, seed: int | None
    ) -> None:
        """`pixels` is the side of the square camera image, None leaves pictures out of observations."""
        super().__init__(random=seed)
        self.robot = robot
        self._randomisation, self._pixels = randomisation, pixels
        self._randomiser: Randomiser | None = None
        self._late_by = 0
        self._last_action = np.zeros(robot.action_size, np.float32)

    def reseed(self, seed: int) -> None:
        """Draw all that comes from `seed`: the same seed, the same episode."""
        self._random = np.random.RandomState(seed)

    def action_spec(self, physics: ClawPhysics) -> specs.BoundedArray:
        """Normalised actions: (9,) float32 in [-1, 1]."""
        return specs.BoundedArray((self.robot.action_size,), np.float32, -1.0, 1.0, name="action")

    def draw_claw(self, physics: ClawPhysics) -> None:
        """Make the claw of the episode that begins, before it is placed."""
        if self._randomiser is None:
            self._randomiser = Randomiser(physics, self._randomisation)
        self._late_by = self._randomiser.draw(self.random)
        self._last_action[:] = 0.0

    def before_step(self, action: np.ndarray, physics: ClawPhysics) -> None:
        """Send the servos where the normalised action asks, exactly as the real driver does."""
        physics.command(self.robot.joint_targets(action, physics.joint_positions()), self._late_by)
        self._last_action[:] = action

    @abc.abstractmethod
    def state(self, physics: ClawPhysics) -> np.ndarray:
        """(S,) float32 for state-feedback experts."""

    def get_observation(self, physics: ClawPhysics) -> dict[str, Any]:
        """The camera picture `image` (P, P, 3) uint8, `state` (S,) and joint angles (9,) rad."""
        return observe(physics.picture, self._pixels, self.state(physics), physics.joint_positions())

    @abc.abstractmethod
    def score(self, physics: ClawPhysics) -> dict[str, float]:
        """What the episode achieved so far."""


class ClawEnvironment(control.Environment):
    """A task of the claw as a `vmail_sim.world.World`."""

    @property
    def main_score(self) -> str:
        """See `World`."""
        return self.task.main_score

    @property
    def joint_count(self) -> int:
        """See `World`."""
        return len(self.task.robot.joint_names)

    def reseed(self, seed: int) -> None:
        """See `World`."""
        self.task.reseed(seed)

    def picture(self, height: int, width: int) -> np.ndarray:
        """See `World`."""
        return self.physics.picture(height, width)

    def score(self) -> dict[str, float]:
        """See `World`."""
        return self.task.score(self.physics)
