"""The walker at a pace between two speeds: the target of the paper's transfer (section 4.3), which the suite lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from dm_control.rl import control
from dm_control.suite import walker
from dm_control.utils import rewards

PACE = (2.0, 4.0)  # m/s; beside it lie the tasks that the paper's model is learned on: stand, and run above 8
CONTROL_TIMESTEP, TIME_LIMIT = 0.025, 25.0  # s, the suite's own for all walkers


class PlanarWalkerAtPace(walker.PlanarWalker):
    """The suite's walker, rewarded for a speed that is neither too low nor too high.

    The reward is the suite's for walking and running, but for the bound above: standing counts as there, and a
    speed outside the bounds loses half of the rest within half of the lower bound.
    """

    def __init__(self, pace: tuple[float, float], random: np.random.RandomState | None = None) -> None:
        """`pace`: lowest and highest speed with full reward, m/s."""
        super().__init__(move_speed=0, random=random)
        self._pace = pace

    def get_reward(self, physics: Any) -> float:
        """In [0, 1], of one control step of the suite."""
        standing = super().get_reward(physics)
        moving = rewards.tolerance(
            physics.horizontal_velocity(),
            bounds=self._pace,
            margin=self._pace[0] / 2.0,
            value_at_margin=0.5,
            sigmoid="linear",
        )
        return float(standing * (5.0 * moving + 1.0) / 6.0)


def walk_at_pace(random: np.random.RandomState, environment_kwargs: dict[str, Any]) -> control.Environment:
    """The task as `suite.load` would build it."""
    physics = walker.Physics.from_xml_string(*walker.get_model_and_assets())
    task = PlanarWalkerAtPace(PACE, random)
    return control.Environment(
        physics, task, time_limit=TIME_LIMIT, control_timestep=CONTROL_TIMESTEP, **environment_kwargs
    )
