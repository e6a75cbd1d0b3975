"""`vmail doctor` on emulated servos, on video files and on this machine: each trouble has its line and its mend."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vmail.cli import main
from vmail.doctor import devices, machine, ros
from vmail.doctor.findings import Finding, Level, run
from vmail.doctor.lines import finding_lines
from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.bus_checks import goal_range_ticks
from vmail_hardware.calibration import Calibration, default_path
from vmail_hardware.emulator import EmulatedBus

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra `hardware`)")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def robot() -> RobotSpec:
    return load_robot("dclaw")


@pytest.fixture
def bus(robot: RobotSpec, tmp_path: Path) -> Iterator[EmulatedBus]:
    with EmulatedBus(tmp_path / "bus", robot) as emulated:
        yield emulated


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine is not a silent servo."""
    monkeypatch.setattr(devices, "REPLY_TIMEOUT_MS", 200.0)
    monkeypatch.setattr(devices, "READS", 5)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_a_sound_bus_is_found_so_and_its_torque_left_alone(bus: EmulatedBus, robot: RobotSpec) -> None:
    bus.servo(11).set("torque_enable", 1)
    found = by_name(list(devices.check_servos(str(bus.path), robot)))
    assert list(found) == ["servos", "hand calibration", "servo health", "torque", "bus speed"]
    assert "9 of dclaw" in found["servos"].detail and "12.0 to 12.0 V" in found["servo health"].detail
    assert found["torque"].level is Level.WARNING and "servo 11" in found["torque"].detail
    assert bus.servo(11).get("torque_enable") == 1


def test_servos_that_are_not_as_they_should_be_are_named(bus: EmulatedBus, robot: RobotSpec) -> None:
    bus.servo(20).set("firmware_version", 36)
    (found,) = devices.check_servos(str(bus.path), robot)
    assert found.level is Level.FAILURE and "servo 20 (MFJ20) has firmware 36" in found.detail + found.mend
    bus.servo(20).set("firmware_version", 45)
    bus.faults.silent_ids = {32}
    (found,) = devices.check_servos(str(bus.path), robot)
    assert found.level is Level.FAILURE and "no answer from servo 32 (THJ32)" in found.detail
    assert "cable" in found.detail + found.mend


@pytest.fixture
def calibration(robot: RobotSpec) -> Iterator[Calibration]:
    """This user's, of a hand whose zeros are a little off the robot's file."""
    made = Calibration(
        robot=robot.name,
        made="2026-11-28T10:00:00+00:00",
        servos=dict.fromkeys(robot.servo_ids, robot.servo_models[0]),
        direction=robot.direction,
        zero_rad=robot.zero_rad + 0.1,
        lowest=robot.lower - 0.05,
        highest=robot.upper + 0.05,
    )
    path = made.save(default_path(robot))
    yield made
    path.unlink()


def test_a_calibrated_hand_is_judged_by_its_own_zeros(
    bus: EmulatedBus, robot: RobotSpec, calibration: Calibration
) -> None:
    ranges = goal_range_ticks(calibration.apply(robot))
    for servo_id, (lowest, highest) in zip(robot.servo_ids, ranges, strict=True):  # those of the file do not fit
        bus.servo(servo_id).set("min_position_limit", lowest)
        bus.servo(servo_id).set("max_position_limit", highest)
    found = by_name(list(devices.check_servos(str(bus.path), robot)))
    assert found["servos"].level is Level.OK
    assert found["hand calibration"].level is Level.OK and "2026-11-28" in found["hand calibration"].detail


def test_a_hand_that_is_not_the_calibrated_one_is_told(
    bus: EmulatedBus, robot: RobotSpec, calibration: Calibration
) -> None:
    bus.plant.push(robot.upper + 1.0)
    found = by_name(list(devices.check_servos(str(bus.path), robot)))["hand calibration"]
    assert found.level is Level.FAILURE and "its horn was turned" in found.detail and "vmail calibrate" in found.mend
    default_path(robot).write_text("{")
    (found,) = devices.check_servos(str(bus.path), robot)
    assert found.level is Level.FAILURE and "is damaged" in found.detail


def test_a_weak_supply_and_hot_servos_are_told(bus: EmulatedBus, robot: RobotSpec) -> None:
    bus.faults.temperatures_c = {30: 64}
    assert by_name(list(devices.check_servos(str(bus.path), robot)))["servo health"].level is Level.WARNING
    bus.faults.voltages_v = {30: 9.7}
    found = by_name(list(devices.check_servos(str(bus.path), robot)))["supply"]
    assert found.level is Level.WARNING and "servo 30: 9.7 V; 12 V is nominal" in found.detail and found.mend


def test_a_port_that_is_not_there_says_what_to_do(robot: RobotSpec, tmp_path: Path) -> None:
    (found,) = devices.check_servos(str(tmp_path / "nothing"), robot)
    assert found.level is Level.FAILURE and "no device" in found.detail and "fake-bus" in found.mend
    (found,) = devices.check_servos("/dev/ttyUSB97", robot)
    assert "no device /dev/ttyUSB97" in found.detail and "plug in" in found.mend and "fake-bus" not in found.mend


