"""ROBEL's own tasks (Ahn et al. 2019): Turn a valve to an angle, Screw it after a target, take a Pose.

Their Fixed, Random and RandomDynamics variants are the options `goal` and `dynamics`. A picture shows what is wanted:
the green mark beyond the prongs, or the green claw. RandomDynamics there adds noise to measured angles, too, not here.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vmail_core.robot import RobotInterface, load_robot
from vmail_sim.dclaw import rewards, valve
from vmail_sim.dclaw.base import ClawTask
from vmail_sim.dclaw.physics import ClawPhysics, PosePhysics, ValvePhysics, make_physics, make_pose_physics
from vmail_sim.dclaw.randomisation import Randomisation
from vmail_sim.hand import HandEnvironment

GOALS = ("fixed", "random")
TIMESTEP_S = 0.0025
VALVE_SUBSTEPS, POSE_SUBSTEPS = 40, 20  # 10 Hz and 20 Hz
TURN_STEPS, SCREW_STEPS, POSE_STEPS = 40, 80, 80

TURN_START_RAD = np.pi / 3  # either way of 0; the target is half a turn further, off by up to as much
SCREW_SPEED, MOST_SCREW_SPEED = 0.5, 0.75  # rad/s
POSE_SPEED = np.pi / 6  # rad/s, of the wanted pose at most
POSE_RATE = (0.5, 2.0)  # rad/s, of the phase in which a joint of the wanted pose swings
OUTWARD = (1, 4, 7)  # joints that bend outwards only, so that fingers do not entangle

TURN_SUCCESS_RAD, SCREW_SUCCESS_RAD, POSE_SUCCESS_RAD = 0.1, 0.2, np.deg2rad(10.0)
POSE_WORST_RAD = np.pi / 4  # mean error that earns no points


class GoalTask(ClawTask):
    """A task with a goal that is met or missed at every step."""

    main_score = "success"

    def __init__(
        self,
        robot: RobotInterface,
        randomisation: Randomisation,
        goal: str = "random",
        pixels: int | None = 64,
        seed: int | None = None,
    ) -> None:
        """With `goal` "fixed" or "random"; for the rest see `ClawTask`."""
        super().__init__(robot, randomisation, pixels, seed)
        self._random_goal = valve.require("goal", goal, GOALS) == "random"
        self._points, self._successes, self._steps = 0.0, 0, 0

    def start_counting(self) -> None:
        """An episode begins."""
        self._points, self._successes, self._steps = 0.0, 0, 0

    def count(self, points: float, success: bool) -> None:
        """What a step earned: robel's points, in [0, 1], and whether the goal is met."""
        self._points += points
        self._successes += bool(success)
        self._steps += 1

    def score(self, physics: ClawPhysics) -> dict[str, float]:
        """Share of the steps at whose end the goal was met, and robel's points, both in [0, 1]."""
        steps = max(1, self._steps)
        return {"success": self._successes / steps, "points": self._points / steps}


class Turn(GoalTask):
    """Turn the valve to a target angle and keep it there."""

    success_rad = TURN_SUCCESS_RAD
    _target = 0.0
    _target_speed = 0.0

    def initialize_episode(self, physics: ValvePhysics) -> None:
        """Place the claw at rest, and valve and target as `draw_start` says."""
        start = self.draw_start()
        self.draw_claw(physics)
        physics.point_target(self._target)
        physics.set_claw_and_valve(self.robot.rest, start)
        self.start_counting()

    def draw_start(self) -> float:
        """Set the target; returns the valve's angle. Fixed is from 0 to half a turn."""
        start, self._target = 0.0, np.pi
        if self._random_goal:
            start, off = self.random.uniform(-TURN_START_RAD, TURN_START_RAD, 2)
            self._target += off
        return start

    def after_step(self, physics: ValvePhysics) -> None:
        """Count."""
        distance = abs(self.target_error(physics))
        self.count(1.0 - distance / np.pi, distance < self.success_rad)

    def target_error(self, physics: ValvePhysics) -> float:
        """Signed angle from valve to target in [-pi, pi)."""
        return rewards.wrap_angle(self._target - physics.valve_angle())

    def state(self, physics: ValvePhysics) -> np.ndarray:
        """(33,) float32: see `valve.valve_state`, then cosine and sine of the error, and the target's speed."""
        known = valve.valve_state(
            1,  # of its marks
            physics.joint_positions(),
            physics.joint_velocities(),
            physics.valve_angle(),
            physics.valve_velocity(),
            self._last_action,
        )
        error = self.target_error(physics)
        return np.concatenate([known, [np.cos(error), np.sin(error), self._target_speed]]).astype(np.float32)

    def get_reward(self, physics: ValvePhysics) -> float:
        """robel's reward of the present state."""
        return rewards.turn(
            physics.joint_positions(), physics.joint_velocities(), self.robot.rest, self.target_error(physics)
        )


