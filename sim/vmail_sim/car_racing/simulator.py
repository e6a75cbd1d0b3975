"""Gymnasium's CarRacing-v3 without its pictures, and what the physics says of car and track."""

from __future__ import annotations

import math
from typing import Any

import Box2D  # noqa: F401 - before gymnasium, which hides which package is missing
import numpy as np
import pygame  # noqa: F401
from gymnasium.envs.box2d import car_dynamics as stock_car
from gymnasium.envs.box2d import car_racing as stock

__all__ = ["Simulator", "rotation", "stock", "stock_car"]

PREVIEW, PREVIEW_STRIDE = 20, 2  # points of the track ahead in a state, and tiles from one to the next
POINT_DISTANCE = PREVIEW_STRIDE * stock.TRACK_DETAIL_STEP
CAR_STATES = 8
STATE_SIZE = CAR_STATES + 2 * PREVIEW
BEHIND, AHEAD = 5, 20  # tiles among which the one nearest to the car is looked for from one frame to the next


class Simulator(stock.CarRacing):
    """Tracks, car, rewards and ends are gymnasium's; it draws nothing, which takes it 99 % of its time."""

    car: stock_car.Car

    def __init__(self) -> None:
        """Nothing is there before `reset`."""
        super().__init__()
        self.centre_line = np.zeros((0, 2))
        self.road_corners = np.zeros((0, 4, 2))
        self._nearest = 0

    def _render(self, mode: str) -> None:
        """Leave out what gymnasium draws at each step."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """A new track, with `seed` that which belongs to it; the car stands at its start."""
        found = super().reset(seed=seed, options=options)
        self.centre_line = np.array([tile[2:4] for tile in self.track])
        self.road_corners = np.array([corners for corners, _ in self.road_poly])  # tiles and, on hard turns, borders
        self._nearest = 0
        return found

    def idle(self, frames: int) -> None:
        """Let frames pass in which nobody drives and nothing counts."""
        for _ in range(frames):
            self.step(None)  # type: ignore[arg-type]  # gymnasium's own way to say so

    @property
    def visited_share(self) -> float:
        """Share of the track's tiles that a wheel has touched."""
        return self.tile_visited_count / len(self.track)

    def driver_state(self) -> np.ndarray:
        """What a driver who knows the track wants to know, (STATE_SIZE,) float32, in gymnasium's units.

        Forward and sideways speed (to the right), yaw rate (to the left), steering angle (to the left, rad), the four
        wheels' speeds of rotation (rad/s; front left, front right, rear left, rear right), then points of the track's
        centre line ahead, (right, forward) of the car, the nearest one first.
        """
        hull, wheels = self.car.hull, self.car.wheels
        to_car = rotation(-hull.angle)
        velocity = to_car @ np.array(hull.linearVelocity)
        car = [velocity[1], velocity[0], hull.angularVelocity, wheels[0].joint.angle, *(w.omega for w in wheels)]
        position, count = np.array(hull.position), len(self.centre_line)
        near = (self._nearest + np.arange(-BEHIND, AHEAD + 1)) % count  # a track may pass by itself
        self._nearest = int(near[np.argmin(np.square(self.centre_line[near] - position).sum(1))])
        ahead = self.centre_line[(self._nearest + PREVIEW_STRIDE * np.arange(PREVIEW)) % count]
        return np.concatenate([car, ((ahead - position) @ to_car.T).ravel()]).astype(np.float32)


def rotation(angle: float) -> np.ndarray:
    """The matrix (2, 2) that turns points by `angle`, counter-clockwise."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
