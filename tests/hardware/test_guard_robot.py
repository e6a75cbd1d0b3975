"""The guard when bus or robot are in trouble, and what its stops and starts do to a loaded hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from guard_scenes import REACH, SPEC, health, moving_guard, state

from vmail_hardware.guard import Command, Guard, Reason
from vmail_hardware.joint_state import JointState

# The bus and the robot -------------------------------------------------------------------------------------


def test_without_a_state_nothing_is_written() -> None:
    decision = Guard(SPEC).check(Command(SPEC.rest, 0.0), None, 0.0)
    assert (decision.goals, decision.holding, decision.reason) == (None, True, Reason.STATE_MISSING)


@pytest.mark.parametrize("position", [np.full(9, np.nan), np.zeros(8), np.r_[np.zeros(8), 13.0]])
def test_a_state_that_is_none_counts_as_missing(position: np.ndarray) -> None:
    assert Guard(SPEC).check(Command(SPEC.rest, 0.0), state(position), 0.0).reason is Reason.STATE_MISSING


def test_one_lost_read_does_not_matter_and_a_silent_bus_does() -> None:
    guard, _ = moving_guard()
    assert guard.check(None, state(time=0.0), 0.05).reason is Reason.OK
    decision = guard.check(None, state(time=0.0), 0.15)
    assert (decision.goals, decision.holding, decision.reason) == (None, True, Reason.BUS_SILENT)


def test_after_silence_it_holds_where_the_joints_are_then() -> None:
    guard, _ = moving_guard()
    guard.check(None, state(time=0.0), 0.2)
    moved = SPEC.rest - 0.1
    decision = guard.check(None, state(moved, 0.3), 0.3)
    assert (decision.holding, decision.reason) == (True, Reason.NO_COMMAND_YET)
    np.testing.assert_array_equal(decision.goals, moved)


def test_a_short_silence_does_not_let_a_loaded_hand_sink() -> None:
    guard, goals = moving_guard()
    guard.check(None, state(time=0.0), 0.2)
    decision = guard.check(None, state(goals - 0.03, 0.3), 0.3)
    assert (decision.holding, decision.reason) == (True, Reason.NO_COMMAND_YET)
    np.testing.assert_array_equal(decision.goals, goals)


def test_over_current_latches_after_its_time_and_stops_where_it_is() -> None:
    guard, _ = moving_guard()
    current = np.zeros(9)
    current[4] = -900.0
    at = SPEC.rest + 0.03
    assert not guard.check(None, state(at, 0.00, current_ma=current), 0.00).holding
    assert not guard.check(None, state(at, 0.09, current_ma=current), 0.09).holding
    decision = guard.check(None, state(at, 0.11, current_ma=current), 0.11)
    assert (decision.holding, decision.reason) == (True, Reason.OVER_CURRENT)
    assert "900 mA in MFJ21" in decision.detail
    np.testing.assert_array_equal(decision.goals, at)
    later = guard.check(Command(SPEC.rest, 0.2), state(at, 0.2), 0.2)
    assert (later.holding, later.reason) == (True, Reason.OVER_CURRENT)
    guard.reset()
    assert guard.check(None, state(at, 0.3), 0.3).reason is Reason.NO_COMMAND_YET
    assert guard.check(Command(SPEC.rest, 0.3), state(at, 0.3), 0.3).fresh


def test_peaks_of_different_joints_do_not_add_up() -> None:
    guard, _ = moving_guard()
    for step in range(20):
        current = np.zeros(9)
        current[step % 9] = 900.0
        assert not guard.check(None, state(time=0.02 * step, current_ma=current), 0.02 * step).reason.is_latched


@pytest.mark.parametrize("stopped_by", [Guard.estop, lambda guard: guard.update_health(health(voltage_v=9.0), True)])
def test_a_joint_that_is_overloaded_while_it_is_held_is_relieved(stopped_by: Callable[[Guard], None]) -> None:
    guard, goals = moving_guard()
    stopped_by(guard)
    guard.check(None, state(goals, 0.3), 0.3)
    pressed = np.arange(9) == 4
    for time, offset in ((0.5, 0.1), (0.8, 0.2)):
        at, anew = goals - offset * pressed, 0
        for now in time + 0.01 * np.arange(15):
            decision = guard.check(None, state(at, now, current_ma=900.0 * pressed), now)
            anew += decision.anew
        assert decision.holding and anew
        np.testing.assert_array_equal(decision.goals, at)


def test_a_clock_that_is_set_back_hides_no_over_current() -> None:
    guard, _ = moving_guard()
    high = np.full(9, 900.0)
    guard.check(None, state(time=0.3, current_ma=high), 0.3)
    guard.check(None, state(time=-1000.0, current_ma=high), -1000.0)
    assert guard.check(None, state(time=-999.9, current_ma=high), -999.9).reason is Reason.OVER_CURRENT


def test_what_latched_beneath_an_emergency_stop_is_not_forgotten() -> None:
    guard = Guard(SPEC)
    guard.estop()
    guard.update_health(health(torque_enabled=False), True)
    guard.update_health(health(torque_enabled=False), True)
    assert guard.latched is Reason.ESTOP and guard.latches == (Reason.ESTOP, Reason.TORQUE_LOST)
    guard.reset()
    assert not guard.latches


def test_a_short_peak_of_current_is_let_pass() -> None:
    guard, _ = moving_guard()
    peak = np.full(9, 900.0)
    guard.check(None, state(time=0.00, current_ma=peak), 0.00)
    guard.check(None, state(time=0.05), 0.05)
    assert not guard.check(None, state(time=0.12, current_ma=peak), 0.12).holding


def test_heat_holds_until_the_servo_has_cooled_down() -> None:
    guard, _ = moving_guard()
    guard.update_health(health(temperature_c=71.0), True)
    assert guard.check(Command(SPEC.rest, 0.0), state(), 0.0).reason is Reason.OVER_TEMPERATURE
    guard.update_health(health(temperature_c=68.0), True)
    assert guard.check(Command(SPEC.rest, 0.0), state(), 0.0).reason is Reason.OVER_TEMPERATURE
    guard.update_health(health(temperature_c=65.0), True)
    decision = guard.check(None, state(), 0.0)
    assert decision.holding and decision.reason is Reason.NO_COMMAND_YET
    assert decision.detail == "no command since over_temperature was over"
    assert guard.check(Command(SPEC.rest, 0.0), state(), 0.0).fresh
    assert guard.latched is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"temperature_c": 71.0}, Reason.OVER_TEMPERATURE), ({"voltage_v": 9.0}, Reason.LOW_VOLTAGE)],
)
def test_heat_and_a_weak_supply_that_come_with_a_state_hold_at_once(changed: dict[str, float], reason: Reason) -> None:
    guard, goals = moving_guard()
    sound = {"temperature_c": np.full(9, 35.0), "voltage_v": np.full(9, 12.0)}
    assert guard.check(Command(goals, 0.1), state(time=0.1, **sound), 0.1).fresh
    (name, value), *_ = changed.items()
    trouble = {**sound, name: np.where(np.arange(9) == 4, value, sound[name])}
    assert guard.check(Command(goals, 0.2), state(time=0.2, **trouble), 0.2).reason is reason
    assert guard.check(None, state(time=0.21), 0.21).reason is reason  # such a state tells nothing new of it
    assert guard.check(Command(goals, 0.3), state(time=0.3, **sound), 0.3).fresh


def test_a_weak_supply_holds_until_it_has_come_back() -> None:
    guard, _ = moving_guard()
    for voltage, holds in ((10.1, False), (9.8, True), (10.2, True), (10.3, False), (10.1, False)):
        guard.update_health(health(voltage_v=voltage), True)
        decision = guard.check(Command(SPEC.rest, 0.0), state(), 0.0)
        assert (decision.reason is Reason.LOW_VOLTAGE) == decision.holding == holds, voltage
    assert guard.latched is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hardware_error": 0x20, "errors": ("overload",)}, Reason.HARDWARE_ERROR),
        ({"watchdog_tripped": True}, Reason.SERVO_WATCHDOG),
        ({"torque_enabled": False}, Reason.TORQUE_LOST),
    ],
)
def test_health_latches(changes: dict[str, object], reason: Reason) -> None:
    guard, _ = moving_guard()
    guard.update_health(health(**changes), True)
    decision = guard.check(Command(SPEC.rest, 0.1), state(time=0.1), 0.1)
    assert (decision.holding, decision.reason) == (True, reason)
    assert "servo 10 (FFJ10)" in decision.detail
    assert reason.is_latched and guard.latched is reason


def test_torque_that_is_meant_to_be_off_is_not_lost() -> None:
    guard = Guard(SPEC)
    guard.update_health(health(torque_enabled=False), False)
    assert guard.latched is None


def test_an_alert_latches_at_once_and_health_tells_which() -> None:
    guard, _ = moving_guard()
    assert guard.check(None, state(alerts=(10,)), 0.0).reason is Reason.HARDWARE_ERROR
    guard.update_health(health(hardware_error=0x20, errors=("overload",)), True)
    assert "overload" in guard.check(None, state(alerts=(10,)), 0.0).detail


def test_estop_goes_before_everything_and_needs_a_reset() -> None:
    guard, _ = moving_guard()
    guard.update_health(health(watchdog_tripped=True), True)
    guard.estop("operator")
    decision = guard.check(Command(SPEC.rest, 0.0), state(), 0.0)
    assert (decision.holding, decision.reason, decision.detail) == (True, Reason.ESTOP, "operator")
    assert guard.check(None, None, 0.0).reason is Reason.ESTOP
    guard.reset()
    assert guard.check(Command(SPEC.rest, 0.0), state(), 0.0).fresh


# Stops and starts do not let the hand sink -----------------------------------------------------------------

SAG = np.full(9, -0.03)  # how far below its goal a finger's own weight keeps a joint


def sagging(guard: Guard, goals: np.ndarray, now: float, **changes: object) -> tuple[np.ndarray, JointState]:
    """What the guard holds for joints that stand a little below their goals, and where those are."""
    at = state(goals + SAG, now, **changes)
    decision = guard.check(None, at, now)
    assert decision.holding and decision.goals is not None
    return decision.goals, at


def test_stops_resets_and_starts_do_not_let_a_loaded_hand_sink() -> None:
    guard, goals = moving_guard(0.05)
    for turn in range(1, 6):
        guard.estop()
        held, _ = sagging(guard, goals, float(turn))
        guard.reset()
        again, at = sagging(guard, held, turn + 0.1)
        # Whoever teleoperates begins where the goals are.
        goals = guard.check(Command(again, turn + 0.2), dataclasses.replace(at, time=turn + 0.2), turn + 0.2).goals
    np.testing.assert_allclose(goals, SPEC.rest + 0.05)


@pytest.mark.parametrize("least", [0.003, 0.02])
def test_fingers_that_block_each_other_sink_no_more_than_the_others(least: float) -> None:
    assert SPEC.fingers is not None
    fingers = dataclasses.replace(SPEC.fingers, least_clearance=least)
    guard = Guard(dataclasses.replace(SPEC, fingers=fingers))
    wanted, position, goals, reasons = SPEC.rest.copy(), SPEC.rest + SAG, [], []
    wanted[[0, 3]] = (-0.48, 0.48)  # the first two lean together
    wanted[[1, 2, 4, 5]] = 0.0
    for number in range(80):
        now = 0.1 * number
        decision = guard.check(Command(wanted, now), state(position, now), now)
        assert decision.goals is not None
        position = decision.goals + SAG
        goals.append(decision.goals)
        reasons.append(decision.reason)
    assert reasons[-1] is Reason.SELF_COLLISION
    np.testing.assert_allclose(goals[-1][6:], SPEC.rest[6:])
    np.testing.assert_allclose(goals[-1], goals[-40], atol=1e-6)


def test_a_hand_that_is_warm_does_not_sink() -> None:
    guard, position = Guard(SPEC), SPEC.rest + SAG
    guard.update_health(health(temperature_c=SPEC.max_temperature_c - 1.0), torque_on=True)
    for number in range(40):
        now = 0.1 * number
        decision = guard.check(Command(SPEC.rest, now), state(position, now), now)
        assert decision.goals is not None
        position = decision.goals + SAG
    np.testing.assert_allclose(position, SPEC.rest + SAG, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "offset"),
    [
        ({"velocity": np.full(9, -0.5)}, -0.03),  # on its way
        ({"current_ma": np.full(9, 400.0)}, -0.03),  # pushing
        ({}, -0.1),  # kept away from its goal
    ],
)
def test_an_emergency_stop_stops_what_moves_pushes_or_is_stuck_where_it_is(
    changes: dict[str, object], offset: float
) -> None:
    guard, goals = moving_guard()
    guard.estop()
    at = state(goals + offset, 0.3, **changes)
    np.testing.assert_array_equal(guard.check(None, at, 0.3).goals, at.position)


@pytest.mark.parametrize("read_at", [0.0, 0.02])  # before the command, where a read failed since, and after it
def test_an_emergency_stop_stops_a_joint_that_has_yet_to_set_off(read_at: float) -> None:
    guard, _ = moving_guard(0.05)
    guard.estop()
    np.testing.assert_array_equal(guard.check(None, state(time=read_at), 0.02).goals, SPEC.rest)


def test_an_emergency_stop_that_went_by_an_old_state_is_done_anew_by_the_next() -> None:
    guard, goals = moving_guard(0.05)
    guard.check(None, state(goals + 0.2, 0.3, velocity=np.full(9, 2.0)), 0.3)
    guard.estop()
    old = guard.check(None, state(goals + 0.2, 0.3, velocity=np.full(9, 2.0)), 0.38)
    np.testing.assert_array_equal(old.goals, goals + 0.2)
    seen = state(goals + 0.34, 0.39, velocity=np.full(9, 2.0))
    for now, anew in ((0.39, True), (0.395, False)):
        decision = guard.check(None, seen, now)
        np.testing.assert_array_equal(decision.goals, seen.position)
        assert decision.anew is anew
    later = guard.check(None, state(goals + 0.4, 0.41), 0.41)
    np.testing.assert_array_equal(later.goals, seen.position)


def test_a_goal_that_is_commanded_again_and_again_is_stood_at() -> None:
    guard, goals = moving_guard(0.05)
    for number in range(1, 6):  # of a leader or a policy that holds still, but for its noise
        noise = 0.002 * (-1) ** number
        guard.check(Command(goals + noise, 0.1 * number), state(goals + SAG, 0.1 * number), 0.1 * number)
    guard.estop()
    held, _ = sagging(guard, goals, 0.52)
    np.testing.assert_allclose(held, goals, atol=0.003)


def test_a_stop_does_not_go_on_to_a_pose_that_a_push_kept_away() -> None:
    guard, goals = moving_guard()
    written = guard.check(None, state(goals - REACH - 0.05, 0.4), 0.4)
    assert written.reason is Reason.COMMAND_TOO_OLD and written.goals is not None
    guard.check(None, state(written.goals, 1.0), 1.0)  # let go, and come to what was written
    guard.estop()
    np.testing.assert_array_equal(guard.check(None, state(written.goals, 1.1), 1.1).goals, written.goals)


def test_each_joint_is_stopped_by_itself() -> None:
    guard, goals = moving_guard()
    guard.estop()
    moving = np.where(np.arange(9) == 4, 1.0, 0.0)
    held, at = sagging(guard, goals, 0.3, velocity=moving)
    np.testing.assert_array_equal(held, np.where(moving > 0.0, at.position, goals))


def test_trouble_of_the_robot_takes_the_load_off_joints_that_stand() -> None:
    guard, goals = moving_guard()
    guard.update_health(health(temperature_c=71.0), True)
    held, at = sagging(guard, goals, 0.3)
    np.testing.assert_array_equal(held, at.position)


@pytest.mark.parametrize("latched", [True, False])
def test_joints_that_were_limp_are_held_where_they_are_then(latched: bool) -> None:
    guard, goals = moving_guard()
    guard.estop()
    sagging(guard, goals, 0.3)
    if not latched:
        guard.reset()
    guard.forget_pose()  # torque was off: somebody led the fingers, if only a little
    held, at = sagging(guard, goals, 0.4)
    np.testing.assert_array_equal(held, at.position)
    assert (guard.latched is Reason.ESTOP) == latched
