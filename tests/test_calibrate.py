"""`vmail calibrate` in a terminal, on emulated servos that a test moves as a person would."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from terminal import Terminal

from vmail.cli import main
from vmail_core.robot import load_robot
from vmail_hardware.calibration import load_calibration
from vmail_hardware.emulator import EmulatedBus

SPEC = load_robot("dclaw")
MOUNTED = dataclasses.replace(SPEC, zero_rad=SPEC.zero_rad + np.linspace(-0.3, 0.3, 9))  # as this hand's horns are


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmulatedBus]:
    with EmulatedBus(tmp_path / "bus", MOUNTED) as emulated:
        yield emulated


@pytest.fixture
def start(bus: EmulatedBus, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal("calibrate", "--port", str(bus.path), "--out", str(tmp_path / "hand.yaml"))
    yield terminal
    terminal.process.kill()
    terminal.process.wait()


def test_a_hand_without_a_hand_is_calibrated_with_the_keys_of_its_emulator(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    hand = Terminal("fake-bus", "--path", str(path))
    hand.wait_for("keys: s moves every joint")
    calibrating = Terminal("calibrate", "--port", str(path), "--out", str(tmp_path / "hand.yaml"))
    try:
        calibrating.wait_for("1 of 2")
        hand.press(b"s")
        hand.wait_for("from end to end")
        time.sleep(7.0)  # the longest way, from end to end and back, at 1.5 rad/s
        calibrating.press(b"\n")
        calibrating.wait_for("2 of 2")
        hand.press(b"z")
        time.sleep(2.0)
        calibrating.press(b"\n")
        assert calibrating.end() == 0, calibrating.printed[-2000:]
        np.testing.assert_allclose(load_calibration(tmp_path / "hand.yaml").zero_rad, SPEC.zero_rad, atol=0.01)
    finally:
        for terminal in (calibrating, hand):
            terminal.process.kill()
            terminal.process.wait()


def sweep(bus: EmulatedBus, joints: slice = slice(None)) -> None:
    """Move joints from one end to the other, 0.15 rad beyond their limits, and back to the middle."""
    for share in [0.5, *np.linspace(0.0, 1.0, 9), 0.5]:
        pose = SPEC.rest.copy()
        pose[joints] = (SPEC.lower - 0.15 + share * (SPEC.upper - SPEC.lower + 0.3))[joints]
        bus.plant.push(pose)
        time.sleep(0.15)


def test_a_hand_is_calibrated_by_moving_it(bus: EmulatedBus, start: Terminal, tmp_path: Path) -> None:
    start.wait_for("1 of 2")
    bus.servo(10).set("torque_enable", 0)
    sweep(bus)
    start.press(b"\n")
    start.wait_for("2 of 2")
    bus.plant.push(np.zeros(9))
    time.sleep(1.0)
    start.press(b"\n")
    assert start.end() == 0, start.printed[-2000:]
    found = load_calibration(tmp_path / "hand.yaml")
    np.testing.assert_allclose(found.zero_rad, MOUNTED.zero_rad, atol=0.01)
    np.testing.assert_allclose(found.lowest, SPEC.lower - 0.15, atol=0.05)
    np.testing.assert_allclose(found.highest, SPEC.upper + 0.15, atol=0.05)
    assert found.servos == dict.fromkeys(SPEC.servo_ids, SPEC.servo_models[0])
    assert not any(bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids)


def test_a_joint_that_was_forgotten_is_named_and_may_be_moved_yet(
    bus: EmulatedBus, start: Terminal, tmp_path: Path
) -> None:
    start.wait_for("1 of 2")
    sweep(bus, slice(0, 8))
    start.press(b"\n")
    start.wait_for("not moved far enough yet: THJ32;")
    assert "2 of 2" not in start.printed and not (tmp_path / "hand.yaml").exists()
    sweep(bus)
    start.press(b"\n")
    start.wait_for("2 of 2")
    bus.plant.push(np.zeros(9))
    time.sleep(0.5)
    start.press(b"\n")
    assert start.end() == 0, start.printed[-2000:]
    np.testing.assert_allclose(load_calibration(tmp_path / "hand.yaml").zero_rad, MOUNTED.zero_rad, atol=0.01)


def test_a_home_pose_that_cannot_be_it_is_doubted_at_once(bus: EmulatedBus, start: Terminal, tmp_path: Path) -> None:
    start.wait_for("1 of 2")
    sweep(bus)
    start.press(b"\n")
    start.wait_for("2 of 2")
    bus.plant.push(SPEC.lower)
    time.sleep(0.5)
    start.press(b"\n")
    start.wait_for("Was the hand in its zero pose? If not, put it there")
    assert not (tmp_path / "hand.yaml").exists()
    bus.plant.push(np.zeros(9))
    time.sleep(0.5)
    start.press(b"\n")
    assert start.end() == 0, start.printed[-2000:]
    np.testing.assert_allclose(load_calibration(tmp_path / "hand.yaml").zero_rad, MOUNTED.zero_rad, atol=0.01)


def test_an_enter_that_is_pressed_twice_is_not_taken_for_the_home_pose(
    bus: EmulatedBus, start: Terminal, tmp_path: Path
) -> None:
    start.wait_for("1 of 2")
    sweep(bus)
    start.press(b"\n\n")
    start.wait_for("2 of 2")
    time.sleep(1.5)
    assert start.process.poll() is None and not (tmp_path / "hand.yaml").exists()


def test_without_a_terminal_it_says_so(bus: EmulatedBus, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--port", str(bus.path)]) == 2
    assert "start it in a terminal" in capsys.readouterr().err
