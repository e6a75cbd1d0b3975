"""Whether a training stays good: its last evaluations beside its best one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LATE = 5
MEANING = f"Late: mean of a training's last {LATE} evaluations over its best one, lowest seed."


def late_share(trainings: Sequence[Sequence[float]]) -> str:
    """Of the worst training, in percent; empty where one has fewer evaluations than `LATE`, or none above 0.

    `trainings` holds the scores of each one's evaluations, in their order.
    """
    if any(len(scores) < LATE or max(scores) <= 0.0 for scores in trainings):
        return ""
    return f"{min(np.mean(scores[-LATE:]) / max(scores) for scores in trainings):.0%}"
