"""What the wire check finds in writes made by hand with the real SDK; in those of the guard it finds nothing."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dynamixel_sdk import GroupBulkWrite, GroupSyncWrite

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.control_table import RAD_PER_TICK
from vmail_hardware.emulator import EmulatedBus, Faults, FirstOrderPlant, WireCheck
from vmail_hardware.emulator.chain import ServoChain
from vmail_hardware.emulator.wire_check import FIRST, MEMORY_S
from vmail_hardware.guard import Command, Guard

from .conftest import Sdk

MODE, TORQUE, CURRENT, GOAL = 11, 64, 102, 116
PERIOD_S = 0.01


@pytest.fixture
def check(spec: RobotSpec) -> WireCheck:
    return WireCheck(spec)


def ticks(spec: RobotSpec, index: int, angle: float) -> int:
    return round((spec.zero_rad[index] + spec.direction[index] * angle) / RAD_PER_TICK)


def write(sdk: Sdk, servo_id: int, address: int, value: int, size: int) -> None:
    sdk.packets.writeTxRx(sdk.port, servo_id, address, size, list(value.to_bytes(size, "little", signed=value < 0)))


def power(sdk: Sdk, servo_id: int) -> None:
    write(sdk, servo_id, TORQUE, 1, 1)


def by_write(sdk: Sdk, servo_id: int, goal: int) -> None:
    write(sdk, servo_id, GOAL, goal, 4)


def by_sync_write(sdk: Sdk, servo_id: int, goal: int) -> None:
    writer = GroupSyncWrite(sdk.port, sdk.packets, GOAL, 4)
    writer.addParam(servo_id, list(goal.to_bytes(4, "little")))
    writer.txPacket()
    sdk.packets.ping(sdk.port, servo_id)  # nobody answers a sync write


def by_bulk_write(sdk: Sdk, servo_id: int, goal: int) -> None:
    writer = GroupBulkWrite(sdk.port, sdk.packets)
    writer.addParam(servo_id, GOAL, 4, list(goal.to_bytes(4, "little")))
    writer.txPacket()
    sdk.packets.ping(sdk.port, servo_id)


def by_action(sdk: Sdk, servo_id: int, goal: int) -> None:
    sdk.packets.regWriteTxRx(sdk.port, servo_id, GOAL, 4, list(goal.to_bytes(4, "little")))
    sdk.packets.action(sdk.port, servo_id)
    sdk.packets.ping(sdk.port, servo_id)


@pytest.mark.parametrize("way", [by_write, by_sync_write, by_bulk_write, by_action])
def test_a_goal_past_the_joints_limits_is_found_however_it_is_written(
    sdk: Sdk, spec: RobotSpec, check: WireCheck, way: Callable[[Sdk, int, int], None]
) -> None:
    power(sdk, 11)
    assert check.count == 0
    way(sdk, 11, ticks(spec, 1, spec.lower[1] - 0.1))  # the joint rests at its lower limit
    assert check.counts == {"joint_limit": 1}
    (violation,) = check.violations
    assert (violation.servo_id, violation.joint, violation == check.last) == (11, "FFJ11", True)
    assert abs(violation.time - time.time()) < 60.0
    assert "servo 11 (FFJ11) was told goal -1.147 rad; its limits are -1.047 to 1.047 rad" in str(violation)


def test_a_step_longer_than_one_control_periods_travel_is_found(sdk: Sdk, spec: RobotSpec, check: WireCheck) -> None:
    reach = spec.max_joint_speed * spec.control_period
    power(sdk, 30)
    by_write(sdk, 30, ticks(spec, 6, 0.98 * reach))
    assert check.count == 0
    time.sleep(2.0 * MEMORY_S + 0.3)  # the joint is there by now, and not remembered elsewhere
    by_write(sdk, 30, ticks(spec, 6, -0.2 * reach))
    assert check.counts == {"reach": 1}
    assert "goal -0.04" in str(check.last) and "control period's travel" in str(check.last)


def test_torque_that_would_make_a_joint_jump_is_found(sdk: Sdk, spec: RobotSpec, check: WireCheck) -> None:
    by_write(sdk, 12, ticks(spec, 2, spec.rest[2] - 1.0))
    assert check.count == 0  # nothing moves yet
    power(sdk, 12)
    assert check.counts == {"reach": 1}
    power(sdk, 12)  # is on already
    assert check.count == 1


@pytest.mark.parametrize(
    ("address", "size", "value", "kind", "text"),
    [
        (CURRENT, 2, 400, "goal_current", "goal current 1076 mA; its limit is 800 mA"),
        (CURRENT, 2, -400, "goal_current", "goal current -1076 mA"),
        (66, 1, 1, "register", "01 at 66; nothing of that size is written there"),
        (132, 4, 2000, "register", "at 132; nothing of that size is written there"),
        (GOAL, 2, 2000, "register", "at 116; nothing of that size is written there"),
        (1000, 1, 1, "register", "at 1000"),
        (98, 1, -5, "register", "bus_watchdog = -5; right is 0 to 127"),
        (100, 2, 886, "register", "goal_pwm = 886; right is -885 to 885"),
        (MODE, 1, 7, "register", "operating_mode = 7; right are (0, 1, 3, 4, 5, 16)"),
    ],
)
def test_bad_registers_and_values_are_found(
    sdk: Sdk, check: WireCheck, address: int, size: int, value: int, kind: str, text: str
) -> None:
    write(sdk, 20, address, value, size)
    assert check.counts == {kind: 1}
    assert text in str(check.last)


def test_set_up_under_torque_and_torque_in_another_mode_are_found(sdk: Sdk, check: WireCheck) -> None:
    power(sdk, 20)
    write(sdk, 20, MODE, 4, 1)
    assert check.counts == {"register": 1} and "locked while torque is on" in str(check.last)
    write(sdk, 21, MODE, 1, 1)
    assert check.count == 1
    power(sdk, 21)
    assert check.counts == {"register": 1, "operating_mode": 1}


def test_what_is_right_counts_nothing(sdk: Sdk, spec: RobotSpec, emulated: EmulatedBus, check: WireCheck) -> None:
    write(sdk, 10, CURRENT, 297, 2)  # 799 mA
    write(sdk, 10, 98, 25, 1)
    pushed = spec.rest.copy()
    pushed[0] = spec.upper[0] + 0.3
    emulated.plant.push(pushed)
    by_write(sdk, 10, ticks(spec, 0, pushed[0]))
    power(sdk, 10)
    by_write(sdk, 10, ticks(spec, 0, spec.upper[0] + 0.15))  # outside, and nearer to its limits than the joint
    write(sdk, 99, GOAL, 0, 4)  # there is no such servo
    assert check.count == 0
    by_write(sdk, 10, ticks(spec, 0, spec.upper[0] + 0.35))
    assert check.counts == {"joint_limit": 1}


def test_a_joint_that_is_mounted_the_other_way_round_is_judged_by_its_own_angles(
    spec: RobotSpec, tmp_path: Path
) -> None:
    mirrored = dataclasses.replace(spec, direction=-spec.direction, upper=np.where(np.arange(9) == 1, 0.0, spec.upper))
    check = WireCheck(mirrored)
    with EmulatedBus(tmp_path / "mirrored", mirrored, check=check) as bus:
        sdk = Sdk(bus.path)
        bus.plant.push(np.where(np.arange(9) == 1, -0.05, spec.rest))
        by_write(sdk, 11, ticks(mirrored, 1, -0.05))
        power(sdk, 11)
        by_write(sdk, 11, ticks(mirrored, 1, 0.0))
        assert check.count == 0
        by_write(sdk, 11, ticks(mirrored, 1, 0.1))
        sdk.port.closePort()
    assert check.counts == {"joint_limit": 1}
    assert "goal 0.100 rad; its limits are -1.047 to 0.000 rad" in str(check.last)


def test_only_the_first_are_described_and_all_are_counted(sdk: Sdk, check: WireCheck) -> None:
    for _ in range(FIRST + 3):
        write(sdk, 20, 66, 1, 1)
    assert (check.count, len(check.violations)) == (FIRST + 3, FIRST)


def test_the_guard_never_violates_whatever_is_commanded(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec, check: WireCheck
) -> None:
    """Wild commands at 10 Hz, pushes by hand, torque off and on, and holds: as the driver does it."""
    guard, random, goals_written = Guard(spec), np.random.default_rng(0), 0
    bus.set_torque(True, ramp_s=0.05)
    for tick in range(400):
        if tick % 97 == 96:
            emulated.plant.push(random.uniform(spec.lower - 0.3, spec.upper + 0.3))
        if tick == 200:
            bus.release(0.05)
            emulated.plant.push(spec.rest)
            bus.set_torque(True, ramp_s=0.05)
            guard.reset()
        state = bus.read()
        wild = Command(random.uniform(-2.0, 2.0, 9), time.time()) if tick % 10 == 0 and tick % 100 < 50 else None
        goals = guard.check(wild, state, time.time()).goals
        if goals is not None:
            goals_written += 1
            bus.write_goals(goals)
        time.sleep(PERIOD_S)
    assert goals_written > 20
    assert check.count == 0, check.violations


def test_the_same_commands_without_the_guard_are_found(bus: DynamixelBus, spec: RobotSpec, check: WireCheck) -> None:
    bus.set_torque(True)
    assert check.count == 0
    bus.read()
    bus.write_goals(spec.rest + 0.5)
    bus.read()
    assert check.counts == {"reach": 9, "joint_limit": 3}


def test_fake_bus_prints_violations_and_fails(tmp_path: Path) -> None:
    said, code = serve(tmp_path / "bus", lambda sdk: write(sdk, 20, CURRENT, 400, 2))
    assert code == 1
    assert "goal_current: servo 20 (MFJ20) was told goal current 1076 mA; its limit is 800 mA" in said
    assert "violations of the limits of dclaw: 1 goal_current" in said


def test_fake_bus_is_content_with_what_is_right(tmp_path: Path) -> None:
    said, code = serve(tmp_path / "bus", lambda sdk: write(sdk, 20, CURRENT, 200, 2))
    assert code == 0 and "dclaw: none" in said


def serve(path: Path, act: Callable[[Sdk], None]) -> tuple[str, int]:
    """What `vmail fake-bus --check` prints, and its exit code, when `act` happens meanwhile."""
    command = [sys.executable, "-m", "vmail.cli", "fake-bus", "--path", str(path), "--check"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        sdk = Sdk(path)
        act(sdk)
        sdk.port.closePort()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        return first + rest, process.returncode
    finally:
        process.kill()
        process.wait()


def test_what_was_sent_while_the_emulator_was_held_up_is_judged_by_where_the_joints_were(
    spec: RobotSpec, check: WireCheck
) -> None:
    servos = ServoChain(spec, FirstOrderPlant(spec.rest), Faults()).servos
    servo = servos[1]
    servo.set("torque_enable", 1)
    before = ticks(spec, 1, spec.rest[1] + 0.7)
    servo.set("present_position", before)
    check.saw(0.0, servos)
    servo.set("present_position", before + 400)  # 0.6 rad, three times the reach
    check.saw(1.0, servos)
    goal = before.to_bytes(4, "little")
    check.written(servo, GOAL, goal)
    assert not check.count
    for step in range(20):
        check.saw(1.01 + 0.01 * step, servos)
    check.written(servo, GOAL, goal)
    assert check.counts == {"reach": 1}
