"""The guard: which commands it lets through, how it holds, and that nothing gets past it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from guard_scenes import PERIOD, REACH, SPEC, health, moving_guard, state
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vmail_core.robot import RobotSpec
from vmail_hardware.emulator.plant import FirstOrderPlant
from vmail_hardware.guard import Command, Decision, Guard, Reason
from vmail_hardware.joint_state import JointState
from vmail_hardware.self_collision import SelfCollision

# Commands that are obeyed ----------------------------------------------------------------------------------


def test_a_command_within_reach_is_sent_as_it_is() -> None:
    desired = SPEC.rest + np.linspace(0.0, 0.2, 9)
    decision = Guard(SPEC).check(Command(desired, 0.0), state(), 0.01)
    assert (decision.reason, decision.holding, decision.fresh) == (Reason.OK, False, True)
    np.testing.assert_array_equal(decision.goals, desired)


def test_a_far_command_is_limited_exactly_as_the_spec_does() -> None:
    desired = np.clip(SPEC.rest + 0.45, SPEC.lower, SPEC.upper)
    decision = Guard(SPEC).check(Command(desired, 0.0), state(), 0.0)
    assert decision.reason is Reason.SPEED_LIMIT
    assert not decision.holding
    np.testing.assert_array_equal(decision.goals, SPEC.limit_step(desired, SPEC.rest))


@pytest.mark.parametrize("rate_hz", [10.0, 12.0, 14.0, 19.9, 25.0, 50.0, 100.0, 400.0])
@pytest.mark.parametrize("bad_between", [False, True])
def test_joints_keep_to_their_speed_however_often_commands_come(rate_hz: float, bad_between: bool) -> None:
    now = [0.0]
    plant = FirstOrderPlant(SPEC.lower, time_constant_s=0.02, max_speed=20.0, clock=lambda: now[0])
    guard, strong = Guard(SPEC), np.ones(9)
    travelled: list[np.ndarray] = []
    for step in range(round(2.0 * rate_hz)):
        now[0] = step / rate_hz
        far = SPEC.upper if int(now[0]) % 2 == 0 else SPEC.lower
        at = state(plant.positions(), now[0])
        if bad_between:
            guard.check(Command(np.full(9, np.nan), now[0]), at, now[0])
        decision = guard.check(Command(far, now[0]), at, now[0])
        assert decision.fresh and decision.goals is not None
        plant.set_goals(decision.goals, strong)
        travelled.append(at.position)
    window = round(0.5 * rate_hz)
    way = np.abs(np.array(travelled)[window:] - np.array(travelled)[:-window]).max()
    # A first command leads by a period's travel, and commands up to 1.18 times as often as they should are let be.
    assert way <= max(1.0, min(rate_hz * PERIOD, 1.0 / 0.85)) * SPEC.max_joint_speed * window / rate_hz + REACH


def test_commands_at_the_robots_rate_are_limited_by_the_step_alone() -> None:
    guard = Guard(SPEC)
    for number, offset in enumerate((0.2, -0.2, 0.2)):  # to and fro: twice a step between goals
        stamp = 0.09 * number
        desired = np.clip(SPEC.rest + 0.3 + offset, SPEC.lower, SPEC.upper)
        present = np.clip(SPEC.rest + 0.3, SPEC.lower, SPEC.upper)
        decision = guard.check(Command(desired, stamp), state(present, stamp), stamp)
        np.testing.assert_array_equal(decision.goals, SPEC.limit_step(desired, present))


def test_a_command_beyond_the_joint_limits_is_clipped_and_names_the_joint() -> None:
    desired = SPEC.rest.copy()
    desired[3] = 3.0
    decision = Guard(SPEC).check(Command(desired, 0.0), state(), 0.0)
    assert decision.reason is Reason.JOINT_LIMIT
    assert "MFJ20" in decision.detail
    np.testing.assert_array_equal(decision.goals, SPEC.limit_step(desired, SPEC.rest))


def test_between_commands_nothing_is_written() -> None:
    guard, goals = moving_guard()
    decision = guard.check(None, state(goals, 0.1), 0.1)
    assert (decision.goals, decision.holding, decision.reason) == (None, False, Reason.OK)


# Commands that are not -------------------------------------------------------------------------------------


def test_before_the_first_command_it_holds_the_present_pose() -> None:
    pose = SPEC.rest + 0.05
    decision = Guard(SPEC).check(None, state(pose), 0.0)
    assert (decision.holding, decision.reason) == (True, Reason.NO_COMMAND_YET)
    np.testing.assert_array_equal(decision.goals, pose)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command(np.full(9, np.nan), 0.1), Reason.COMMAND_NOT_FINITE),
        (Command(np.r_[np.zeros(8), np.inf], 0.1), Reason.COMMAND_NOT_FINITE),
        (Command(np.zeros(9), float("nan")), Reason.COMMAND_NOT_FINITE),
        (Command(np.zeros(8), 0.1), Reason.COMMAND_WRONG_SIZE),
        (Command(np.empty(0), 0.1), Reason.COMMAND_WRONG_SIZE),
        (Command(np.zeros((1, 9)), 0.1), Reason.COMMAND_WRONG_SIZE),
        (Command(np.zeros(9), -0.3), Reason.COMMAND_TOO_OLD),
        (Command(np.zeros(9), 0.3), Reason.COMMAND_STAMP_IN_FUTURE),
    ],
)
def test_a_bad_command_holds_at_the_last_goals_until_a_good_one(command: Command, reason: Reason) -> None:
    guard, goals = moving_guard()
    decision = guard.check(command, state(time=0.1), 0.1)
    assert (decision.holding, decision.reason, decision.fresh) == (True, reason, False)
    np.testing.assert_array_equal(decision.goals, goals)
    later = guard.check(None, state(time=0.15), 0.15)
    assert (later.holding, later.reason) == (True, reason)
    good = guard.check(Command(SPEC.rest, 0.2), state(time=0.2), 0.2)
    assert (good.holding, good.fresh) == (False, True)


def test_commands_that_stop_coming_end_in_a_hold_at_the_last_goals() -> None:
    guard, goals = moving_guard()
    assert not guard.check(None, state(goals, 0.34), 0.34).holding
    decision = guard.check(None, state(goals, 0.36), 0.36)
    assert (decision.holding, decision.reason) == (True, Reason.COMMAND_TOO_OLD)
    np.testing.assert_array_equal(decision.goals, goals)


def test_age_counts_from_the_picture_not_from_the_arrival() -> None:
    guard = Guard(SPEC)
    assert guard.check(Command(SPEC.rest, 0.0), state(time=0.3), 0.3).fresh
    assert guard.check(None, state(time=0.36), 0.36).reason is Reason.COMMAND_TOO_OLD


def test_an_overtaken_command_is_dropped_and_motion_goes_on() -> None:
    guard, _ = moving_guard()
    guard.check(Command(SPEC.rest + 0.05, 0.1), state(time=0.1), 0.1)
    for _ in range(2):  # the second must not get in because the first was refused
        decision = guard.check(Command(SPEC.rest - 0.3, 0.05), state(time=0.12), 0.12)
        assert (decision.reason, decision.goals, decision.holding) == (Reason.COMMAND_OUT_OF_ORDER, None, False)


def test_a_clock_that_is_set_back_does_not_lock_commands_out() -> None:
    guard = Guard(SPEC)
    guard.check(Command(SPEC.rest, 1000.0), state(time=1000.0), 1000.0)
    assert guard.check(None, state(time=10.0), 10.0).holding
    assert guard.check(Command(SPEC.rest, 10.1), state(time=10.1), 10.1).fresh


# Holding ---------------------------------------------------------------------------------------------------


def test_a_hold_gives_way_to_a_push_and_comes_back() -> None:
    guard, goals = moving_guard()
    guard.check(Command(np.full(9, np.nan), 0.0), state(goals), 0.0)
    pushed = goals - 0.4
    decision = guard.check(None, state(pushed, 0.1), 0.1)
    np.testing.assert_allclose(decision.goals, pushed + REACH)
    decision = guard.check(None, state(goals - 0.01, 0.2), 0.2)
    np.testing.assert_array_equal(decision.goals, goals)


def test_a_hold_outside_the_limits_stays_where_it_is() -> None:
    pose = SPEC.upper + 0.2
    decision = Guard(SPEC).check(None, state(pose), 0.0)
    np.testing.assert_array_equal(decision.goals, pose)


def test_a_hold_outside_the_limits_comes_inside_with_the_joint() -> None:
    guard = Guard(SPEC)
    guard.check(None, state(SPEC.upper + 0.1), 0.0)
    decision = guard.check(None, state(SPEC.upper - 0.05, 0.1), 0.1)
    np.testing.assert_allclose(decision.goals, SPEC.upper)


def test_a_command_from_outside_the_limits_moves_inward() -> None:
    pose = SPEC.upper + 0.5
    decision = Guard(SPEC).check(Command(SPEC.upper + 1.0, 0.0), state(pose), 0.0)
    np.testing.assert_allclose(decision.goals, pose - REACH)


# Nothing gets past it --------------------------------------------------------------------------------------

angles = st.lists(st.floats(-4.0, 4.0) | st.floats(allow_nan=True), min_size=9, max_size=9).map(np.array)
plausible = st.lists(st.floats(-2.5, 2.5), min_size=9, max_size=9).map(np.array)
vectors = angles | st.lists(st.floats(), max_size=10).map(np.array)
times = st.floats(-1.0, 2.0) | st.floats()
commanders = st.sampled_from(["", "keyboard", "policy"])
# In which acceleration and the fingers' clearance act often.
assert SPEC.fingers is not None
TIGHT = dataclasses.replace(
    SPEC, max_joint_acceleration=10.0, fingers=dataclasses.replace(SPEC.fingers, least_clearance=0.05)
)


def assert_safe(decision: Decision, present: JointState | None, spec: RobotSpec) -> None:
    """Goals are finite, one period's travel from the present at most, and outside the limits only if it is too."""
    if decision.goals is None:
        return
    assert present is not None
    goals, at = decision.goals, present.position
    assert goals.shape == at.shape
    assert np.all(np.isfinite(goals))
    assert np.all(np.abs(goals - at) <= REACH + 1e-9)
    assert np.all(goals >= np.minimum(spec.lower, at) - 1e-12)
    assert np.all(goals <= np.maximum(spec.upper, at) + 1e-12)
    assert decision.holding == decision.reason.holds
    assert not (decision.fresh and decision.holding)
    if decision.fresh:
        gain, period = spec.max_joint_acceleration * spec.control_period, spec.control_period
        assert np.all(goals - at <= np.maximum(present.velocity + gain, 0.0) * period + 1e-9)
        assert np.all(goals - at >= np.minimum(present.velocity - gain, 0.0) * period - 1e-9)
        assert spec.fingers is not None
        clearance = SelfCollision(spec.fingers, spec.joint_names).clearance
        assert clearance(goals) >= min(spec.fingers.least_clearance, clearance(at)) - 1e-6


