"""Goals and torque through `DynamixelBus`, with the real SDK on an emulated bus."""

from __future__ import annotations

import time

import numpy as np
import pytest
from bus_bench import TICK, torque, wait_until

from vmail_core.robot import RobotSpec
from vmail_hardware import torque_ramp
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusWriteError
from vmail_hardware.emulator import EmulatedBus, FirstOrderPlant


def test_goals_move_the_joints(bus: DynamixelBus, spec: RobotSpec) -> None:
    bus.set_torque(True)
    goals = spec.rest + np.linspace(-0.2, 0.2, 9)
    bus.write_goals(goals)
    wait_until(lambda: bool(np.allclose(bus.read().position, goals, atol=2 * TICK)))


@pytest.mark.parametrize("goals", [np.full(9, np.nan), np.zeros(8), np.full(9, np.inf)])
def test_goals_that_are_none_are_refused(bus: DynamixelBus, emulated: EmulatedBus, goals: np.ndarray) -> None:
    before = emulated.servo(10).get("goal_position")
    with pytest.raises(ValueError, match="9 finite angles"):
        bus.write_goals(goals)
    assert emulated.servo(10).get("goal_position") == before


def test_goals_beyond_the_servo_are_sent_as_its_limit(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    bus.write_goals(np.full(9, 100.0))
    bus.read()  # sync write is not acknowledged; what comes after it is handled after it
    assert emulated.servo(10).get("goal_position") == 4095


def test_torque_on_moves_nothing(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    plant = emulated.plant
    assert isinstance(plant, FirstOrderPlant)
    pose = spec.rest + 0.3
    plant.push(pose)  # the servos' goals are still where they were at power-on
    bus.set_torque(True)
    assert torque(emulated, spec) == [1] * 9
    time.sleep(0.2)
    np.testing.assert_allclose(bus.read().position, pose, atol=TICK)


def strengths(emulated: EmulatedBus, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Shares of its force that the first servo's joint feels from now on; it grows."""
    shares: list[float] = []
    set_goals = emulated.plant.set_goals

    def watch(goals: np.ndarray, strength: np.ndarray) -> None:
        shares.append(float(strength[0]))
        set_goals(goals, strength)

    monkeypatch.setattr(emulated.plant, "set_goals", watch)
    return shares


def test_force_comes_and_goes_gradually(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = strengths(emulated, monkeypatch)
    bus.set_torque(True, ramp_s=0.2)
    up = len(shares)
    assert shares[0] < 0.1 and shares[-1] == 1.0 and np.diff(shares).max() < 0.15 and np.all(np.diff(shares) >= 0.0)
    bus.release(0.2)
    assert np.diff(shares[up - 1 :]).min() > -0.15 and shares[-1] == 0.0 and torque(emulated, spec) == [0] * 9
    assert emulated.servo(10).get("goal_pwm") == 885, "as other programs expect it"
    bus.set_torque(True)
    shares.clear()
    bus.set_torque(True, ramp_s=0.2)
    assert min(shares, default=1.0) == 1.0, "what is held already must not drop"


def test_torque_on_clears_what_other_programs_left(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    emulated.servo(22).set("bus_watchdog", -1)
    emulated.servo(22).set("profile_velocity", 10)
    bus.set_torque(True)
    assert emulated.servo(22).get("bus_watchdog") == 0
    assert emulated.servo(22).get("profile_velocity") == 0


def test_torque_survives_lost_packets(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    for lost in (1, 3, 9):
        emulated.faults.lose_next = lost
        bus.set_torque(True)
        assert torque(emulated, spec) == [1] * 9
        emulated.faults.lose_next = lost
        bus.set_torque(False)
        assert torque(emulated, spec) == [0] * 9


def test_a_servo_that_refuses_torque_leaves_all_of_it_off(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec
) -> None:
    emulated.faults.hardware_errors[11] = 0x20
    with pytest.raises(BusWriteError, match=r"torque_enable of servo 11 \(FFJ11\)") as caught:
        bus.set_torque(True)
    assert caught.value.servo_ids == (11,)
    assert torque(emulated, spec) == [0] * 9
    emulated.faults.hardware_errors.clear()
    bus.reboot(11)
    bus.set_torque(True)


def test_watchdog_stops_servos_that_hear_nothing(emulated: EmulatedBus, spec: RobotSpec) -> None:
    bus = DynamixelBus(str(emulated.path), spec, reply_timeout_ms=200.0, watchdog_s=0.1)
    bus.open()
    bus.set_torque(True)
    wait_until(lambda: emulated.servo(10).get("bus_watchdog") == -1)
    assert bus.read_health().watchdog_tripped
    bus.set_torque(True)
    assert emulated.servo(10).get("bus_watchdog") == 5
    bus.close()


def test_servos_whose_watchdogs_have_tripped_are_let_go_gradually_too(
    emulated: EmulatedBus, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = DynamixelBus(str(emulated.path), spec, reply_timeout_ms=200.0)
    bus.open()
    bus.set_torque(True)
    servos = [emulated.servo(servo_id) for servo_id in spec.servo_ids]
    wait_until(lambda: all(servo.get("bus_watchdog") == -1 for servo in servos))
    before = bus.read().position
    shares = strengths(emulated, monkeypatch)
    bus.release(0.4)
    down = np.diff(shares)
    assert shares[0] > 0.9 and down.min() > -0.15 and shares[-2] < 0.1, shares
    np.testing.assert_allclose(bus.read().position, before, atol=2 * TICK)
    assert torque(emulated, spec) == [0] * 9
    bus.close()


def test_a_long_release_feeds_the_watchdogs(
    bus: DynamixelBus, emulated: EmulatedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.set_torque(True)
    pauses: list[float] = []
    monkeypatch.setattr(torque_ramp.time, "sleep", pauses.append)
    bus.release(10.0)
    assert sum(pauses) == pytest.approx(10.0) and max(pauses) <= 0.1


def test_a_limp_joint_gets_no_force_while_it_is_let_go(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    limp = emulated.servo(spec.servo_ids[2])
    limp.set("goal_pwm", 0)  # as where its cable dropped out while torque came on
    bus.write_goals(spec.rest)
    bus.read()  # by now the plant has heard of it
    emulated.plant.push(np.where(np.arange(9) == 2, spec.rest + 0.5, spec.rest))
    before = emulated.plant.positions()[2]
    bus.release(0.3)
    assert emulated.plant.positions()[2] == pytest.approx(before, abs=TICK)
    assert not any(emulated.servo(servo_id).get("torque_enable") for servo_id in spec.servo_ids)


def test_whether_torque_is_on_is_asked_of_the_servos(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    assert not bus.torque_is_on()
    emulated.servo(21).set("torque_enable", 1)
    assert bus.torque_is_on()
