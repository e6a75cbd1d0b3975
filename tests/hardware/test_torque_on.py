"""What torque does to joints when it comes on: nothing. Where it would, it stays off, and the error names the joint."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from bus_bench import torque, wait_until

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusWriteError
from vmail_hardware.control_table import RAD_PER_TICK
from vmail_hardware.emulator import EmulatedBus, FirstOrderPlant, WireCheck
from vmail_hardware.emulator.servo import EmulatedServo


@pytest.fixture
def spec(spec: RobotSpec) -> RobotSpec:
    """A hand whose first joint has its lower limit just where its servo's range ends, at tick 10."""
    return dataclasses.replace(spec, zero_rad=np.append(0.495, spec.zero_rad[1:]))


@pytest.fixture
def check(spec: RobotSpec) -> WireCheck:
    return WireCheck(spec)


def push(emulated: EmulatedBus, spec: RobotSpec, angle: float, joint: int = 0) -> np.ndarray:
    """Put one joint elsewhere; returns where all are then."""
    assert isinstance(emulated.plant, FirstOrderPlant)
    pose = spec.rest.copy()
    pose[joint] = angle
    emulated.plant.push(pose)
    return pose


def test_a_joint_that_hangs_outside_of_its_servos_range_is_not_driven_inside(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec, check: WireCheck
) -> None:
    pose = push(emulated, spec, -0.80)
    message = (
        r"stays off: servo 10 \(FFJ10\) stands at -0.80 rad, its servo goes from -0.49 to 5.79 rad\. Move them inside"
    )
    with pytest.raises(BusWriteError, match=message) as caught:
        bus.set_torque(True, ramp_s=0.1)
    assert caught.value.servo_ids == (10,)
    assert torque(emulated, spec) == [0] * 9
    np.testing.assert_array_equal(emulated.plant.positions(), pose)
    push(emulated, spec, -0.40)
    bus.set_torque(True, ramp_s=0.1)
    np.testing.assert_allclose(bus.read().position[0], -0.40, atol=RAD_PER_TICK)
    assert check.count == 0, check.violations


def test_a_joint_that_rests_at_its_stop_is_no_obstacle(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec, check: WireCheck
) -> None:
    push(emulated, spec, 6 * RAD_PER_TICK, 1)
    emulated.servo(11).set("min_position_limit", 2060)
    bus._servos.goal_range[0][1] = 2060  # as if it had been set so when the bus was opened
    bus.set_torque(True)
    assert torque(emulated, spec) == [1] * 9 and emulated.servo(11).get("goal_position") == 2060
    assert check.count == 0


