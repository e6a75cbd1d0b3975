"""What a good command becomes: each limit takes from the motion, says its name, and none adds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmail_core.robot import load_robot
from vmail_hardware.guard import Command, Guard, Reason
from vmail_hardware.guard_limits import Limits
from vmail_hardware.joint_state import JointState, ServoHealth
from vmail_hardware.self_collision import SelfCollision

PLAIN = load_robot("dclaw")
assert PLAIN.fingers is not None
CAUTIOUS = dataclasses.replace(
    PLAIN, max_joint_acceleration=5.0, fingers=dataclasses.replace(PLAIN.fingers, least_clearance=0.002)
)
REACH = PLAIN.max_joint_speed * PLAIN.control_period
COOL = 30.0


def state(velocity: Any = 0.0, position: np.ndarray = PLAIN.rest) -> JointState:
    return JointState(position.copy(), np.broadcast_to(velocity, 9).astype(float), np.zeros(9), 0.0)


def apply(
    desired: np.ndarray, at: JointState, load: Any = 0.0, hottest: float = COOL, robot: Any = PLAIN
) -> tuple[np.ndarray, Reason, str]:
    return Limits(robot).apply(desired, at, np.broadcast_to(load, 9).astype(float), hottest)


def test_the_claws_own_file_changes_nothing_in_a_usual_step() -> None:
    desired = PLAIN.rest + 0.2
    goals, reason, _ = apply(desired, state(), load=400.0)
    np.testing.assert_array_equal(goals, PLAIN.limit_step(desired, PLAIN.rest))
    assert reason is Reason.OK


def test_from_standstill_a_joint_becomes_faster_only_gradually() -> None:
    goals, reason, detail = apply(PLAIN.rest + np.r_[0.2, np.zeros(8)], state(), robot=CAUTIOUS)
    assert goals - PLAIN.rest == pytest.approx(np.r_[5.0 * 0.1 * 0.1, np.zeros(8)])
    assert reason is Reason.ACCELERATION_LIMIT and detail.startswith("FFJ10 ")


@pytest.mark.parametrize(("velocity", "wanted", "given"), [(2.0, 0.2, 0.2), (2.0, -0.2, 0.0), (-0.2, -0.2, -0.07)])
def test_slowing_down_is_always_allowed(velocity: float, wanted: float, given: float) -> None:
    goals, _, _ = apply(PLAIN.rest + np.r_[wanted, np.zeros(8)], state(velocity), robot=CAUTIOUS)
    assert goals[0] - PLAIN.rest[0] == pytest.approx(given)


@pytest.mark.parametrize(("load", "share"), [(599.0, 1.0), (700.0, 0.5), (800.0, 0.0), (5000.0, 0.0), (-800.0, 1.0)])
def test_a_loaded_joint_pushes_less_and_backs_off_freely(load: float, share: float) -> None:
    goals, reason, detail = apply(PLAIN.rest + 0.1, state(), load=np.r_[load, np.zeros(8)])
    assert goals - PLAIN.rest == pytest.approx(np.r_[0.1 * share, np.full(8, 0.1)])
    if share < 1.0:
        assert reason is Reason.SLOWED_BY_LOAD and detail.startswith("FFJ10 ")


@pytest.mark.parametrize(("hottest", "share"), [(60.0, 1.0), (65.0, 0.5), (69.9, 0.2)])
def test_a_hot_hand_moves_more_slowly(hottest: float, share: float) -> None:
    goals, reason, detail = apply(PLAIN.rest + 0.1, state(), hottest=hottest)
    assert goals - PLAIN.rest == pytest.approx(np.full(9, 0.1 * share))
    assert (reason is Reason.SLOWED_BY_HEAT) == (share < 1.0)
    assert share == 1.0 or f"{hottest:.0f} C" in detail


def test_fingers_stop_short_of_each_other() -> None:
    rng = np.random.default_rng(0)
    hand = SelfCollision(CAUTIOUS.fingers, PLAIN.joint_names)
    stopped = 0
    for _ in range(300):
        at = rng.uniform(PLAIN.lower, PLAIN.upper)
        goals, reason, _ = apply(rng.uniform(PLAIN.lower, PLAIN.upper), state(position=at), robot=CAUTIOUS)
        stopped += reason is Reason.SELF_COLLISION
        assert hand.clearance(goals) >= min(0.002, hand.clearance(at)) - 1e-9
    assert stopped > 5


numbers = st.lists(st.floats(-6.0, 6.0), min_size=9, max_size=9).map(np.array)
loads = st.lists(st.floats(-3000.0, 3000.0), min_size=9, max_size=9).map(np.array)


@given(numbers, numbers, numbers, loads, st.floats(-50.0, 120.0), st.booleans())
@settings(max_examples=300, deadline=None)
def test_limits_only_ever_take_from_the_step_that_the_simulator_would_make(
    desired: np.ndarray, present: np.ndarray, velocity: np.ndarray, load: np.ndarray, hottest: float, cautious: bool
) -> None:
    robot = CAUTIOUS if cautious else PLAIN
    goals, reason, detail = apply(desired, state(velocity, present), load, hottest, robot)
    step = robot.limit_step(desired, present)
    assert np.all(goals >= np.minimum(present, step) - 1e-12) and np.all(goals <= np.maximum(present, step) + 1e-12)
    assert not reason.holds and detail
    assert reason is not Reason.OK or np.all(np.abs(goals - desired) <= 1e-9)


def test_the_guard_smooths_currents_and_knows_the_hottest_servo() -> None:
    guard = Guard(PLAIN)
    peak = dataclasses.replace(state(), current_ma=np.full(9, 790.0))
    for step in range(20):
        guard.check(None, dataclasses.replace(peak, time=0.02 * step), 0.02 * step)
    loaded = guard.check(Command(PLAIN.rest + 0.1, 0.4), dataclasses.replace(peak, time=0.4), 0.4)
    assert loaded.reason is Reason.SLOWED_BY_LOAD and not loaded.holding
    for servo_id, temperature in ((10, 62.0), (11, 40.0)):
        guard.update_health(ServoHealth(servo_id, "", 0, (), temperature, 12.0, True, False), True)
    for step in range(20):
        guard.check(None, dataclasses.replace(state(), time=0.5 + 0.02 * step), 0.5 + 0.02 * step)
    hot = guard.check(Command(PLAIN.rest + 0.1, 0.9), dataclasses.replace(state(), time=0.9), 0.9)
    assert hot.reason is Reason.SLOWED_BY_HEAT and "62 C" in hot.detail


def test_one_peak_of_current_slows_nothing() -> None:
    guard = Guard(PLAIN)
    guard.check(None, state(), 0.0)
    peak = dataclasses.replace(state(), current_ma=np.full(9, 790.0), time=0.01)
    assert guard.check(Command(PLAIN.rest + 0.1, 0.01), peak, 0.01).reason is Reason.OK