class Screw(Turn):
    """Keep the valve at a target that turns at a constant speed."""

    success_rad = SCREW_SUCCESS_RAD

    def draw_start(self) -> float:
        """The target starts at the valve. Fixed is from 0, half a radian a second."""
        self._target, self._target_speed = 0.0, SCREW_SPEED
        if self._random_goal:
            self._target = float(self.random.uniform(-np.pi, np.pi))
            self._target_speed = float(self.random.uniform(-MOST_SCREW_SPEED, MOST_SCREW_SPEED))
        return self._target

    def before_step(self, action: np.ndarray, physics: ValvePhysics) -> None:
        """Move the target on, then act."""
        self._target += self._target_speed * self.robot.control_period
        physics.point_target(self._target)
        super().before_step(action, physics)


class Pose(GoalTask):
    """Bring the joints to a pose, or keep them at one that moves."""

    _wanted = np.zeros(valve.JOINTS)
    _middle: np.ndarray  # around which each joint of the wanted pose swings,
    _swing: np.ndarray  # so far either way, rad,
    _rate: np.ndarray  # at so many rad/s of phase

    def initialize_episode(self, physics: PosePhysics) -> None:
        """Fixed is from one drawn pose to another; random begins in the middle of two between which the pose swings."""
        first, second = self._draw_pose(), self._draw_pose()
        if self._random_goal:
            start = self._middle = (first + second) / 2
            self._rate = self.random.uniform(*POSE_RATE, first.shape)
            self._swing = np.minimum(np.abs(second - first) / 2, POSE_SPEED / self._rate)
        else:
            start, self._middle, self._swing, self._rate = first, second, np.zeros_like(first), np.ones_like(first)
        self.draw_claw(physics)
        self.start_counting()
        physics.place_claw(start)
        self._want(physics, 0.0)

    def _draw_pose(self) -> np.ndarray:
        lower, upper = -self.robot.scale, self.robot.scale.copy()
        upper[list(OUTWARD)] = 0.0
        return self.random.uniform(lower, upper)

    def _want(self, physics: PosePhysics, time: float) -> None:
        """The pose of that time in the episode, s, and show it."""
        self._wanted = self._middle + self._swing * np.sin(self._rate * time)
        physics.show_pose(self._wanted)

    def after_step(self, physics: PosePhysics) -> None:
        """The pose moves on; count by that."""
        self._want(physics, (self._steps + 1) * self.robot.control_period)
        error = float(np.abs(self.pose_error(physics)).mean())
        self.count(1.0 - min(error / POSE_WORST_RAD, 1.0), error < POSE_SUCCESS_RAD)

    def pose_error(self, physics: PosePhysics) -> np.ndarray:
        """(9,) rad from the joints to the wanted pose."""
        return self._wanted - physics.joint_positions()

    def state(self, physics: PosePhysics) -> np.ndarray:
        """(36,) float32: joints, speeds, last action, and how far each joint is from where it should be."""
        parts = physics.joint_positions(), physics.joint_velocities(), self._last_action, self.pose_error(physics)
        return np.concatenate(parts).astype(np.float32)

    def get_reward(self, physics: PosePhysics) -> float:
        """robel's reward of the present state."""
        return rewards.pose(self.pose_error(physics), physics.joint_velocities())


def turn(
    name: str,
    pixels: int | None = 64,
    seed: int | None = None,
    goal: str = "random",
    dynamics: str = "fixed",
    look: str = "plain",
    lateness: str = "none",
) -> HandEnvironment:
    """Build `dclaw_turn{3,4}` or `dclaw_screw{3,4}`; for the options see `GoalTask` and `Randomisation`."""
    kind, prongs = name.removeprefix("dclaw_")[:-1], int(name[-1])
    task_class, steps = (Screw, SCREW_STEPS) if kind == "screw" else (Turn, TURN_STEPS)
    physics, randomisation = make_physics(prongs, marked=True), Randomisation(dynamics, look, lateness)
    task = task_class(load_robot("dclaw"), randomisation, goal, pixels, seed)
    return HandEnvironment(physics, task, n_sub_steps=VALVE_SUBSTEPS, time_limit=steps * VALVE_SUBSTEPS * TIMESTEP_S)


def pose(
    name: str,
    pixels: int | None = 64,
    seed: int | None = None,
    goal: str = "random",
    dynamics: str = "fixed",
    look: str = "plain",
    lateness: str = "none",
) -> HandEnvironment:
    """Build `dclaw_pose`, with a claw that acts 20 times a second; for the options see `turn`."""
    robot = dataclasses.replace(load_robot("dclaw"), control_rate_hz=1.0 / (POSE_SUBSTEPS * TIMESTEP_S))
    physics, randomisation = make_pose_physics(), Randomisation(dynamics, look, lateness)
    task = Pose(robot, randomisation, goal, pixels, seed)
    return HandEnvironment(physics, task, n_sub_steps=POSE_SUBSTEPS, time_limit=POSE_STEPS * POSE_SUBSTEPS * TIMESTEP_S)
