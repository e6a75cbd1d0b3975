"""Turn two balls round each other on the palm without dropping one (PDDM, Nagabandi et al. 2019)."""

from __future__ import annotations

import numpy as np
from dm_env import specs

from vmail_sim.baoding import model, rewards
from vmail_sim.baoding.foresight import BaodingForesight
from vmail_sim.baoding.physics import JOINTS, Physics, make_physics
from vmail_sim.baoding.servos import Servos
from vmail_sim.hand import HandEnvironment, HandTask

EPISODE_STEPS = 100
SUBSTEPS = 40  # of 2.5 ms: 10 Hz
STARTS = ("fixed", "wide")
WIDE_JOINT_RAD = 0.05
WIDE_BALL_M = 0.003
SETTLING_STEPS = 6  # control steps: PDDM lets the balls go a little above the hand, here they have come to rest


class BaodingTurning(HandTask):
    """Both balls are to follow targets that go round an ellipse on the palm, counter-clockwise, a turn in 6 s."""

    main_score = "radians"

    def __init__(
        self, physics: Physics, starts: str = "wide", pixels: int | None = 64, seed: int | None = None
    ) -> None:
        """A task of `physics`.

        Args:
            physics: whose servos are asked.
            starts: "fixed" is PDDM's pose; "wide" has each joint off by up to 0.05 rad and the balls by up to 3 mm.
            pixels: side of the square picture; None leaves pictures out of observations.
            seed: of the starts until `reseed`.
        """
        if starts not in STARTS:
            raise ValueError(f"starts={starts!r}; choose one of {STARTS}")
        super().__init__(pixels, seed)
        self.servos = Servos(physics.model.actuator_ctrlrange)
        self._starts = starts
        self.step_count = 0
        self._angle = 0.0
        self._turned = 0.0

    def action_spec(self, physics: Physics) -> specs.BoundedArray:
        """Normalised actions: (24,) float32 in [-1, 1], in JOINT_NAMES order; see `Servos`."""
        return specs.BoundedArray((JOINTS,), np.float32, -1.0, 1.0, name="action")

    def initialize_episode(self, physics: Physics) -> None:
        """Let the balls come to rest on the hand."""
        joints, balls = model.START_JOINTS, model.START_BALLS
        if self._starts == "wide":
            joints = joints + self.random.uniform(-WIDE_JOINT_RAD, WIDE_JOINT_RAD, joints.shape)
            balls = balls + self.random.uniform(-WIDE_BALL_M, WIDE_BALL_M, balls.shape)
        physics.move_markers(0)
        physics.place(joints, balls)
        for _ in range(SETTLING_STEPS):
            physics.set_control(self.servos.towards(joints, physics.joint_positions()))
            physics.step(SUBSTEPS)
        physics.data.time = 0.0
        self.step_count = 0
        self._angle, self._turned = rewards.angle_between(physics.balls()), 0.0

    def before_step(self, action: np.ndarray, physics: Physics) -> None:
        """Move the targets on and send the servos where the action asks."""
        physics.move_markers(self.step_count)
        physics.set_control(self.servos.targets(action, physics.joint_positions()))

    def after_step(self, physics: Physics) -> None:
        """Add what the balls turned in this step."""
        self.step_count += 1
        angle = rewards.angle_between(physics.balls())
        self._turned += float(np.mod(angle - self._angle + np.pi, 2 * np.pi) - np.pi)
        self._angle = angle

    def targets(self, physics: Physics) -> np.ndarray:
        """(2, 2) m: where the balls should be now, seen from above."""
        return physics.targets(max(self.step_count - 1, 0))

    def state(self, physics: Physics) -> np.ndarray:
        """(40,) float32, PDDM's observation: joints, each ball's position and velocity, the targets."""
        balls = np.concatenate([physics.balls(), physics.ball_velocities()], -1)
        parts = physics.joint_positions(), balls.ravel(), self.targets(physics).ravel()
        return np.concatenate(parts).astype(np.float32)

    def get_reward(self, physics: Physics) -> float:
        """PDDM's reward of the present state."""
        return float(rewards.turning(physics.balls(), self.targets(physics), np.array(physics.wrist_angle())))

    def get_termination(self, physics: Physics) -> float | None:
        """A dropped ball ends the episode for good: discount 0."""
        return 0.0 if rewards.dropped(physics.balls()) else None

    def score(self, physics: Physics) -> dict[str, float]:
        """Radians that the balls turned round each other counter-clockwise, and 1 if one was dropped."""
        return {"radians": self._turned, "dropped": float(rewards.dropped(physics.balls()))}


class BaodingEnvironment(HandEnvironment):
    """The task as a world that planners can plan in."""

    def foresight(self) -> BaodingForesight:
        """See `vmail_sim.experts.mpc.Foreseeable`."""
        return BaodingForesight(self.physics, self.task.servos, self.control_timestep())


def baoding(name: str, pixels: int | None = 64, seed: int | None = None, starts: str = "wide") -> BaodingEnvironment:
    """Build `baoding`; for the options see `BaodingTurning`."""
    physics = make_physics()
    task = BaodingTurning(physics, starts, pixels, seed)
    return BaodingEnvironment(physics, task, n_sub_steps=SUBSTEPS, time_limit=EPISODE_STEPS * SUBSTEPS * model.TIMESTEP)
