"""The robot spec: contract 1. One file describes a robot: what a policy meets of it, and what is one hand's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vmail_core.robot.fingers import Fingers, fingers_from
from vmail_core.robot.interface import FloatArray, RobotInterface, column
from vmail_core.yaml_errors import in_one_line


@dataclasses.dataclass(frozen=True)
class RobotSpec(RobotInterface):
    """A robot with N position-controlled joints, and the N servos that move them.

    Attributes:
        servo_ids: N Dynamixel ids.
        zero_rad: (N,) servo angle at which the joint reads zero.
        direction: (N,) +1 or -1, sign of servo angle against joint angle.
        max_joint_acceleration: rad/s^2, by which a goal may ask a joint to become faster; it may always become slower.
        slow_current_ma, slow_temperature_c: of one servo; beyond them the guard slows the joint, or the hand, down.
        max_current_ma, max_temperature_c: of one servo; beyond them the guard holds.
        min_voltage_v: of any servo's supply; below it the guard holds.
        fingers: which of them may get into each other's way; None leaves that to whoever commands.
        joint_states_current_scale: `joint_states.effort` is the current in mA times this.
        servo_protocol, servo_baud, servo_models: how servos are spoken to, and the model numbers that they may have.
    """

    servo_ids: tuple[int, ...]
    zero_rad: FloatArray
    direction: FloatArray
    max_joint_acceleration: float
    slow_current_ma: float
    slow_temperature_c: float
    max_current_ma: float
    max_temperature_c: float
    min_voltage_v: float
    joint_states_current_scale: float
    servo_protocol: float
    servo_baud: int
    servo_models: tuple[int, ...]
    fingers: Fingers | None = None


def load_robot(name_or_path: str | Path) -> RobotSpec:
    """Load a robot spec by name ("dclaw") or from a YAML file.

    Raises:
        FileNotFoundError: no such name or file; the message lists the known names.
        ValueError: the file lacks a field or has limits that contradict each other.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = Path(__file__).parent / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path(__file__).parent.glob("*.yaml")))
        raise FileNotFoundError(
            f"no robot {str(name_or_path)!r}; known robots: {known}, or give a path to a .yaml file"
        )
    try:
        return _from_yaml(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML ({in_one_line(error)}); compare it with dclaw.yaml") from error
    except KeyError as error:
        raise ValueError(f"{path}: robot spec lacks field {error}; compare it with dclaw.yaml") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no robot spec: {error}; compare it with dclaw.yaml") from error


def _from_yaml(raw: Any) -> RobotSpec:
    if not isinstance(raw, dict):
        raise ValueError("it has no fields")
    joints = raw["joints"]

    def of_joints(key: str) -> FloatArray:
        return column([float(joint[key]) for joint in joints])

    spec = RobotSpec(
        name=raw["name"],
        joint_names=tuple(joint["name"] for joint in joints),
        servo_ids=tuple(int(joint["id"]) for joint in joints),
        lower=of_joints("lower"),
        upper=of_joints("upper"),
        scale=of_joints("scale"),
        rest=of_joints("rest"),
        zero_rad=of_joints("zero_rad"),
        direction=of_joints("direction"),
        max_joint_speed=float(raw["max_joint_speed"]),
        max_joint_acceleration=float(raw["max_joint_acceleration"]),
        slow_current_ma=float(raw["slow_current_ma"]),
        slow_temperature_c=float(raw["slow_temperature_c"]),
        max_current_ma=float(raw["max_current_ma"]),
        max_temperature_c=float(raw["max_temperature_c"]),
        min_voltage_v=float(raw["min_voltage_v"]),
        joint_states_current_scale=float(raw["joint_states_current_scale"]),
        control_rate_hz=float(raw["control_rate_hz"]),
        camera_width=int(raw["camera"]["width"]),
        camera_height=int(raw["camera"]["height"]),
        servo_protocol=float(raw["servo"]["protocol"]),
        servo_baud=int(raw["servo"]["baud"]),
        servo_models=tuple(int(model) for model in raw["servo"]["models"]),
        fingers=fingers_from(raw["fingers"], tuple(joint["name"] for joint in joints)) if "fingers" in raw else None,
    )
    spec.check()
    _check_finite(spec)
    if len(set(spec.servo_ids)) != spec.action_size:
        raise ValueError(f"robot {spec.name}: servo ids must be unique")
    if not 0.0 < spec.slow_current_ma < spec.max_current_ma or not spec.slow_temperature_c < spec.max_temperature_c:
        raise ValueError(f"robot {spec.name}: slow_current_ma and slow_temperature_c must lie below max_*")
    for name in ("max_joint_speed", "max_joint_acceleration", "control_rate_hz", "camera_width", "camera_height"):
        if getattr(spec, name) <= 0.0:
            raise ValueError(f"robot {spec.name}: {name} must be above 0")
    return spec


def _check_finite(spec: RobotSpec) -> None:
    """NaN passes every comparison of limits, in the guard too: it must not come so far."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if isinstance(value, float | np.ndarray) and not np.isfinite(value).all():
            raise ValueError(f"robot {spec.name}: {field.name} must be finite numbers")
