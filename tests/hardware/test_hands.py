"""Hands that move an emulated robot."""

from __future__ import annotations

import numpy as np

from vmail_core.robot import load_robot
from vmail_hardware.emulator.hands import Hands
from vmail_hardware.emulator.plant import FirstOrderPlant

SPEC = load_robot("dclaw")


class Desk:
    """A plant, hands, and a clock that a test drives."""

    def __init__(self) -> None:
        self.now, self.limp = 100.0, True
        self.plant = FirstOrderPlant(SPEC.rest, clock=lambda: self.now)
        self.hands = Hands(self.plant, SPEC, lambda: self.limp)

    def wait(self, seconds: float) -> np.ndarray:
        """Positions (T, 9) rad on the way."""
        seen = []
        for _ in range(round(seconds / 0.01)):
            self.now += 0.01
            self.hands.move(self.now)
            seen.append(self.plant.positions())
        return np.array(seen)


def test_a_sweep_reaches_both_ends_of_every_joint_and_ends() -> None:
    desk = Desk()
    assert "end to end" in desk.hands.press("s", desk.now)
    seen = desk.wait(8.0)
    np.testing.assert_allclose(seen.min(0), SPEC.lower, atol=0.02)
    np.testing.assert_allclose(seen.max(0), SPEC.upper, atol=0.02)
    np.testing.assert_allclose(seen[-1], SPEC.rest, atol=0.02)
    assert np.abs(np.diff(seen, axis=0)).max() <= 0.015 + 1e-9


def test_the_zero_pose_is_reached_and_held() -> None:
    desk = Desk()
    desk.hands.press("z", desk.now)
    seen = desk.wait(3.0)
    np.testing.assert_allclose(seen[-100:], 0.0, atol=0.001)


def test_joints_that_hold_are_not_moved() -> None:
    desk = Desk()
    desk.hands.press("w", desk.now)
    desk.wait(0.2)
    desk.limp = False
    seen = desk.wait(0.5)
    assert np.ptp(seen, axis=0).max() == 0.0
    assert "torque is on" in desk.hands.press("s", desk.now)


def test_waving_goes_on_until_it_is_stopped_and_other_keys_mean_nothing() -> None:
    desk = Desk()
    assert desk.hands.press("w", desk.now) == "waving"
    assert desk.hands.press("k", desk.now) == ""
    desk.wait(10.0)
    assert np.ptp(desk.wait(1.0), axis=0).max() > 0.1
    desk.hands.press(" ", desk.now)
    assert np.ptp(desk.wait(1.0), axis=0).max() == 0.0