class AnySequence(RuleBasedStateMachine):
    """Any commands, states, health and times, in any order."""

    spec = SPEC

    @initialize()
    def start(self) -> None:
        self.guard = Guard(self.spec)
        self.now = 100.0
        self.state: JointState | None = None
        self.decision: Decision | None = None

    @rule(seconds=st.floats(-0.2, 0.5))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(pose=plausible, age=st.floats(0.0, 0.08), current=st.floats(-900.0, 900.0), velocity=plausible)
    def sense(self, pose: np.ndarray, age: float, current: float, velocity: np.ndarray) -> None:
        self.state = state(pose, self.now - age, current_ma=np.full(9, current), velocity=velocity)

    @rule(joint=st.integers(0, 8), angle=st.floats(-3.0, 3.0))
    def push(self, joint: int, angle: float) -> None:
        if self.state is not None:
            pose = self.state.position.copy()
            pose[joint] = angle
            self.state = state(pose, self.now)

    @rule(position=angles, age=st.floats(-0.1, 0.2), alert=st.booleans())
    def sense_nonsense(self, position: np.ndarray, age: float, alert: bool) -> None:
        self.state = state(position, self.now - age, alerts=(10,) if alert else ())

    @rule()
    def lose_the_state(self) -> None:
        self.state = None

    @rule(positions=vectors, age=st.floats(-0.2, 0.6) | st.floats(), who=commanders)
    def command(self, positions: np.ndarray, age: float, who: str) -> None:
        self.decision = self.guard.check(Command(positions, self.now - age, who), self.state, self.now)

    @rule(positions=plausible, who=commanders)
    def good_command(self, positions: np.ndarray, who: str) -> None:
        self.decision = self.guard.check(Command(positions, self.now, who), self.state, self.now)

    @rule()
    def tick(self) -> None:
        self.decision = self.guard.check(None, self.state, self.now)

    @rule(temperature=st.floats(20.0, 90.0), voltage=st.floats(8.0, 13.0), error=st.sampled_from([0, 0, 0, 0x20]))
    def feel(self, temperature: float, voltage: float, error: int) -> None:
        seen = health(temperature_c=temperature, voltage_v=voltage, hardware_error=error)
        self.guard.update_health(seen, True)

    @rule()
    def reset(self) -> None:
        self.guard.reset()

    @rule()
    def forget_pose(self) -> None:
        self.guard.forget_pose()

    @rule()
    def estop(self) -> None:
        self.guard.estop()

    @invariant()
    def goals_are_safe(self) -> None:
        if getattr(self, "decision", None) is not None:
            assert self.decision is not None
            assert_safe(self.decision, self.state, self.spec)
            if self.guard.latched is not None:
                assert not self.decision.fresh
        self.decision = None


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


