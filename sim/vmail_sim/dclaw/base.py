"""What all tasks of the D'Claw share: the robot's actions and the claw of the episode."""

from __future__ import annotations

import numpy as np
from dm_env import specs

from vmail_core.robot import RobotInterface
from vmail_sim.dclaw.physics import ClawPhysics
from vmail_sim.dclaw.randomisation import Randomisation, Randomiser
from vmail_sim.hand import HandTask


class ClawTask(HandTask):
    """Nine joints are told where to go by normalised actions, as the real driver tells them."""

    def __init__(
        self, robot: RobotInterface, randomisation: Randomisation, pixels: int | None, seed: int | None
    ) -> None:
        """A task of the robot, with a claw that is drawn for each episode; for the rest see `HandTask`."""
        super().__init__(pixels, seed)
        self.robot, self._randomisation = robot, randomisation
        self._randomiser: Randomiser | None = None
        self._late_by = 0
        self._last_action = np.zeros(robot.action_size, np.float32)

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
