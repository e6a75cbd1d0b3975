"""An expert that plans: model-predictive path integral control (MPPI) on the simulator's own model.

Before each action, many sequences of actions are tried in copies of the world. The plan becomes their mean, weighted by
the exponential of what each earned (Williams et al. 2017), and its first action is taken. What is tried is the plan and
noise around it that is correlated along time, as in PDDM (Nagabandi et al. 2019): a hand follows no jitter, and
demonstrations without it can be imitated.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import mujoco
import mujoco.rollout
import numpy as np

from vmail_sim.world import World


class Foresight(Protocol):
    """A task as a planner sees it; N copies of its world, each of S numbers."""

    @property
    def model(self) -> mujoco.MjModel:
        """The world's physics, or a coarser one."""
        ...

    @property
    def substeps(self) -> int:
        """Physics steps in a control step."""
        ...

    @property
    def action_size(self) -> int:
        """A, the length of an action."""
        ...

    def state(self) -> np.ndarray:
        """(S,) full physics state of the world now."""
        ...

    def controls(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """(N, U) actuator inputs that actions (N, A) in [-1, 1] come to in states (N, S)."""
        ...

    def rewards(self, states: np.ndarray, sensors: np.ndarray, step: int) -> np.ndarray:
        """(N,) rewards at the end of control step `step` of the episode, in states (N, S) with sensors (N, D)."""
        ...


@runtime_checkable
class Foreseeable(Protocol):
    """A `World` that planners can plan in."""

    def foresight(self) -> Foresight:
        """What comes of actions from here on."""
        ...


@dataclasses.dataclass(frozen=True)
class Plan:
    """How an MPPI expert plans."""

    samples: int = 128
    horizon: int = 7  # control steps
    noise: float = 0.5  # standard deviation of what is tried beside the plan
    correlation: float = 0.7  # of that noise from one control step to the next
    fine_share: float = 0.3  # of the samples, with 0.3 of the noise: they polish the plan
    sharpness: float = 10.0  # inverse temperature of the mean, per unit of return
    threads: int = 1  # of the processor; the actions are the same with any number


FINE_NOISE = 0.3


class Planner:
    """MPPI from the present state on. Seeded: the same episode and seed, the same actions."""

    def __init__(self, plan: Plan | None = None) -> None:
        """By default planned as `Plan` says. An episode begins with `begin`."""
        self.plan = plan or Plan()
        self._rollout = mujoco.rollout.Rollout(nthread=self.plan.threads)

    def close(self) -> None:
        """End the threads."""
        self._rollout.close()

    def begin(self, world: World, seed: int) -> None:
        """Forget the last episode; `world` is at the start of one. The noise is drawn from `seed`.

        Raises:
            ValueError: the world has no foresight.
        """
        if not isinstance(world, Foreseeable):
            raise ValueError(f"{type(world).__name__} has no `foresight` for a planner")
        plan, foresight = self.plan, world.foresight()
        self._foresight, self._rng, self._step = foresight, np.random.default_rng(seed), 0
        self._copies = [mujoco.MjData(foresight.model) for _ in range(max(1, plan.threads))]
        self._mean = np.zeros((plan.horizon, foresight.action_size))

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """The action (A,) float32 to take now. The world's full state is read, so `state` is not needed."""
        tried = self._sequences()
        returns = self._returns(tried)
        weights = np.exp(self.plan.sharpness * (returns - returns.max()))
        mean = np.tensordot(weights / weights.sum(), tried, 1)
        self._mean = np.concatenate([mean[1:], mean[-1:]])  # the plan for the next step, its end held
        self._step += 1
        return mean[0].astype(np.float32)

    def _sequences(self) -> np.ndarray:
        """(N, H, A): the plan itself, and noise around it that is correlated along time."""
        plan = self.plan
        noise = self._rng.standard_normal((plan.samples, *self._mean.shape))
        fresh = np.sqrt(1.0 - plan.correlation**2)
        for step in range(1, plan.horizon):
            noise[:, step] = plan.correlation * noise[:, step - 1] + fresh * noise[:, step]
        noise[0] = 0.0
        noise[1 : 1 + int(plan.fine_share * plan.samples)] *= FINE_NOISE
        return np.clip(self._mean + plan.noise * noise, -1.0, 1.0)

    def _returns(self, tried: np.ndarray) -> np.ndarray:
        """(N,) summed rewards of the sequences (N, H, A) from the present state."""
        foresight = self._foresight
        states = np.repeat(foresight.state()[None], len(tried), 0)
        total = np.zeros(len(tried))
        for ahead in range(self.plan.horizon):
            controls = foresight.controls(states, tried[:, ahead])
            held = np.repeat(controls[:, None], foresight.substeps, 1)
            paths, sensors = self._rollout.rollout(foresight.model, self._copies, states, held)
            states = np.ascontiguousarray(paths[:, -1])
            total += foresight.rewards(states, sensors[:, -1], self._step + ahead)
        return total
