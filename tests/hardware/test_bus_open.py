"""What `DynamixelBus.open` finds wrong, and what it says about it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vmail_core.robot import RobotSpec
from vmail_hardware import bus_checks
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_checks import check_latency_timer, check_port
from vmail_hardware.bus_errors import BusOpenError
from vmail_hardware.emulator import EmulatedBus, FirstOrderPlant
from vmail_hardware.emulator.plant import Measured


def open_bus(path: Path | str, spec: RobotSpec, configure: bool = False) -> DynamixelBus:
    bus = DynamixelBus(str(path), spec, reply_timeout_ms=200.0)
    bus.open(configure)
    return bus


@pytest.mark.parametrize(
    ("name", "connected", "step"),
    [
        ("nothing", "", r"no device .*nothing \(no serial device is connected\); .*`vmail fake-bus --path .*nothing`"),
        ("/dev/ttyUSB97", "", r"\(no serial device is connected\); plug in the servos' USB adapter"),
        ("/dev/ttyUSB97", "/dev/ttyUSB0", r"\(serial devices here: /dev/ttyUSB0\); give one of them, or plug in"),
        ("/dev/serial/by-id/usb-FTDI_97", "", "plug in the servos' USB adapter"),
        ("/dev/dynamixel-FT97", "", "such names come from a udev rule: `sudo cp .*dynamixel.rules"),
        ("/dev/pts/9797", "", "the program behind this pseudo-terminal has ended"),
    ],
)
def test_missing_port_names_it_and_the_step_that_fits_its_name(
    name: str, connected: str, step: str, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_checks, "RULES", (Path("/nothing"),))
    monkeypatch.setattr(bus_checks, "_connected", lambda: [connected] if connected else [])
    with pytest.raises(BusOpenError, match=step) as raised:
        open_bus(name, spec)
    assert ("fake-bus" in str(raised.value)) == (name == "nothing")


def test_a_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BusOpenError, match="not a serial device"):
        check_port(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("group", "step"),
    [("uucp", "run `sudo usermod -aG uucp "), ("root", "99-vmail-dynamixel.rules .*usermod -aG dialout")],
)
def test_no_permission_names_the_group_or_the_rule(
    emulated: EmulatedBus, monkeypatch: pytest.MonkeyPatch, group: str, step: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a test may run as root, whom everything is allowed
    monkeypatch.setattr(bus_checks.grp, "getgrgid", lambda number: SimpleNamespace(gr_name=group))
    with pytest.raises(BusOpenError, match=f"no permission for .*{step}"):
        check_port(str(emulated.path))


@pytest.mark.parametrize(("latency_ms", "accepted"), [(16, False), (2, False), (1, True)])
def test_latency_timer_must_be_one_millisecond(tmp_path: Path, latency_ms: int, accepted: bool) -> None:
    device = tmp_path / "dev" / "ttyUSB3"
    timer = tmp_path / "sys" / "bus" / "usb-serial" / "devices" / "ttyUSB3" / "latency_timer"
    for path in (device, timer):
        path.parent.mkdir(parents=True)
    device.write_text("")
    timer.write_text(f"{latency_ms}\n")
    link = tmp_path / "dev" / "dynamixel-A1"  # as the udev rule names it
    link.symlink_to(device)
    if accepted:
        check_latency_timer(str(link), tmp_path / "sys")
        return
    with pytest.raises(BusOpenError, match=rf"{latency_ms} ms.*echo 1 \| sudo tee .*ttyUSB3.*\.rules"):
        check_latency_timer(str(link), tmp_path / "sys")


def test_a_port_without_the_timer_is_fine(tmp_path: Path) -> None:
    check_latency_timer(str(tmp_path / "ttyACM0"), tmp_path)


def test_a_port_belongs_to_one_program(emulated: EmulatedBus, spec: RobotSpec) -> None:
    first = open_bus(emulated.path, spec)
    with pytest.raises(BusOpenError, match="another program"):
        open_bus(emulated.path, spec)
    first.close()
    open_bus(emulated.path, spec).close()


def test_no_servo_at_all(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.faults.silent_ids.update(spec.servo_ids)
    with pytest.raises(BusOpenError, match="no servo answers at 1000000 baud.*power"):
        open_bus(emulated.path, spec)


def test_wrong_baud_rate_reads_as_no_servo(emulated: EmulatedBus, spec: RobotSpec) -> None:
    slow = dataclasses.replace(spec, servo_baud=57600)
    with pytest.raises(BusOpenError, match="no servo answers at 57600 baud"):
        open_bus(emulated.path, slow)


def test_rate_that_the_sdk_refuses(emulated: EmulatedBus, spec: RobotSpec) -> None:
    with pytest.raises(BusOpenError, match="does not support 4500000 baud"):
        open_bus(emulated.path, dataclasses.replace(spec, servo_baud=4_500_000))


def test_missing_servos_are_named(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.faults.silent_ids.update({21, 32})
    with pytest.raises(BusOpenError, match=r"no answer from servo 21 \(MFJ21\), servo 32 \(THJ32\)"):
        open_bus(emulated.path, spec)


def test_a_model_that_the_robot_does_not_list(spec: RobotSpec, tmp_path: Path) -> None:
    with EmulatedBus(tmp_path / "bus", spec, model_number=1050) as emulated:
        with pytest.raises(BusOpenError, match=r"10: 1050.*servo\.models"):
            open_bus(emulated.path, spec)
        listed = dataclasses.replace(spec, servo_models=(1050,))
        bus = open_bus(emulated.path, listed)
        assert bus.read().position.shape == (9,)
        bus.close()


def test_every_wrong_setting_is_reported_and_configure_sets_them(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.servo(10).set("return_delay_time", 250)
    emulated.servo(11).set("operating_mode", 1)
    emulated.servo(12).set("shutdown", 0)
    emulated.servo(12).set("torque_enable", 1)
    emulated.servo(20).set("drive_mode", 1)
    with pytest.raises(BusOpenError) as caught:
        open_bus(emulated.path, spec)
    text = str(caught.value)
    assert "servo 10 (FFJ10) has return_delay_time (9) = 250, 500 us an answer, needs 0" in text
    assert "servo 11 (FFJ11) has operating_mode (11) = 1, needs 3" in text
    assert "servo 12 (FFJ12) has shutdown (63) = 0, needs 52" in text
    assert "servo 20 (MFJ20) has drive_mode (10) = 1, needs 0" in text
    assert "configure=True" in text
    open_bus(emulated.path, spec, configure=True).close()
    assert emulated.servo(10).get("return_delay_time") == 0
    assert emulated.servo(11).get("operating_mode") == 3
    assert emulated.servo(12).get("shutdown") == 52
    open_bus(emulated.path, spec).close()


def test_a_homing_offset_is_refused_and_taken_out_by_configure_with_a_word_on_the_zeros(
    emulated: EmulatedBus, spec: RobotSpec
) -> None:
    emulated.servo(21).set("homing_offset", -512)
    with pytest.raises(BusOpenError, match=r"servo 21 \(MFJ21\) has homing_offset \(20\) = -512, -0.79 rad, needs 0"):
        open_bus(emulated.path, spec)
    with pytest.raises(BusOpenError, match=r"offset of servo 21 \(MFJ21\) was taken out .* run `vmail calibrate`"):
        open_bus(emulated.path, spec, configure=True)
    assert emulated.servo(21).get("homing_offset") == 0
    bus = open_bus(emulated.path, spec, configure=True)
    np.testing.assert_allclose(bus.read().position, spec.rest, atol=2e-3)
    bus.close()


def test_servo_limits_that_cut_into_the_joints(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.servo(11).set("max_position_limit", 2100)
    with pytest.raises(BusOpenError, match=r"servo 11 \(FFJ11\) allows goals 0 to 2100"):
        open_bus(emulated.path, spec)


def test_a_servo_that_has_shut_down(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.faults.hardware_errors[30] = 0x24
    with pytest.raises(BusOpenError, match=r"servo 30 \(THJ30\) reports overheating and overload.*power"):
        open_bus(emulated.path, spec)


def test_who_is_sent_to_a_servo_is_told_which_others_have_torque(emulated: EmulatedBus, spec: RobotSpec) -> None:
    for servo_id in (10, 22):  # as a program that was killed leaves them
        emulated.servo(servo_id).set("torque_enable", 1)
    emulated.faults.hardware_errors[30] = 0x20
    with pytest.raises(BusOpenError, match=r"Torque is on in servo 10 \(FFJ10\), servo 22 \(MFJ22\): cut"):
        open_bus(emulated.path, spec)
    emulated.faults.hardware_errors.clear()
    emulated.faults.silent_ids = {21}
    with pytest.raises(BusOpenError, match=r"servo 21.*Torque is on in servo 10 \(FFJ10\), servo 22"):
        open_bus(emulated.path, spec)


def test_one_lost_answer_does_not_spoil_the_opening(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.faults.lose_next = 1
    open_bus(emulated.path, spec).close()


def test_opening_leaves_torque_and_goals_alone(emulated: EmulatedBus, spec: RobotSpec) -> None:
    emulated.servo(10).set("torque_enable", 1)
    emulated.servo(10).set("goal_position", 1100)
    bus = open_bus(emulated.path, spec)
    assert emulated.servo(10).get("torque_enable") == 1
    assert emulated.servo(10).get("goal_position") == 1100
    bus.close()


def test_watchdog_beyond_the_register_is_refused(spec: RobotSpec) -> None:
    with pytest.raises(ValueError, match="watchdog_s"):
        DynamixelBus("/dev/null", spec, watchdog_s=3.0)


class MovingPlant(FirstOrderPlant):
    """Shows one speed and one current in every joint."""

    def measured(self) -> Measured:
        return super().measured()[0], [1.5] * 9, [269.0] * 9


def test_mirrored_joints_read_and_write_mirrored(spec: RobotSpec, tmp_path: Path) -> None:
    mirrored = dataclasses.replace(spec, direction=-spec.direction)
    with EmulatedBus(tmp_path / "bus", mirrored, MovingPlant(spec.rest)) as emulated:
        bus = open_bus(emulated.path, mirrored)
        state = bus.read()
        np.testing.assert_allclose(state.position, spec.rest, atol=2e-3)
        np.testing.assert_allclose(state.velocity, 1.5, atol=0.02)
        np.testing.assert_allclose(state.current_ma, 269.0, atol=2.0)
        assert emulated.servo(11).get("present_position") == round(2048 + 4096 / 6)
        assert emulated.servo(11).get("present_current") == -100
        assert emulated.servo(11).get("present_velocity") < 0
        bus.write_goals(spec.rest)
        bus.read()  # sync write is not acknowledged; what comes after it is handled after it
        assert emulated.servo(11).get("goal_position") == round(2048 + 4096 / 6)
        bus.close()


@pytest.mark.parametrize("direction", [0.0, 0.5, -2.0])
def test_a_direction_that_is_none_is_refused(spec: RobotSpec, direction: float) -> None:
    directions = spec.direction.copy()
    directions[4] = direction
    with pytest.raises(ValueError, match=f"direction of MFJ21 is {direction:g} in its file"):
        DynamixelBus("/dev/none", dataclasses.replace(spec, direction=directions))
