"""`DynamixelBus` as it is closed, and as its port is lost and comes back, with the real SDK on an emulated bus."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from bus_bench import TICK, plug_in_again, torque, wait_until

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusLostError, BusOpenError, BusWriteError
from vmail_hardware.emulator import EmulatedBus


def test_close_switches_torque_off_and_may_be_called_again(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    bus.close()
    assert torque(emulated, spec) == [0] * 9
    assert not bus.is_open
    bus.close()


def test_close_switches_off_torque_that_another_program_left_on(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.servo(10).set("torque_enable", 1)
    bus = DynamixelBus(str(emulated.path), spec, reply_timeout_ms=200.0)
    bus.open()
    bus.close()
    assert torque(emulated, spec) == [0] * 9


def test_close_survives_lost_packets_and_an_interrupted_call(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    assert bus._link._port is not None
    bus._link._port.is_using = True  # what an interrupt in the middle of an SDK call leaves behind
    emulated.faults.lose_next = 5
    bus.close()
    assert torque(emulated, spec) == [0] * 9


def test_close_tells_of_a_servo_that_does_not_confirm(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    emulated.faults.silent_ids = {30}
    with pytest.raises(BusWriteError, match=r"torque may still be on: servo 30 \(THJ30\).*power supply") as caught:
        bus.close()
    assert caught.value.servo_ids == (30,)
    assert not bus.is_open
    assert torque(emulated, spec) == [0] * 9  # it heard, though


def test_unplugging_is_one_error_from_every_call(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.faults.unplugged = True
    wait_until(lambda: not emulated.path.exists())
    with pytest.raises(BusLostError, match="went away.*cable"):
        for _ in range(3):
            bus.read()
    assert not bus.is_open
    for call in (bus.read, bus.read_health, lambda: bus.write_goals(spec.rest), lambda: bus.set_torque(True)):
        with pytest.raises(BusLostError, match="reopen"):
            call()


@pytest.mark.parametrize("first", ["write", "health", "torque"])
def test_unplugging_is_noticed_by_whatever_comes_first(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec, first: str
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: bus.write_goals(spec.rest),
        "health": bus.read_health,
        "torque": lambda: bus.set_torque(True),
    }
    emulated.faults.unplugged = True
    wait_until(lambda: not emulated.path.exists())
    with pytest.raises(BusLostError):
        calls[first]()


def test_reopen_after_the_cable_is_back(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    bus.set_torque(True)
    emulated.faults.unplugged = True
    wait_until(lambda: not emulated.path.exists())
    with pytest.raises(BusLostError):
        bus.read()
    with pytest.raises(BusOpenError, match="no device"):
        bus.reopen()
    plug_in_again(emulated)
    bus.reopen()
    assert torque(emulated, spec) == [1] * 9  # the servos have their own power
    np.testing.assert_allclose(bus.read().position, spec.rest, atol=TICK)


def test_reopening_waits_for_one_servo_only(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.faults.silent_ids = set(spec.servo_ids)
    began = time.monotonic()
    with pytest.raises(BusOpenError, match=r"no answer from servo 10 \(FFJ10\)"):
        bus.reopen()
    assert time.monotonic() - began < 2.0, "all nine would take 7 s"
    emulated.faults.silent_ids = {21}
    with pytest.raises(BusOpenError, match=r"no answer from servo 21 \(MFJ21\)"):
        bus.reopen()
    emulated.faults.silent_ids = set()
    bus.reopen()


def test_close_waits_for_the_cable_and_switches_off(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    bus.set_torque(True)
    emulated.faults.unplugged = True
    wait_until(lambda: not emulated.path.exists())
    with pytest.raises(BusLostError):
        bus.read()
    plug_in_again(emulated)
    bus.close()
    assert torque(emulated, spec) == [0] * 9


def test_close_without_a_port_says_that_torque_may_be_on_and_may_be_tried_again(
    bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    emulated.faults.unplugged = True
    wait_until(lambda: not emulated.path.exists())
    start = time.monotonic()
    with pytest.raises(BusWriteError, match="torque may still be on"):
        bus.close()
    assert time.monotonic() - start < 5.0
    plug_in_again(emulated)
    bus.close()
    assert torque(emulated, spec) == [0] * 9


def test_with_statement_ends_with_torque_off(emulated: EmulatedBus, spec: RobotSpec) -> None:
    with pytest.raises(KeyboardInterrupt), DynamixelBus(str(emulated.path), spec, reply_timeout_ms=200.0) as bus:
        bus.set_torque(True)
        raise KeyboardInterrupt
    assert torque(emulated, spec) == [0] * 9
