"""What the valve tasks share with the twin and with teleoperation: task names, starts, kicks and the state vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from vmail_core.robot import RobotInterface
    from vmail_sim.dclaw.physics import ValvePhysics

JOINTS = 9
STARTS = ("fixed", "wide")
WIDE_JOINT_RAD = 0.2
KICKS = ("none", "valve", "claw", "both")
KICK_VALVE_SPEED = 6.0  # rad/s, against the wanted direction
KICK_JOINT_RAD = 0.3


class Random(Protocol):
    """numpy's RandomState (dm_control's choice) or Generator."""

    def uniform(self, low: float, high: float, size: tuple[int, ...] | None = None) -> np.ndarray:
        """Uniform samples in [low, high)."""


def parse_task(name: str) -> tuple[int, int]:
    """Prongs and direction (+1 counter-clockwise) of `dclaw_valve{3,4}_{ccw,cw}`.

    Raises:
        ValueError: not a name of such a task.
    """
    kind, _, sense = name.removeprefix("dclaw_").partition("_")
    if not name.startswith("dclaw_") or kind not in ("valve3", "valve4") or sense not in ("ccw", "cw"):
        raise ValueError(f"{name!r} is no valve task of the D'Claw, which are dclaw_valve{{3,4}}_{{ccw,cw}}")
    return int(kind[-1]), -1 if sense == "cw" else 1


def require_claw(robot: RobotInterface) -> None:
    """Raise ValueError for a robot with another number of joints than the claw's: the scene moves it joint by joint."""
    if robot.action_size != JOINTS:
        raise ValueError(f"robot {robot.name} has {robot.action_size} joints, the simulated D'Claw has {JOINTS}")


def draw_start(random: Random, rest: np.ndarray, starts: str) -> tuple[np.ndarray, float]:
    """Joint angles (N,) and valve angle at the start of an episode.

    "fixed" is the rest pose with the valve at 0; "wide" has the valve anywhere in the turn and each joint off
    by up to WIDE_JOINT_RAD.
    """
    joints, valve = rest.copy(), 0.0
    if starts == "wide":
        joints += random.uniform(-WIDE_JOINT_RAD, WIDE_JOINT_RAD, joints.shape)
        valve = float(random.uniform(-np.pi, np.pi))
    return joints, valve


def kick(physics: ValvePhysics, random: Random, kind: str, direction: int) -> None:
    """Disturb an episode: the valve spins the wrong way, the claw's joints jump, or both."""
    if kind in ("valve", "both"):
        physics.data.qvel[-1] = -direction * KICK_VALVE_SPEED
    if kind in ("claw", "both"):
        joints = physics.joint_positions()
        physics.data.qpos[: joints.size] += random.uniform(-KICK_JOINT_RAD, KICK_JOINT_RAD, joints.shape)
        physics.forward()


def require(kind: str, value: str, known: tuple[str, ...]) -> str:
    """Return `value` if it is one of `known`; otherwise raise a ValueError that lists them."""
    if value not in known:
        raise ValueError(f"{kind}={value!r}; choose one of {known}")
    return value


def valve_state(
    prongs: int,
    joints: np.ndarray,
    velocities: np.ndarray,
    valve_angle: float,
    valve_velocity: float,
    last_action: np.ndarray,
) -> np.ndarray:
    """(30,) float32 for state-feedback experts: joints, speeds, valve phase cos/sin, valve speed, last action.

    The phase repeats with the prongs, as the valve looks and feels.
    """
    valve = phase_state(prongs, valve_angle, valve_velocity)
    return np.concatenate([joints, velocities, valve, last_action]).astype(np.float32)


def phase_state(prongs: int, valve_angle: float, valve_velocity: float) -> np.ndarray:
    """(3,) cosine and sine of the valve's phase, and its speed."""
    phase = prongs * valve_angle
    return np.array([np.cos(phase), np.sin(phase), valve_velocity])