class AnyTightSequence(AnySequence):
    """The same within limits that act often."""

    spec = TIGHT


TestAnyTightSequence = AnyTightSequence.TestCase
TestAnyTightSequence.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@given(vectors, times, angles, times, times)
@settings(max_examples=300, deadline=None)
def test_any_single_command(
    positions: np.ndarray, stamp: float, present: np.ndarray, sensed: float, now: float
) -> None:
    at = state(present, sensed)
    assert_safe(Guard(SPEC).check(Command(positions, stamp), at, now), at, SPEC)


@given(angles, angles)
@settings(max_examples=200, deadline=None)
def test_a_latched_guard_never_obeys(positions: np.ndarray, present: np.ndarray) -> None:
    guard = Guard(SPEC)
    guard.estop()
    decision = guard.check(Command(positions, 0.0), state(present), 0.0)
    assert decision.holding and not decision.fresh
    if decision.goals is not None:
        np.testing.assert_array_equal(decision.goals, present)


@given(plausible, st.floats(-0.3, 0.3), st.floats(-2.0, 2.0), st.floats(-900.0, 900.0))
@settings(max_examples=200, deadline=None)
def test_an_emergency_stop_keeps_goals_only_of_joints_that_stand_at_them(
    present: np.ndarray, ahead: float, speed: float, current: float
) -> None:
    guard = Guard(SPEC)
    obeyed = guard.check(Command(present + ahead, 0.0), state(present), 0.0)
    guard.estop()
    at = state(present, 0.3, velocity=np.full(9, speed), current_ma=np.full(9, current))
    held = guard.check(None, at, 0.3).goals
    assert obeyed.goals is not None and held is not None
    kept = held != present
    np.testing.assert_array_equal(held[kept], obeyed.goals[kept])
    assert np.all(np.abs(held - present) <= 0.06)
    assert not kept.any() or (abs(speed) <= 0.1 and abs(current) <= 0.25 * SPEC.slow_current_ma)
