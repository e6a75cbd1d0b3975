"""`vmail latency` on the twin, and what the recorder and the doctor make of it."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from ros_harness import NodeProcess, Ros, until
from std_srvs.srv import Trigger

from vmail.cli import main
from vmail.doctor import devices
from vmail.doctor.findings import Level
from vmail_core.robot import load_robot
from vmail_hardware.cameras import Camera, FrameServer, open_camera
from vmail_hardware.emulator import EmulatedBus
from vmail_hardware.latency import WHAT, default_path, load_latencies
from vmail_hardware.latency.figures import CAMERA_FIGURES

SPEC = load_robot("dclaw")
JUMP_MS = 80.0
TOLERANCE_MS = 25.0  # with the twin's camera at 20 Hz, on a busy machine


@pytest.fixture(autouse=True)
def of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmulatedBus]:
    with EmulatedBus(tmp_path / "bus", SPEC) as emulated:
        yield emulated


def measured(path: Path) -> dict[str, dict]:
    return yaml.safe_load(path.read_text())["figures"]


def test_the_twins_camera_is_as_late_as_its_stamps_say(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture that is stamped 80 ms after it was taken is what a camera gives that takes 80 ms."""
    port, frames, out = tmp_path / "servos", tmp_path / "frames.sock", tmp_path / "found.yaml"
    start_node(
        "vmail_nodes.twin",
        {"bus_path": str(port), "frames_path": str(frames), "camera_rate_hz": 20.0, "starts": "fixed"},
    )
    until(lambda: port.exists() and frames.exists(), "the twin is up")
    words = ["latency", "--port", str(port), "--camera", f"twin://{frames}", "--reads", "50", "--seconds", "2"]
    words += ["--move", "FFJ10", "--steps", "6", "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    said, sound = capsys.readouterr().out, measured(out)
    assert {(sound[name]["of"], sound[name]["size"]) for name in CAMERA_FIGURES} == {("twin", "64x64")}
    assert list(sound) == list(WHAT) and "FFJ10 goes 0.1 rad and back" in said
    assert "from light to motion: " in said and "control periods" in said
    assert ros.call(Trigger, "/twin/reset").success  # without torque, fingers come to lie on the valve
    with ros.broken(f"clock={JUMP_MS / 1e3}"):
        assert main(words) == 0, capsys.readouterr().err
    late = measured(out)
    assert "the clock that stamps them is ahead" in capsys.readouterr().out
    assert abs(sound["camera_motion"]["p50_ms"]) < TOLERANCE_MS
    later = {name: late[name]["p50_ms"] - sound[name]["p50_ms"] for name in ("camera_motion", "camera_age")}
    assert later["camera_motion"] == pytest.approx(JUMP_MS, abs=TOLERANCE_MS)
    assert later["camera_age"] == pytest.approx(-JUMP_MS, abs=TOLERANCE_MS)
    assert sound["camera_period"]["p50_ms"] == pytest.approx(50.0, abs=10.0)
    assert 0.0 < sound["action"]["p50_ms"] < 60.0
    ros.wait_reason("twin", "torque_off")
    assert len(list(tmp_path.glob("found.until-*.yaml"))) == 1


def test_a_delay_on_the_bus_is_measured_kept_and_shown(
    bus: EmulatedBus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = devices.check_latencies(SPEC)
    assert before.level is Level.NOTE and "vmail latency --port" in before.mend
    bus.faults.reply_delay_s = 0.012
    assert main(["latency", "--port", str(bus.path), "--reads", "30"]) == 0, capsys.readouterr().err
    assert not default_path(SPEC).exists()
    said = capsys.readouterr().out
    assert f"{bus.path} is no real one: nothing is kept as robot dclaw's; --out FILE keeps it" in said
    assert f"{bus.path}: bus_read, bus_write_read" in said
    monkeypatch.setattr("vmail_hardware.bus_checks.PSEUDO_TERMINALS", ())  # as if an adapter were there
    assert main(["latency", "--port", str(bus.path), "--reads", "30"]) == 0, capsys.readouterr().err
    kept = measured(default_path(SPEC))
    assert list(kept) == ["bus_read", "bus_write_read"]
    assert kept["bus_read"]["p50_ms"] == pytest.approx(12.0, abs=6.0) and kept["bus_read"]["of"] == str(bus.path)
    assert f"{default_path(SPEC)}: latencies of robot dclaw; takes note it from now on" in capsys.readouterr().out
    (after,) = devices.check_latencies(SPEC)
    assert after.level is Level.WARNING and "reads are too late for 100 Hz" in after.detail and after.mend
    found = load_latencies(default_path(SPEC), SPEC)
    older = dataclasses.replace(found.figures["bus_write_read"], made="2026-01-02T10:00:00+00:00")
    found.updated({"bus_write_read": older}, found.made).save(default_path(SPEC))
    (after,) = devices.check_latencies(SPEC)
    assert "the oldest of 2026-01-02" in after.detail
    assert not any(bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids)
    default_path(SPEC).write_text("robot: 3")
    (damaged,) = devices.check_latencies(SPEC)
    assert damaged.level is Level.FAILURE and "remove it and run" in damaged.detail + damaged.mend


def test_a_twins_camera_is_measured_as_asked_for_and_does_not_pass_for_the_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server, stop, asked = FrameServer(tmp_path / "frames.sock"), threading.Event(), []

    def film() -> None:
        while not stop.wait(0.05):
            server.publish(time.time_ns(), np.zeros((24, 32, 3), np.uint8))

    def opened(source: str, **options: object) -> Camera:
        asked.append(options)
        return open_camera(source)

    monkeypatch.setattr("vmail_hardware.cameras.open_camera", opened)
    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    source = f"twin://{server.path}"
    try:
        assert main(["latency", "--camera", source, "--seconds", "1", "--size", "32x24", "--fps", "20"]) == 0
    finally:
        stop.set()
        thread.join()
        server.close()
    assert asked == [{"width": 32, "height": 24, "fps": 20.0}]
    said = capsys.readouterr().out
    assert f"{source} is no real one" in said and "twin 32x24: camera_age, camera_period, camera_jitter" in said
    assert not default_path(SPEC).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --port, --camera or both"),
        (["--camera", "x", "--move"], "give --port, too"),
        (["--port", "nothing"], "no device nothing"),
        (["--port", "x", "--step", "1.0"], "give 0.02 to 0.2 rad"),
        (["--port", "x", "--step", "nan"], "--step nan: give 0.02 to 0.2 rad"),
        (["--port", "x", "--steps", "1"], "--steps 1: give 2 to 100"),
        (["--port", "x", "--steps", "101"], "--steps 101: give 2 to 100"),
        (["--camera", "x", "--seconds", "nan"], "--seconds nan: give 1 to 600"),
        (["--camera", "x", "--size", "640"], "like 640x480"),
        (["--camera", "x", "--fps", "0"], "--fps 0: give 1 to 240"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_keeps_nothing(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not default_path(SPEC).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_hand_go(bus: EmulatedBus, number: signal.Signals) -> None:
    def powered() -> list[int]:
        return [bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids]

    words = ["latency", "--port", str(bus.path), "--move", "--steps", "50", "--reads", "20"]
    process = subprocess.Popen([sys.executable, "-m", "vmail.cli", *words])
    try:
        until(lambda: all(powered()), "torque is on")
        until(lambda: np.abs(bus.plant.positions() - SPEC.rest).max() > 0.05, "the joint moves")
        process.send_signal(number)
        time.sleep(0.2)
        process.send_signal(number)  # changes nothing: the hand is on its way down
        assert process.wait(30.0) == 130
    finally:
        process.kill()
        process.wait()
    assert not any(powered())
    assert not default_path(SPEC).exists()


def test_a_joint_that_does_not_move_is_told_and_torque_is_off(
    bus: EmulatedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bus.faults.stuck_ids = {12}
    out = tmp_path / "found.yaml"
    words = ["latency", "--port", str(bus.path), "--move", "FFJ12", "--steps", "2", "--reads", "20", "--step", "0.05"]
    assert main([*words, "--out", str(out)]) == 2
    assert "FFJ12 went 0.000 rad instead of 0.05: it is blocked; free it" in capsys.readouterr().err
    assert list(measured(out)) == ["bus_read", "bus_write_read"]  # what was measured before is kept
    assert not any(bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids)
