"""Practice: rolls a policy out in an environment and keeps what happened (Algorithm 1, lines 5 to 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vmail_core.episodes.episode import Episode


class VisualEnv(Protocol):
    """An environment with pictures; `vmail_sim.visual.VisualTask` is one."""

    action_size: int
    joint_count: int  # J, 0 where there are no joints to read
    control_period: float
    main_score: str

    @property
    def joint_positions(self) -> np.ndarray | None:
        """Joint angles (J,) float32 rad at the last picture, where there are any."""
        ...

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode that belongs to `seed`; returns its first picture (S, S, 3) uint8."""
        ...

    def step(self, action: np.ndarray) -> Any:
        """Act (A,) float32; returns something with `image`, `reward`, `last` and `ended`.

        `last` ends the episode; `ended` says that the task itself is over, not just its time.
        """
        ...

    def score(self) -> dict[str, float]:
        """Scores of the episode so far. Learning never sees them."""
        ...

    def large_picture(self, size: int) -> np.ndarray:
        """The scene as people want to see it, (size, size, 3) uint8."""
        ...


class ImagePolicy(Protocol):
    """A policy with memory that acts on pictures, and on joint angles if it observes them."""

    def reset(self) -> None:
        """Forget the last episode."""
        ...

    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """Choose the next action.

        Args:
            image: (S, S, 3) uint8.
            previous_action: (A,) float32, the one that led to the picture.
            joint_positions: (J,) float32 rad at the picture, where the environment has them. A policy that observes
                them raises ValueError when they are missing, and others leave them alone.

        Returns:
            (A,) float32 in [-1, 1].
        """
        ...


def rollout(
    policy: ImagePolicy,
    env: VisualEnv,
    seed: int,
    provenance: dict[str, Any] | None = None,
    watch: Callable[[VisualEnv], None] | None = None,
) -> tuple[Episode, dict[str, float]]:
    """One episode and its score. `watch` is called on every frame, for videos.

    The float32 actions that were executed are the ones that are stored: rounding at storage breaks replay.
    """
    policy.reset()
    images, actions, rewards = [env.reset(seed)], [np.zeros(env.action_size, np.float32)], [0.0]
    joints = [env.joint_positions]
    last = ended = False
    while not last:
        if watch is not None:
            watch(env)
        action = policy.act(images[-1], actions[-1], joints[-1]).astype(np.float32)
        step = env.step(action)
        images.append(step.image)
        actions.append(action)
        rewards.append(step.reward)
        joints.append(env.joint_positions)
        last, ended = step.last, step.ended
    score, known = env.score(), [positions for positions in joints if positions is not None]
    episode = Episode(
        image=np.stack(images),
        action=np.stack(actions),
        time=np.arange(len(images)) * env.control_period,
        joint_positions=np.stack(known) if len(known) == len(joints) else None,
        reward=np.array(rewards, np.float32),
        provenance={**(provenance or {}), "seed": seed, "score": score, "ended": ended},
    )
    return episode, score
