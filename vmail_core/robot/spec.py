"""The robot spec: contract 1. One file describes a robot; one function turns actions into joint targets.

The simulator, the policy runner and the driver's guard all call `RobotSpec.joint_targets` or its two
halves, so a policy meets the same robot everywhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

FloatArray = np.ndarray


@dataclasses.dataclass(frozen=True)
class RobotSpec:
    """A robot with N position-controlled joints. Angles in rad, speeds in rad/s.

    Attributes:
        joint_names: N names, the order of every joint array in vmail.
        servo_ids: N Dynamixel ids.
        lower, upper: (N,) joint limits.
        scale: (N,) rad per unit of normalised action.
        rest: (N,) pose that an episode starts from.
        zero_rad: (N,) servo angle at which the joint reads zero.
        direction: (N,) +1 or -1, sign of servo angle against joint angle.
        max_joint_speed: largest speed that a goal may ask for.
        control_rate_hz: policy steps a second.
    """

    name: str
    joint_names: tuple[str, ...]
    servo_ids: tuple[int, ...]
    lower: FloatArray
    upper: FloatArray
    scale: FloatArray
    rest: FloatArray
    zero_rad: FloatArray
    direction: FloatArray
    max_joint_speed: float
    max_current_ma: float
    max_temperature_c: float
    joint_states_current_scale: float
    control_rate_hz: float
    camera_width: int
    camera_height: int
    servo_protocol: float
    servo_baud: int
    servo_models: tuple[int, ...]

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

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for manifests; equal specs give equal dicts."""
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = value.tolist()
            plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> RobotSpec:
        """Inverse of `to_dict`. Raises ValueError that names a missing or unknown field."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if set(plain) != set(fields):
            wrong = sorted(set(plain) ^ set(fields))
            raise ValueError(f"robot spec has missing or unknown fields: {', '.join(wrong)}")
        kwargs: dict[str, Any] = {}
        for name, field in fields.items():
            value = plain[name]
            if field.type == "FloatArray":
                value = np.asarray(value, np.float64)
                value.setflags(write=False)
            elif isinstance(value, list):
                value = tuple(value)
            kwargs[name] = value
        return cls(**kwargs)

    def digest(self) -> str:
        """SHA-256 of the spec: bundles and episodes carry it, the runner compares it."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_robot(name_or_path: str | Path) -> RobotSpec:
    """Load a robot spec by name ("dclaw") or from a YAML file.

    Raises:
        FileNotFoundError: no such name or file; the message lists the known names.
        ValueError: the file lacks a field or has limits that contradict each other.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = Path(__file__).with_name(f"{name_or_path}.yaml")
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path(__file__).parent.glob("*.yaml")))
        raise FileNotFoundError(
            f"no robot {str(name_or_path)!r}; known robots: {known}, or give a path to a .yaml file"
        )
    try:
        return _from_yaml(yaml.safe_load(path.read_text()))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: robot spec lacks or misuses field {error}; compare it with dclaw.yaml") from error


def _from_yaml(raw: dict[str, Any]) -> RobotSpec:
    joints = raw["joints"]

    def column(key: str) -> FloatArray:
        values = np.array([float(joint[key]) for joint in joints])
        values.setflags(write=False)
        return values

    spec = RobotSpec(
        name=raw["name"],
        joint_names=tuple(joint["name"] for joint in joints),
        servo_ids=tuple(int(joint["id"]) for joint in joints),
        lower=column("lower"),
        upper=column("upper"),
        scale=column("scale"),
        rest=column("rest"),
        zero_rad=column("zero_rad"),
        direction=column("direction"),
        max_joint_speed=float(raw["max_joint_speed"]),
        max_current_ma=float(raw["max_current_ma"]),
        max_temperature_c=float(raw["max_temperature_c"]),
        joint_states_current_scale=float(raw["joint_states_current_scale"]),
        control_rate_hz=float(raw["control_rate_hz"]),
        camera_width=int(raw["camera"]["width"]),
        camera_height=int(raw["camera"]["height"]),
        servo_protocol=float(raw["servo"]["protocol"]),
        servo_baud=int(raw["servo"]["baud"]),
        servo_models=tuple(int(model) for model in raw["servo"]["models"]),
    )
    if np.any(spec.lower >= spec.upper) or np.any(spec.rest < spec.lower) or np.any(spec.rest > spec.upper):
        raise ValueError(f"robot {spec.name}: every joint needs lower < upper and rest between them")
    if len(set(spec.servo_ids)) != spec.action_size or len(set(spec.joint_names)) != spec.action_size:
        raise ValueError(f"robot {spec.name}: joint names and servo ids must be unique")
    return spec
