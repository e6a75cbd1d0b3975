"""Scores of a policy over many starts, with what a person wants to see."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from vmail_core.learners.collect import ImagePolicy, VisualEnv, rollout

# First starts of evaluations, which never coincide with those of practice: EVAL_SEED of those on the way, by which
# presets were chosen too, and TEST_SEED of final scores, by which nothing was chosen.
EVAL_SEED, TEST_SEED = 100_000, 200_000


def evaluate(
    policy: ImagePolicy,
    env: VisualEnv,
    episodes: int,
    seed: int = EVAL_SEED,
    watch: Callable[[int, VisualEnv], None] | None = None,
) -> dict[str, list[float]]:
    """Scores by name, one value an episode; episode i starts from seed + i, so policies meet the same starts.

    `watch` is called with the episode's number on every frame, for videos.
    """
    scores: dict[str, list[float]] = {}
    for index in range(episodes):
        seen = None if watch is None else functools.partial(watch, index)
        _, score = rollout(policy, env, seed + index, watch=seen)
        for name, value in score.items():
            scores.setdefault(name, []).append(float(value))
    return scores


def summarise(scores: dict[str, list[float]]) -> dict[str, float]:
    """Mean and least of each score, as eval_* metrics."""
    return {f"eval_{name}": float(np.mean(values)) for name, values in scores.items()} | {
        f"eval_{name}_min": float(np.min(values)) for name, values in scores.items()
    }