def test_a_servo_with_torque_that_is_pushed_outside_keeps_it(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    emulated.faults.stuck_ids = {10}
    push(emulated, spec, -0.80)
    bus.set_torque(True)
    assert torque(emulated, spec) == [1] * 9
    assert emulated.servo(10).get("goal_position") == 0, "the end of its range that is nearest to the joint"


@pytest.mark.parametrize("offset", [-512, 512])
def test_a_servo_that_counts_from_elsewhere_with_torque_on_does_not_turn_round(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec, offset: int
) -> None:
    """As in a limp joint that has passed its servo's zero, whose reading the homing offset takes back inside."""
    emulated.servo(11).set("homing_offset", offset)  # after the checks of `open`
    where = -300 if offset > 0 else 4096 + 300
    pose = push(emulated, spec, (where - 2048) * RAD_PER_TICK, 1)
    assert 0 <= where + offset < 4096, "limp, it shows a position that a goal may have"
    with pytest.raises(BusWriteError, match=r"servo 11 \(FFJ11\) stands at .* switch its power off and on"):
        bus.set_torque(True, ramp_s=0.1)
    assert torque(emulated, spec) == [0] * 9
    time.sleep(0.1)
    np.testing.assert_array_equal(emulated.plant.positions(), pose)


def test_a_joint_that_does_not_keep_still_gets_no_force(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose, write = spec.rest.copy(), bus._servos.write

    def led(register: str, values: list[int]) -> None:
        write(register, values)
        if register == "goal_position":
            pose[4] += 0.1
            emulated.plant.push(pose)  # type: ignore[attr-defined]

    monkeypatch.setattr(bus._servos, "write", led)
    with pytest.raises(BusWriteError, match=r"servo 21 \(MFJ21\) stands at .*, a moment ago at .*Hold them still"):
        bus.set_torque(True, ramp_s=0.1)
    assert torque(emulated, spec) == [0] * 9
    np.testing.assert_array_equal(emulated.plant.positions(), pose)


def test_a_servo_without_torque_gets_its_force_gradually_beside_those_that_hold(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    bus.reboot(22)
    push(emulated, spec, 0.3, 5)
    shares: list[np.ndarray] = []
    set_goals = emulated.plant.set_goals

    def watch(goals: np.ndarray, strength: np.ndarray) -> None:
        shares.append(strength)
        set_goals(goals, strength)

    emulated.plant.set_goals = watch  # type: ignore[method-assign]
    bus.set_torque(True, ramp_s=0.1)
    others = np.arange(9) != 5
    assert min(share[others].min() for share in shares) == 1.0, "what is held already must not drop"
    assert np.diff([share[5] for share in shares]).max() < 0.15 and shares[-1][5] == 1.0
    np.testing.assert_allclose(bus.read().position[5], 0.3, atol=RAD_PER_TICK)


def watched(emulated: EmulatedBus, spec: RobotSpec) -> DynamixelBus:
    bus = DynamixelBus(str(emulated.path), spec, reply_timeout_ms=200.0, watchdog_s=0.5)
    bus.open()
    return bus


def test_limp_servos_show_that_their_watchdog_works_before_they_get_force(
    emulated: EmulatedBus, spec: RobotSpec, check: WireCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = watched(emulated, spec)
    pose, tripped = push(emulated, spec, 0.1), []
    trip = EmulatedServo.trip_watchdog_after

    def note(servo: EmulatedServo, silence_s: float) -> bool:
        trips = trip(servo, silence_s)
        if trips:
            tripped.append((servo.servo_id, servo.strength))
        return trips

    monkeypatch.setattr(EmulatedServo, "trip_watchdog_after", note)
    bus.set_torque(True, ramp_s=0.1)
    assert sorted(tripped) == [(servo_id, 0.0) for servo_id in spec.servo_ids]
    assert torque(emulated, spec) == [1] * 9
    assert {emulated.servo(servo_id).get("bus_watchdog") for servo_id in spec.servo_ids} == {25}
    np.testing.assert_allclose(bus.read().position, pose, atol=RAD_PER_TICK)
    tripped.clear()
    bus.reboot(22)
    bus.set_torque(True, ramp_s=0.1)
    assert tripped == [(22, 0.0)], "those that hold something are not tested"
    bus.release(0.0)
    assert check.count == 0, check.violations


def test_a_servo_whose_watchdog_does_not_trip_gets_no_torque(emulated: EmulatedBus, spec: RobotSpec) -> None:
    bus = watched(emulated, spec)
    emulated.faults.sleeping_watchdog_ids = {12, 30}
    strengths: list[float] = []
    set_goals = emulated.plant.set_goals
    emulated.plant.set_goals = lambda goals, strength: strengths.append(strength.max()) or set_goals(goals, strength)  # type: ignore[method-assign, func-returns-value]
    message = (
        r"torque stays off: the bus watchdog of servo 12 \(FFJ12\), servo 30 \(THJ30\) did not.*Update their firmware"
    )
    with pytest.raises(BusWriteError, match=message) as caught:
        bus.set_torque(True)
    assert caught.value.servo_ids == (12, 30)
    assert torque(emulated, spec) == [0] * 9 and max(strengths, default=0.0) == 0.0
    assert {emulated.servo(servo_id).get("goal_pwm") for servo_id in spec.servo_ids} == {885}, "as others expect it"
    assert {emulated.servo(servo_id).get("bus_watchdog") for servo_id in spec.servo_ids} == {0}
    emulated.faults.sleeping_watchdog_ids = set()
    bus.set_torque(True)
    assert torque(emulated, spec) == [1] * 9
    bus.close()


def test_a_lost_packet_does_not_look_like_a_watchdog_that_sleeps(
    emulated: EmulatedBus, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = watched(emulated, spec)
    write, lost = bus._servos.write, []

    def lossy(register: str, values: list[int]) -> None:
        if register == "bus_watchdog" and any(values) and not lost:
            lost.append(values)
        else:
            write(register, values)

    monkeypatch.setattr(bus._servos, "write", lossy)
    bus.set_torque(True)
    assert lost == [[2] * 9] and torque(emulated, spec) == [1] * 9
    bus.close()


def test_joints_whose_watchdog_has_tripped_can_be_let_go(emulated: EmulatedBus, spec: RobotSpec) -> None:
    bus = watched(emulated, spec)
    bus.set_torque(True)
    wait_until(lambda: emulated.servo(10).get("bus_watchdog") == -1)
    bus.release(0.0)
    assert torque(emulated, spec) == [0] * 9
    assert emulated.servo(10).get("bus_watchdog") == 0 and emulated.servo(10).get("goal_pwm") == 885
    bus.close()
