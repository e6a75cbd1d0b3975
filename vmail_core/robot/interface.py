"""What a policy meets of a robot: the one function that turns actions into joint targets, and all that it depends on.

The simulator, the policy runner and the driver's guard all call `RobotInterface.joint_targets` or its two halves, so a
policy meets the same robot everywhere. Two hands with the same interface run the same bundle, however their servos are
numbered and mounted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

FloatArray = np.ndarray


@dataclasses.dataclass(frozen=True)
class RobotInterface:
    """N position-controlled joints and a camera. Angles in rad, speeds in rad/s.

    Attributes:
        name: for people; not a part of what is compared.
        joint_names: N names, the order of every joint array in vmail.
        lower, upper: (N,) joint limits.
        scale: (N,) rad per unit of normalised action.
        rest: (N,) pose that an episode starts from.
        max_joint_speed: largest speed that a goal may ask for.
        control_rate_hz: policy steps a second.
        camera_width, camera_height: pixels of the pictures that policies are made for.
    """

    name: str
    joint_names: tuple[str, ...]
    lower: FloatArray
    upper: FloatArray
    scale: FloatArray
    rest: FloatArray
    max_joint_speed: float
    control_rate_hz: float
    camera_width: int
    camera_height: int

    @property
    def action_size(self) -> int:
        """N, the number of joints and of normalised actions."""
        return len(self.joint_names)

    @property
    def control_period(self) -> float:
        """Seconds between policy steps."""
        return 1.0 / self.control_rate_hz

    def desired_positions(self, action: FloatArray) -> FloatArray:
        """Joint angles that a normalised action asks for: (..., N) in [-1, 1] to (..., N) rad, within limits."""
        action = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        return np.clip(action * self.scale, self.lower, self.upper)

    def limit_step(self, desired: FloatArray, present: FloatArray) -> FloatArray:
        """Bring desired angles (..., N) within the joint limits and one period's travel of the present ones."""
        reach = self.max_joint_speed * self.control_period
        present = np.asarray(present, np.float64)
        desired = np.clip(np.asarray(desired, np.float64), self.lower, self.upper)
        return np.clip(desired, present - reach, present + reach)

    def joint_targets(self, action: FloatArray, present: FloatArray) -> FloatArray:
        """Servo goals for a normalised action at the present joint angles: (..., N), (..., N) to (..., N) rad.

        This is ROBEL's action map: scale, then limit the speed from the present position.
        """
        return self.limit_step(self.desired_positions(action), present)

    def action_of(self, desired: FloatArray) -> FloatArray:
        """The normalised float32 action that asks for these angles: inverse of `desired_positions`."""
        return np.clip(np.asarray(desired, np.float64) / self.scale, -1.0, 1.0).astype(np.float32)

    def interface(self) -> dict[str, Any]:
        """The interface as plain data, for manifests; equal interfaces give equal dicts but for the name."""
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(RobotInterface):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = value.tolist()
            plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain

    @staticmethod
    def from_interface(plain: dict[str, Any]) -> RobotInterface:
        """Inverse of `interface`; other fields are ignored, for older bundles hold the whole robot.

        Raises:
            ValueError: a field is missing, or limits contradict each other.
        """
        fields = {field.name: field for field in dataclasses.fields(RobotInterface)}
        missing = sorted(set(fields) - set(plain))
        if missing:
            raise ValueError(f"robot lacks the fields {', '.join(missing)}")
        kwargs: dict[str, Any] = {}
        for name, field in fields.items():
            value = plain[name]
            kwargs[name] = (
                column(value) if field.type == "FloatArray" else tuple(value) if name == "joint_names" else value
            )
        made = RobotInterface(**kwargs)
        made.check()
        return made

    def check(self) -> None:
        """Raise ValueError when the fields contradict each other."""
        size = self.action_size
        if any(np.shape(part) != (size,) for part in (self.lower, self.upper, self.scale, self.rest)):
            raise ValueError(f"robot {self.name}: limits, scale and rest must be {size} numbers each, as joint_names")
        if np.any(self.lower >= self.upper) or np.any(self.rest < self.lower) or np.any(self.rest > self.upper):
            raise ValueError(f"robot {self.name}: every joint needs lower < upper and rest between them")
        if len(set(self.joint_names)) != size:
            raise ValueError(f"robot {self.name}: joint names must be unique")

    def digest(self) -> str:
        """SHA-256 of the interface without its name: bundles and takes carry it, runner and import compare it."""
        plain = {key: value for key, value in self.interface().items() if key != "name"}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def column(values: Sequence[float]) -> FloatArray:
    """One number a joint, read-only."""
    array = np.asarray(values, np.float64)
    array.setflags(write=False)
    return array
