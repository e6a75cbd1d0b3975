"""A driver for Car Racing who knows the track: pure pursuit of its centre line, at the speed that its bends allow.

It reads the state that `vmail_sim.car_racing.simulator.Simulator.driver_state` describes, in gymnasium's units. Its
gains are gentle, for what is done in jerks cannot be imitated: higher ones are faster by one point in a hundred.
"""

from __future__ import annotations

import math

import numpy as np

from vmail_sim.car_racing.simulator import CAR_STATES, POINT_DISTANCE, STATE_SIZE
from vmail_sim.car_racing.tasks import action_of

WHEELBASE, WHEEL_RADIUS, MOST_STEERING = 3.24, 0.54, 0.4  # of gymnasium's car; the last in rad
REACH, REACH_TIME = 3.0, 0.2  # it aims at a point so far ahead, and further by what it covers in so many seconds
SLIDE_GAIN = 0.5  # share of the angle between the car's heading and its course that it steers back
YAW_GAIN = 0.02  # s: rad of steering for each rad/s between its yaw rate and the one that leads to its aim
CORNERING, BRAKING = 150.0, 60.0  # accelerations that it asks of the tyres; they give about 200
TOP_SPEED = 75.0
SAFETY = 5.0  # it has slowed down so far ahead of a bend
GAS_GAIN, BRAKE_GAIN, MOST_BRAKE = 0.04, 0.02, 0.6  # a unit of speed too low or too high; from 0.9 on wheels lock
GRIP = 200.0  # no gas where turning takes all of it
SPIN, SPIN_RANGE = 2.0, 10.0  # the rear wheels may outrun the road by so much, then gas fades out
WALKING_PACE = 5.0  # below it the course says little of a slide


class TrackDriver:
    """From a state (48,) of Car Racing to steering, gas and brake (3,); it remembers nothing."""

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """The action (3,) float32 in [-1, 1]."""
        if state.shape != (STATE_SIZE,):
            raise ValueError(f"the driver wants a state of shape ({STATE_SIZE},), got {state.shape}")
        speed, sideways, yaw_rate = (float(part) for part in state[:3])
        points = state[CAR_STATES:].reshape(-1, 2).astype(float)
        right, forward = aim(points, REACH + REACH_TIME * max(speed, 0.0))
        bend = 2.0 * right / (right**2 + forward**2)  # curvature of the arc from the car to its aim, to the right
        steering = math.atan(WHEELBASE * bend) if forward > 0.0 else math.copysign(MOST_STEERING, right)
        steering += SLIDE_GAIN * math.atan2(sideways, max(speed, WALKING_PACE)) + YAW_GAIN * (yaw_rate + speed * bend)
        too_slow = min(speed_for(points), math.sqrt(CORNERING / max(abs(bend), 1e-4))) - speed
        spin = float(state[6:8].mean()) * WHEEL_RADIUS - speed
        grip_left = 1.0 - min(abs(yaw_rate * speed) / GRIP, 1.0) ** 2
        gas = min(max(GAS_GAIN * too_slow, 0.0), 1.0) * math.sqrt(grip_left)
        gas *= min(max(1.0 - (spin - SPIN) / SPIN_RANGE, 0.0), 1.0)
        brake = min(max(-BRAKE_GAIN * too_slow, 0.0), MOST_BRAKE)
        return action_of(min(max(steering, -MOST_STEERING), MOST_STEERING), gas, brake)


def aim(points: np.ndarray, reach: float) -> np.ndarray:
    """Where the line through points (P, 2), which lead away from the car, is `reach` from it: (2,)."""
    distance = np.hypot(*points.T)
    beyond = np.flatnonzero(distance[1:] >= reach)
    after = int(beyond[0]) + 1 if len(beyond) else len(points) - 1
    share = (reach - distance[after - 1]) / max(distance[after] - distance[after - 1], 1e-6)
    return points[after - 1] + min(max(share, 0.0), 1.0) * (points[after] - points[after - 1])


def speed_for(points: np.ndarray) -> float:
    """The highest speed from which the car can still brake in time for every bend of the line through points (P, 2)."""
    steps = np.diff(points, axis=0)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    curvature = np.abs(heading[2:] - heading[:-2]) / (2.0 * POINT_DISTANCE)
    in_bend = np.minimum(np.sqrt(CORNERING / np.maximum(curvature, 1e-4)), TOP_SPEED)
    way = (np.arange(len(curvature)) + 1.5) * POINT_DISTANCE - SAFETY
    return float(np.sqrt(in_bend**2 + 2.0 * BRAKING * np.maximum(way, 0.0)).min())
