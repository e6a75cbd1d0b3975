"""PDDM's Baoding task: where each ball should be, what a step is worth, and how far the balls turned.

The definition is that of Nagabandi et al. 2019 (google-research/pddm, turning counter-clockwise). Arrays may have
leading dimensions, so that a planner asks about many copies of the world at once. Learning never sees any of this.
"""

from __future__ import annotations

import numpy as np

PERIOD_STEPS = 60  # control steps a turn: 6 s
ELLIPSE_RADII = (0.02, 0.036)  # m, across the palm and along it
ELLIPSE_CENTRE = (0.005, 0.055)
START_ANGLES = np.array([3 * np.pi / 4, -np.pi / 4])
MARKER_HEIGHT = 0.07  # m above the palm's middle plane

DISTANCE_WEIGHT = 5.0
DROPPED_BELOW = 0.06  # m above the floor
DROP_COST = 500.0
RAISED_WRIST = 0.15  # rad
RAISED_WRIST_COST = 10.0


def targets_in_palm(step: int) -> np.ndarray:
    """(2, 3) m: where each ball should be at the end of control step `step`, the first one being 0.

    In the palm's frame: x to the thumb's side, y into the palm, z to the fingers.
    """
    angles = START_ANGLES + 2 * np.pi * step / PERIOD_STEPS
    across = ELLIPSE_CENTRE[0] + ELLIPSE_RADII[0] * np.cos(angles)
    along = ELLIPSE_CENTRE[1] + ELLIPSE_RADII[1] * np.sin(angles)
    return np.stack([across, np.full(2, -MARKER_HEIGHT), along], -1)


def targets(step: int, palm_position: np.ndarray, palm_axes: np.ndarray) -> np.ndarray:
    """(..., 2, 2) m: the same seen from above, x and y in the world.

    Args:
        step: the control step.
        palm_position: (..., 3) m in the world.
        palm_axes: (..., 3, 3) rotation from the palm's frame to the world's.
    """
    return (palm_position[..., None, :] + targets_in_palm(step) @ np.swapaxes(palm_axes, -1, -2))[..., :2]


def dropped(balls: np.ndarray) -> np.ndarray:
    """(...) bool: whether a ball of (..., 2, 3) m has fallen off the hand."""
    return np.asarray((balls[..., 2] < DROPPED_BELOW).any(-1))


def turning(balls: np.ndarray, wanted: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """(...) reward: distance of the balls from their targets seen from above, a dropped ball, a raised wrist.

    Args:
        balls: (..., 2, 3) m in the world.
        wanted: (..., 2, 2) m, of `targets`.
        wrist: (...) rad, WRJ0.
    """
    distance = np.linalg.norm(balls[..., :2] - wanted, axis=-1).sum(-1)
    raised = wrist > RAISED_WRIST
    return -DISTANCE_WEIGHT * distance - DROP_COST * dropped(balls) - RAISED_WRIST_COST * raised


def angle_between(balls: np.ndarray) -> float:
    """Direction from the first ball to the second seen from above, rad in [-pi, pi]."""
    x, y = (balls[1] - balls[0])[:2]
    return float(np.arctan2(y, x))
