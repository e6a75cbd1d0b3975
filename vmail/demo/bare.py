"""The same starts in the bare simulator, without ROS and bus: the learned policy and the controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.learners.collect import ImagePolicy
from vmail_core.learners.evaluate import evaluate
from vmail_core.robot import RobotSpec
from vmail_sim.visual import VisualTask

Scores = dict[str, list[float]]


class BundlePolicy:
    """A bundle's runtime as `collect.ImagePolicy`."""

    def __init__(self, runtime: PolicyRuntime) -> None:
        self._runtime = runtime

    def reset(self) -> None:
        """Forget the last episode."""
        self._runtime.reset()

    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """See `ImagePolicy`."""
        return self._runtime.step(image, previous_action, joint_positions)


class ConstantPolicy:
    """Always the same action (A,): zeros, or the one that holds a pose."""

    def __init__(self, action: np.ndarray) -> None:
        self._action = action.astype(np.float32)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """See `ImagePolicy`."""
        return self._action


class RandomPolicy:
    """Uniform actions, new ones at every step."""

    def __init__(self, action_size: int, seed: int) -> None:
        self._size, self._rng = action_size, np.random.default_rng(seed)

    def reset(self) -> None:
        """Goes on with its random numbers: every episode has others."""

    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """See `ImagePolicy`."""
        return self._rng.uniform(-1.0, 1.0, self._size).astype(np.float32)


def blind_controls(robot: RobotSpec, seed: int = 0) -> dict[str, ImagePolicy]:
    """What any learned policy must beat, by name: each scores in its own way without looking."""
    return {
        "hold pose": ConstantPolicy(robot.action_of(robot.rest)),
        "zero action": ConstantPolicy(np.zeros(robot.action_size)),
        "random": RandomPolicy(robot.action_size, seed),
    }


def score_policies(
    task: str,
    policies: Sequence[tuple[str, ImagePolicy, int]],
    first_seed: int,
    episodes: int,
    kick: str = "none",
    report: Callable[[str], None] = lambda name: None,
) -> dict[str, Scores]:
    """Radians and return of each policy on the same starts.

    Args:
        task: name of the task.
        policies: name, policy, and side of the pictures that it sees in pixels.
        first_seed: start i belongs to `first_seed + i`.
        episodes: how many starts.
        kick: what is disturbed in mid-episode: "none", "valve", "claw" or "both".
        report: called with each name when its scores are there.
    """
    environments: dict[int, VisualTask] = {}
    scores = {}
    for name, policy, size in policies:
        if size not in environments:
            environments[size] = VisualTask(task, size, kick=kick)
        scores[name] = evaluate(policy, environments[size], episodes, first_seed)
        report(name)
    return scores
