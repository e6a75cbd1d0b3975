"""Rewards of the claw's tasks, as functions of measured state. They score; learning never sees them."""

from __future__ import annotations

import numpy as np

VALVE_SPEED_WEIGHT = 5.0
FAST_JOINT = 0.5  # rad/s


def pose_cost(joints: np.ndarray, rest: np.ndarray) -> float:
    """Distance of the nine joints from the rest pose, rad, negated."""
    return -float(np.linalg.norm(joints - rest))


def speed_cost(velocities: np.ndarray) -> float:
    """Norm of those joint speeds that reach 0.5 rad/s, negated."""
    return -float(np.linalg.norm(velocities[np.abs(velocities) >= FAST_JOINT]))


def valve_turning(
    joints: np.ndarray, velocities: np.ndarray, rest: np.ndarray, valve_velocity: float, direction: int
) -> float:
    """V-MAIL's claw reward: ROBEL's pose and speed costs plus 5 times the valve's speed in the wanted direction."""
    return pose_cost(joints, rest) + speed_cost(velocities) + VALVE_SPEED_WEIGHT * direction * valve_velocity


def turn(joints: np.ndarray, velocities: np.ndarray, rest: np.ndarray, target_error: float) -> float:
    """ROBEL's Turn and Screw reward (Ahn et al. 2019): distance to a target angle, with two bonuses."""
    distance = abs(target_error)
    bonus = 10.0 * (distance < 0.25) + 50.0 * (distance < 0.10)
    return -5.0 * distance + pose_cost(joints, rest) + speed_cost(velocities) + bonus


def pose(error: np.ndarray, velocities: np.ndarray) -> float:
    """ROBEL's Pose reward: distance from the wanted pose, and a little of the joint speeds that reach pi rad/s."""
    return -float(np.linalg.norm(error)) - 0.1 * float(np.linalg.norm(velocities[np.abs(velocities) >= np.pi]))


def wrap_angle(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return float(np.mod(angle + np.pi, 2 * np.pi) - np.pi)
