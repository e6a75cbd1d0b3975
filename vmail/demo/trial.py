"""One episode through ROS, as the twin's state tells it, and its score."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmail_core.durable import replace_file
from vmail_core.robot import RobotSpec
from vmail_sim.dclaw.rewards import valve_turning


@dataclasses.dataclass(frozen=True)
class Trial:
    """T frames; row 0 is the picture that the first command was computed from. Angles in rad, speeds in rad/s.

    Attributes:
        seed: of the start.
        time: (T,) s since row 0.
        joints, joint_velocities: (T, N) of the claw.
        valve, valve_velocity: (T,) of the valve; full turns add up.
        latency_ms: camera stamp to bus write, one for each command.
        missed: frames between the first and the last command that gave no command.
        repeated: why earlier attempts at this start were not whole, one line each.
    """

    seed: int
    time: np.ndarray
    joints: np.ndarray
    joint_velocities: np.ndarray
    valve: np.ndarray
    valve_velocity: np.ndarray
    latency_ms: np.ndarray
    missed: int = 0
    repeated: tuple[str, ...] = ()

    def radians(self, direction: int) -> float:
        """How far the valve turned the wanted way."""
        return direction * float(self.valve[-1] - self.valve[0])

    def task_return(self, robot: RobotSpec, direction: int) -> float:
        """V-MAIL's return: the reward of every frame after the first, as in the task's environment."""
        rows = zip(self.joints[1:], self.joint_velocities[1:], self.valve_velocity[1:], strict=True)
        return sum(valve_turning(q, v, robot.rest, float(w), direction) for q, v, w in rows)

    def to_json(self) -> dict[str, Any]:
        """Plain data, rounded to what a servo could resolve a hundred times over."""
        plain = dataclasses.asdict(self)
        return {k: np.round(v, 5).tolist() if isinstance(v, np.ndarray) else v for k, v in plain.items()}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Trial:
        """Inverse of `to_json`."""
        arrays = {key: np.array(value) for key, value in plain.items() if key not in ("seed", "missed", "repeated")}
        return cls(**arrays, seed=plain["seed"], missed=plain["missed"], repeated=tuple(plain["repeated"]))


def write_trials(path: Path, trials: Sequence[Trial], source: dict[str, Any]) -> None:
    """Write trials with what they were made from, whole or not at all."""
    replace_file(path, json.dumps({"source": source, "trials": [trial.to_json() for trial in trials]}) + "\n")


def read_trials(path: Path, source: dict[str, Any] | None = None) -> list[Trial]:
    """Trials of a file; none when there is no file, or when they were made from something other than `source`."""
    if not path.is_file():
        return []
    plain = json.loads(path.read_text())
    if source is not None and plain["source"] != source:
        return []
    return [Trial.from_json(trial) for trial in plain["trials"]]
