"""The valve tasks: turn a 3- or 4-prong valve either way (V-MAIL), or follow a moving target (ROBEL Screw)."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
from dm_control.rl import control
from dm_control.suite import base
from dm_env import specs

from vmail_core.robot import RobotSpec, load_robot
from vmail_sim.dclaw import rewards, valve
from vmail_sim.dclaw.physics import Physics, make_physics

EPISODE_STEPS = 80
SUBSTEPS = 40  # of 2.5 ms: 10 Hz
SCREW_SPEED = 0.5  # rad/s, ROBEL's DClawScrewFixed


class ValveTurning(base.Task):
    """Turn the valve as fast as it goes, in one direction, without straying far from the rest pose."""

    main_score = "radians"

    def __init__(
        self,
        robot: RobotSpec,
        direction: int,
        prongs: int,
        starts: str = "wide",
        kick: str = "none",
        pixels: int | None = 64,
        seed: int | None = None,
    ) -> None:
        """A task; `pixels` is the side of the square camera image, None leaves pixels out of observations."""
        super().__init__(random=seed)
        self.robot, self.direction, self.prongs = robot, direction, prongs
        self._starts = valve.require("starts", starts, valve.STARTS)
        self._kick = valve.require("kick", kick, valve.KICKS)
        self._pixels = pixels
        self._last_action = np.zeros(robot.action_size, np.float32)
        self._step = 0
        self._kick_step = -1
        self._start_angle = 0.0

    def reseed(self, seed: int) -> None:
        """Draw the coming starts and kicks from `seed`: the same seed, the same episode."""
        self._random = np.random.RandomState(seed)

    def action_spec(self, physics: Physics) -> specs.BoundedArray:
        """Normalised actions: (9,) float32 in [-1, 1]."""
        return specs.BoundedArray((self.robot.action_size,), np.float32, -1.0, 1.0, name="action")

    def initialize_episode(self, physics: Physics) -> None:
        """Place claw and valve; see `valve.draw_start`."""
        physics.set_claw_and_valve(*valve.draw_start(self.random, self.robot.rest, self._starts))
        self._last_action[:] = 0.0
        self._step = 0
        self._start_angle = physics.valve_angle()
        if self._kick != "none":
            self._kick_step = int(self.random.randint(EPISODE_STEPS // 3, 2 * EPISODE_STEPS // 3))

    def before_step(self, action: np.ndarray, physics: Physics) -> None:
        """Send the servos where the normalised action asks, exactly as the real driver does."""
        if self._step == self._kick_step:
            valve.kick(physics, self.random, self._kick, self.direction)
        physics.set_control(self.robot.joint_targets(action, physics.joint_positions()))
        self._last_action[:] = action
        self._step += 1

    def state(self, physics: Physics) -> np.ndarray:
        """(30,) float32 for state-feedback experts; see `valve.valve_state`."""
        return valve.valve_state(
            self.prongs,
            physics.joint_positions(),
            physics.joint_velocities(),
            physics.valve_angle(),
            physics.valve_velocity(),
            self._last_action,
        )

    def radians_turned(self, physics: Physics) -> float:
        """How far the valve was turned the wanted way in this episode."""
        return self.direction * (physics.valve_angle() - self._start_angle)

    def get_observation(self, physics: Physics) -> dict[str, Any]:
        """The camera picture `image` (S, S, 3) uint8, `state` (30,), joint angles and the valve's angle."""
        observation: dict[str, Any] = collections.OrderedDict()
        if self._pixels is not None:
            observation["image"] = physics.picture(self._pixels, self._pixels)
        observation["state"] = self.state(physics)
        observation["joint_positions"] = physics.joint_positions()
        observation["valve_angle"] = np.float64(physics.valve_angle())
        return observation

    def get_reward(self, physics: Physics) -> float:
        """V-MAIL's claw reward of the present state."""
        return rewards.valve_turning(
            physics.joint_positions(),
            physics.joint_velocities(),
            self.robot.rest,
            physics.valve_velocity(),
            self.direction,
        )


class Screw(ValveTurning):
    """ROBEL's Screw: keep the valve at a target that turns at a constant speed."""

    main_score = "return"  # to turn further than the target is not better
    _target = 0.0

    def initialize_episode(self, physics: Physics) -> None:
        """As in ValveTurning; the target starts at the valve."""
        super().initialize_episode(physics)
        self._target = physics.valve_angle()

    def before_step(self, action: np.ndarray, physics: Physics) -> None:
        """Move the target on, then act."""
        self._target += self.direction * SCREW_SPEED * self.robot.control_period
        super().before_step(action, physics)

    def target_error(self, physics: Physics) -> float:
        """Signed angle from valve to target in [-pi, pi)."""
        return rewards.wrap_angle(self._target - physics.valve_angle())

    def get_reward(self, physics: Physics) -> float:
        """ROBEL's reward of the present state."""
        return rewards.screw(
            physics.joint_positions(), physics.joint_velocities(), self.robot.rest, self.target_error(physics)
        )


class ClawEnvironment(control.Environment):
    """A valve task as a `vmail_sim.world.World`."""

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
        """Radians turned the wanted way."""
        return {"radians": self.task.radians_turned(self.physics)}


def valve_turning(
    name: str, pixels: int | None = 64, seed: int | None = None, starts: str = "wide", kick: str = "none"
) -> ClawEnvironment:
    """Build `dclaw_valve{3,4}_{ccw,cw}`; for the options see `ValveTurning`."""
    return _environment(ValveTurning, name, marked=False, pixels=pixels, seed=seed, starts=starts, kick=kick)


def screw(
    name: str, pixels: int | None = 64, seed: int | None = None, starts: str = "wide", kick: str = "none"
) -> ClawEnvironment:
    """Build `dclaw_screw{3,4}`: ROBEL's DClawScrewFixed with either valve; for the options see `ValveTurning`."""
    return _environment(Screw, name, marked=True, pixels=pixels, seed=seed, starts=starts, kick=kick)


def _environment(task_class: type[ValveTurning], name: str, marked: bool, **options: Any) -> ClawEnvironment:
    prongs, direction = valve.parse_task(name)
    physics = make_physics(prongs, marked)
    task = task_class(load_robot("dclaw"), direction, prongs, **options)
    return ClawEnvironment(physics, task, n_sub_steps=SUBSTEPS, time_limit=EPISODE_STEPS * SUBSTEPS * 0.0025)
