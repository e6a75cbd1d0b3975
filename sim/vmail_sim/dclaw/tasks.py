"""V-MAIL's valve tasks: turn a 3- or 4-prong valve either way."""

from __future__ import annotations

from typing import Any

import numpy as np

from vmail_core.robot import RobotInterface, load_robot
from vmail_sim.dclaw import rewards, valve
from vmail_sim.dclaw.base import ClawTask
from vmail_sim.dclaw.physics import ValvePhysics, make_physics
from vmail_sim.dclaw.randomisation import Randomisation
from vmail_sim.hand import HandEnvironment

EPISODE_STEPS = 80
SUBSTEPS = 40  # of 2.5 ms: 10 Hz


class ValveTurning(ClawTask):
    """Turn the valve as fast as it goes, in one direction, without straying far from the rest pose."""

    main_score = "radians"

    def __init__(
        self,
        robot: RobotInterface,
        direction: int,
        prongs: int,
        randomisation: Randomisation,
        starts: str = "wide",
        kick: str = "none",
        pixels: int | None = 64,
        seed: int | None = None,
    ) -> None:
        """A task for a valve with so many prongs; for the options see `valve` and `ClawTask`."""
        super().__init__(robot, randomisation, pixels, seed)
        self.direction, self.prongs = direction, prongs
        self._starts = valve.require("starts", starts, valve.STARTS)
        self._kick = valve.require("kick", kick, valve.KICKS)
        self._step = 0
        self._kick_step = -1
        self._start_angle = 0.0

    def initialize_episode(self, physics: ValvePhysics) -> None:
        """Place claw and valve; see `valve.draw_start`."""
        start = valve.draw_start(self.random, self.robot.rest, self._starts)
        if self._kick != "none":
            self._kick_step = int(self.random.randint(EPISODE_STEPS // 3, 2 * EPISODE_STEPS // 3))
        self.draw_claw(physics)
        physics.set_claw_and_valve(*start)
        self._step = 0
        self._start_angle = physics.valve_angle()

    def before_step(self, action: np.ndarray, physics: ValvePhysics) -> None:
        """Act, after a kick where one is due."""
        if self._step == self._kick_step:
            valve.kick(physics, self.random, self._kick, self.direction)
        super().before_step(action, physics)
        self._step += 1

    def state(self, physics: ValvePhysics) -> np.ndarray:
        """(30,) float32 for state-feedback experts; see `valve.valve_state`."""
        return valve.valve_state(
            self.prongs,
            physics.joint_positions(),
            physics.joint_velocities(),
            physics.valve_angle(),
            physics.valve_velocity(),
            self._last_action,
        )

    def score(self, physics: ValvePhysics) -> dict[str, float]:
        """How far the valve was turned the wanted way in this episode."""
        return {"radians": self.direction * (physics.valve_angle() - self._start_angle)}

    def get_observation(self, physics: ValvePhysics) -> dict[str, Any]:
        """As every claw's, and the valve's angle."""
        return super().get_observation(physics) | {"valve_angle": np.float64(physics.valve_angle())}

    def get_reward(self, physics: ValvePhysics) -> float:
        """V-MAIL's claw reward of the present state."""
        return rewards.valve_turning(
            physics.joint_positions(),
            physics.joint_velocities(),
            self.robot.rest,
            physics.valve_velocity(),
            self.direction,
        )


def valve_turning(
    name: str,
    pixels: int | None = 64,
    seed: int | None = None,
    starts: str = "wide",
    kick: str = "none",
    dynamics: str = "fixed",
    look: str = "plain",
    lateness: str = "none",
) -> HandEnvironment:
    """Build `dclaw_valve{3,4}_{ccw,cw}`; for the options see `ValveTurning` and `Randomisation`."""
    prongs, direction = valve.parse_task(name)
    physics, randomisation = make_physics(prongs), Randomisation(dynamics, look, lateness)
    task = ValveTurning(load_robot("dclaw"), direction, prongs, randomisation, starts, kick, pixels, seed)
    return HandEnvironment(physics, task, n_sub_steps=SUBSTEPS, time_limit=EPISODE_STEPS * SUBSTEPS * 0.0025)