def test_ports_are_looked_at_once_each_and_the_udev_rule_is_missed(
    bus: EmulatedBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ttyUSB0").symlink_to(bus.path)
    (tmp_path / "dynamixel-A1").symlink_to(bus.path)
    (tmp_path / "ttyUSB1").write_text("")
    monkeypatch.setattr(devices, "RULES", (tmp_path / "rules.d",))
    port, other, rule = devices.check_ports(tmp_path)
    assert (port.level, port.detail) == (Level.OK, str(tmp_path / "dynamixel-A1"))
    assert other.level is Level.FAILURE and "ttyUSB1 is not a serial device" in other.detail
    assert rule.level is Level.WARNING and "sudo cp" in rule.mend and Path(rule.mend.split()[2]).is_file()
    assert next(iter(devices.check_ports(tmp_path / "empty"))).level is Level.NOTE


def film(path: Path, levels: list[int]) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (64, 48))
    for level in levels:
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return str(path)


@pytest.mark.parametrize(
    ("levels", "level", "detail"),
    [
        ([100, 120] * 30, Level.OK, "64 x 48"),
        ([0] * 60, Level.WARNING, "nothing can be seen"),
        ([100, 120], Level.FAILURE, "ended"),
    ],
)
def test_a_camera_is_watched(tmp_path: Path, levels: list[int], level: Level, detail: str) -> None:
    (found,) = devices.check_camera(film(tmp_path / "film.mp4", levels))
    assert (found.level, detail in found.detail) == (level, True), found
    assert level is Level.OK or found.mend


def test_a_camera_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    (found,) = devices.check_camera(str(tmp_path / "no.mp4"))
    assert found.level is Level.FAILURE and "no camera" in found.detail and "/dev/video0" in found.mend
    assert next(iter(devices.check_cameras(tmp_path))).level is Level.NOTE


def test_what_is_not_installed_is_told_with_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "rclpy") else there(name))
    found = by_name(list(machine.check_python()))
    assert found["python"].level is Level.OK and found["robot"].level is Level.OK
    assert found["learning"].level is Level.NOTE and "torch not installed" in found["learning"].detail
    assert "vmail[train]" in found["learning"].mend
    (without,) = ros.check_ros()
    assert without.level is Level.NOTE and "vmail[ros]" in without.mend


@pytest.mark.parametrize(
    ("base", "arguments", "said"),
    [
        ("/root/.pyenv/versions/3.11.7", "'--prefix=/root/.pyenv/versions/3.11.7'", True),
        ("/usr/local", "'--enable-optimizations' '--with-lto'", False),
        ("/usr", "'--prefix=/usr'", False),
    ],
)
def test_a_python_that_was_built_to_be_slow_is_told(base: str, arguments: str, said: bool) -> None:
    found = list(machine.check_build(base, arguments))
    assert [finding.level for finding in found] == [Level.NOTE] * said
    assert all(base in finding.detail and finding.mend for finding in found)


def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fastdds_1").write_text("")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: Usage(1e12, 1e12, 1e8))
    disk, shared = machine.check_space(tmp_path, tmp_path)
    assert disk.level is Level.WARNING and "0.1 GB" in disk.detail and disk.mend
    assert shared.level is Level.FAILURE and "1 files there are of Fast DDS" in shared.detail and "rm " in shared.mend


def test_realtime_priority_that_is_not_allowed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (0, 0))
    (found,) = machine.check_priority()
    assert found.level is Level.WARNING and "rtprio 99" in found.mend


@pytest.mark.parametrize(("code", "level"), [(0, Level.OK), (1, Level.FAILURE)])
def test_drawing_is_tried_where_it_can_do_no_harm(monkeypatch: pytest.MonkeyPatch, code: int, level: Level) -> None:
    answer = subprocess.CompletedProcess([], code, "egl\n", "Traceback\nRuntimeError: no headless OpenGL\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *args, **kwargs: answer)
    (found,) = machine.check_rendering()
    assert found.level is level and ("egl" if code == 0 else "no headless OpenGL") in found.detail


def test_a_check_that_fails_itself_does_not_end_the_others() -> None:
    def broken() -> Iterator[Finding]:
        yield Finding(Level.OK, "a", "fine")
        raise OSError("gone")

    assert [finding.level for finding in run("a", broken)] == [Level.OK, Level.FAILURE]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_report_fits_its_terminal_and_what_mends_stays_one_line(width: int) -> None:
    found = Finding(Level.WARNING, "realtime priority", "not allowed: " + "other programs " * 8, "echo " + "x" * 90)
    *lines, mend = [line.plain for line in finding_lines(found, width)]
    assert all(len(line) <= width for line in lines) and mend.strip() == "-> echo " + "x" * 90
    assert " ".join(" ".join(lines).split()).startswith("WARNING realtime priority not allowed: other programs")
    assert len(lines) == {60: 4, 80: 3, 200: 1}[width]


def test_the_command_ends_well_where_all_is_well_and_not_where_something_is_broken(
    bus: EmulatedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--port", str(bus.path), "--camera", film(tmp_path / "film.mp4", [100, 120] * 30)]) == 0
    said = capsys.readouterr().out
    assert "a message goes from node to node" in said and "the claw is drawn with" in said
    assert "FAILURE" not in said and "9 of dclaw" in said and "64 x 48" in said
    assert main(["doctor", "--port", str(tmp_path / "nothing")]) == 1
    assert "-> " in capsys.readouterr().out
