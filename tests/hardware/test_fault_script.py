"""Faults that come and go by the clock, and what the emulated servos make of the newer ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.emulator import EmulatedBus, Faults
from vmail_hardware.emulator.fault_script import KINDS, FaultScript, parse_fault


@pytest.mark.parametrize("name", KINDS)
def test_every_kinds_example_can_be_read_and_names_a_field_of_the_faults(name: str) -> None:
    kind = KINDS[name]
    fault = parse_fault(f"{name}={kind.example}" if kind.example else name)
    sound = getattr(Faults(), kind.field)
    assert (fault.start, fault.end) == (0.0, float("inf"))
    assert type(fault.value) is type(sound) and fault.value != sound


def test_faults_begin_end_and_add_up() -> None:
    script, faults = FaultScript(["silent=32@1+2", "silent=10,11@2+2", "delay=0.01@2.5", "unplug+0.5"]), Faults()
    seen = []
    for elapsed in (0.0, 0.6, 1.0, 2.0, 3.0, 4.0):
        seen.append(script.apply(faults, elapsed))
        expected = {0.0: set(), 0.6: set(), 1.0: {32}, 2.0: {10, 11, 32}, 3.0: {10, 11}, 4.0: set()}[elapsed]
        assert faults.silent_ids == expected
        assert faults.unplugged == (elapsed < 0.5) and faults.reply_delay_s == (0.01 if elapsed >= 2.5 else 0.0)
    assert seen[0] == ["unplug+0.5 begins"] and seen[1] == ["unplug+0.5 ends"]
    assert seen[4] == ["delay=0.01@2.5 begins", "silent=32@1+2 ends"]
    script.apply(faults, float("inf"))
    assert faults == Faults()


def test_two_errors_of_one_servo_are_both_shown() -> None:
    faults = Faults()
    FaultScript(["overload=11", "overheat=11,12"]).apply(faults, 0.0)
    assert faults.hardware_errors == {11: 0x24, 12: 0x04}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("burn=3", "no fault 'burn=3'.*one of: silent=32, "),
        ("silent=32@soon", "write NAME=VALUE@AFTER"),
        ("silent=elbow", "fault 'silent=elbow'.*for example silent=32"),
        ("heat=30", "for example heat=30:75"),
        ("lose=1.5", "between 0 and 1"),
        ("delay", "for example delay=0.01"),
        ("delay=-1", "between 0 and 60"),
        ("heat=30:300", "between 0 and 255"),
        ("voltage=30:inf", "between 0 and 60"),
        ("silent=32@1.2.3", "write NAME=VALUE@AFTER"),
    ],
)
def test_what_is_no_fault_is_answered_with_what_is(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaultScript([text])


def test_a_stuck_joint_stays_where_it_is_and_its_current_rises(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec
) -> None:
    bus.set_torque(True)
    emulated.faults.stuck_ids = {11}
    bus.write_goals(spec.rest + 0.2)
    time.sleep(0.5)
    state = bus.read()
    others = np.arange(9) != 1
    np.testing.assert_allclose(state.position[others], (spec.rest + 0.2)[others], atol=0.02)
    assert state.position[1] == pytest.approx(spec.rest[1], abs=0.01)
    assert state.current_ma[1] == pytest.approx(2300.0 * 0.2 / 0.3, rel=0.05)
    assert np.abs(state.current_ma[others]).max() < 100.0
    emulated.faults.stuck_ids = set()
    time.sleep(0.5)
    assert bus.read().position[1] == pytest.approx(spec.rest[1] + 0.2, abs=0.02)


def test_a_share_of_answers_is_lost(emulated: EmulatedBus, bus: DynamixelBus) -> None:
    bus.read()
    emulated.faults.lose_share = 1.0
    assert bus._link.ping(10) is None
    emulated.faults.lose_share = 0.0
    assert bus._link.ping(10) == 1030


def test_fake_bus_breaks_what_it_is_told_to_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    command = [sys.executable, "-m", "vmail.cli", "fake-bus", "--path", str(path), "--fault", "unplug@0.2+0.2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert "unplug@0.2+0.2 begins" in lines[1] and "unplug@0.2+0.2 ends" in lines[2]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
    wrong = subprocess.run([*command[:-1], "burn"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "no fault 'burn'" in wrong.stderr and not path.exists()
