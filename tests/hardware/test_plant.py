from __future__ import annotations

import numpy as np

from vmail_hardware.emulator import FirstOrderPlant


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_powered_joints_approach_their_goal_and_limp_ones_stay() -> None:
    clock = Clock()
    plant = FirstOrderPlant(np.zeros(2), time_constant_s=0.1, max_speed=100.0, clock=clock)
    plant.set_goals(np.array([1.0, 1.0]), np.array([1.0, 0.0]))
    clock.now = 0.1
    np.testing.assert_allclose(plant.positions(), [1.0 - np.exp(-1.0), 0.0])
    _, velocities, currents_ma = plant.measured()
    assert velocities[0] > 0.0 == velocities[1]
    assert currents_ma[0] > 0.0 == currents_ma[1]
    clock.now = 10.0
    np.testing.assert_allclose(plant.positions(), [1.0, 0.0], atol=1e-6)


def test_speed_is_limited() -> None:
    clock = Clock()
    plant = FirstOrderPlant(np.zeros(1), time_constant_s=0.01, max_speed=2.0, clock=clock)
    plant.set_goals(np.array([1.0]), np.array([1.0]))
    clock.now = 0.1
    positions, velocities, _ = plant.measured()
    np.testing.assert_allclose(positions, [0.2])
    np.testing.assert_allclose(velocities, [2.0])
