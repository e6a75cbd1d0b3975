"""Servos and cameras: what is connected, and whether it answers as the robot needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vmail.doctor.findings import Finding, Level
from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_checks import PORT_NAMES, RULES, UDEV_RULE, check_latency_timer, check_port
from vmail_hardware.bus_errors import BusError, BusOpenError
from vmail_hardware.calibration import Calibration, CalibrationError, find_calibration
from vmail_hardware.cameras import Camera, CameraError, CameraTimeoutError, FreezeDetector, open_camera
from vmail_hardware.cameras.calibration_file import read_calibration
from vmail_hardware.cameras.identity import NO_NAME, default_calibration, has_lasting_name
from vmail_hardware.control_table import servo_models
from vmail_hardware.joint_state import ServoHealth
from vmail_hardware.latency import LatencyError, find_latencies

READS = 200
REPLY_TIMEOUT_MS = 20.0
SLOW_READ_MS = 5.0  # half a period at 100 Hz
LATE_READ_MS = 10.0  # a whole one
VOLTAGE_TOLERANCE = 0.15  # of the model's nominal voltage
CAMERA_S, CAMERA_FIRST_S = 2.0, 5.0
DARK, BRIGHT = 10.0, 245.0  # mean grey levels beyond which nothing can be seen


def check_ports(devices: Path = Path("/dev")) -> Iterator[Finding]:
    """Serial adapters: permission and latency."""
    ports = {path.resolve(): path for pattern in reversed(PORT_NAMES) for path in sorted(devices.glob(pattern))}
    if not ports:
        yield Finding(Level.NOTE, "serial ports", "none connected", "plug in the servos' USB adapter")
        return
    for path in ports.values():
        try:
            check_port(str(path))
            check_latency_timer(str(path))
            yield Finding(Level.OK, "serial port", str(path))
        except BusOpenError as error:
            yield _failure("serial port", error)
    if not any((folder / UDEV_RULE.name).is_file() for folder in RULES):
        yield Finding(
            Level.WARNING,
            "udev rule",
            "not installed: adapters have changing names, and answer late after they were plugged in again",
            f"sudo cp {UDEV_RULE} {RULES[0]}/, then plug in again",
        )


def check_servos(port: str, robot: RobotSpec) -> Iterator[Finding]:
    """Every servo of the robot: set-up, calibration, health and how fast they answer. Torque stays as it is."""
    try:
        calibration = find_calibration(robot, "auto")
        robot = robot if calibration is None else calibration.apply(robot)  # as the driver does
    except CalibrationError as error:
        yield _uncalibrated(str(error))
        return
    bus = DynamixelBus(port, robot, reply_timeout_ms=REPLY_TIMEOUT_MS)
    try:
        bus.open()
    except BusError as error:
        yield _failure("servos", error)
        return
    try:
        yield Finding(Level.OK, "servos", f"{robot.action_size} of {robot.name} at {port}, set up as it needs them")
        yield _calibrated(calibration, robot, bus)
        healths = [bus.read_health() for _ in robot.servo_ids]
        yield from _health(healths, robot)
        yield _speed(bus)
    except BusError as error:
        yield _failure("servos", error)
    finally:
        bus.leave()


def _calibrated(calibration: Calibration | None, robot: RobotSpec, bus: DynamixelBus) -> Finding:
    """Whether this user has calibrated the hand, and it is still the same one."""
    if calibration is None:
        told = "none: zeros are those of the robot's file"
        return Finding(Level.NOTE, "hand calibration", told, f"vmail calibrate --port {bus.port}")
    try:
        calibration.check(robot, bus.servos, bus.read().position)
    except CalibrationError as error:
        return _uncalibrated(str(error))
    return Finding(Level.OK, "hand calibration", f"of {calibration.made[:10]}, and joints stand within their travel")


def _uncalibrated(why: str) -> Finding:
    return Finding(Level.FAILURE, "hand calibration", why, "the driver does not start with it: vmail calibrate")


def _health(healths: list[ServoHealth], robot: RobotSpec) -> Iterator[Finding]:
    volts, temperatures = [h.voltage_v for h in healths], [h.temperature_c for h in healths]
    nominal = servo_models()[robot.servo_models[0]].nominal_voltage_v
    odd = [f"servo {h.servo_id}: {h.voltage_v:.1f} V" for h in healths if _is_odd(h.voltage_v, nominal)]
    span = f"{min(volts):.1f} to {max(volts):.1f} V, {min(temperatures):.0f} to {max(temperatures):.0f} C"
    if odd:
        yield Finding(
            Level.WARNING, "supply", f"{', '.join(odd)}; {nominal:.0f} V is nominal", "check supply, plugs and cables"
        )
    elif max(temperatures) > robot.slow_temperature_c:
        limit = f"the guard slows down above {robot.slow_temperature_c:.0f} C"
        yield Finding(Level.WARNING, "servo health", f"{span}; {limit}", "let the hand cool down")
    else:
        yield Finding(Level.OK, "servo health", span)
    on = [str(h.servo_id) for h in healths if h.torque_enabled]
    if on:
        detail = f"torque is on in servo {', '.join(on)}, and no driver holds the port"
        yield Finding(Level.WARNING, "torque", detail, "switch the servos' power off and on, if nothing rests on them")


def _is_odd(voltage: float, nominal: float) -> bool:
    return abs(voltage - nominal) > VOLTAGE_TOLERANCE * nominal


def _speed(bus: DynamixelBus) -> Finding:
    """How long reading all joints takes."""
    times = []
    for _ in range(READS):
        began = time.perf_counter()
        bus.read()
        times.append(1e3 * (time.perf_counter() - began))
    median, late = np.percentile(times, [50, 99])
    detail = f"all joints read in {median:.1f} ms (median), {late:.1f} ms (99 of 100 reads)"
    if median > SLOW_READ_MS:
        return Finding(Level.WARNING, "bus speed", detail, "check return delays and the adapter's latency timer")
    return Finding(Level.OK, "bus speed", detail)


def check_cameras(devices: Path = Path("/dev")) -> Iterator[Finding]:
    """Video devices that are there."""
    found = sorted(str(path) for path in devices.glob("video*"))
    if found:
        yield Finding(Level.OK, "cameras", ", ".join(found))
    else:
        yield Finding(Level.NOTE, "cameras", "none connected", "plug one in; `ls /dev/video*` then shows it")


def check_camera(source: str) -> Iterator[Finding]:
    """Whether pictures come, how fast, and whether something is to be seen in them."""
    try:
        camera = open_camera(source)
    except CameraError as error:
        yield _failure("camera", error)
        return
    try:
        yield _watch(camera, source)
    except CameraError as error:
        yield _failure("camera", error)
    finally:
        camera.close()


def _watch(camera: Camera, source: str) -> Finding:
    freeze = FreezeDetector.for_camera(camera)
    frame = camera.read(CAMERA_FIRST_S)  # the first one takes long
    began, count, brightness = time.monotonic(), 0, 0.0
    while time.monotonic() - began < CAMERA_S:
        try:
            frame = camera.read(CAMERA_S)
        except CameraTimeoutError:
            break
        freeze.update(frame, time.monotonic())
        count, brightness = count + 1, brightness + float(frame.image.mean())
    height, width = frame.image.shape[:2]
    rate = count / (time.monotonic() - began)
    grey = brightness / max(1, count)
    detail = f"{source}: {width} x {height}, {rate:.1f} pictures a second, mean grey level {grey:.0f}"
    frozen = freeze.frozen(time.monotonic()) if count else "no picture after the first one"
    if frozen:
        return Finding(Level.FAILURE, "camera", f"{detail}; {frozen}", "plug it in again, or try another port or cable")
    if not DARK <= grey <= BRIGHT:
        return Finding(
            Level.WARNING, "camera", f"{detail}; nothing can be seen", "look at lens cap, light and exposure"
        )
    return Finding(Level.OK, "camera", detail)


def check_calibration(source: str) -> Iterator[Finding]:
    """Whether this user has calibrated the camera."""
    path = default_calibration(source)
    if not has_lasting_name(source):
        yield Finding(Level.NOTE, "camera calibration", NO_NAME, "name one to the camera node as camera_info_file")
        return
    if not path.is_file():
        mend = f"vmail calibrate-camera --camera {source}, if pixels are to be angles"
        yield Finding(Level.NOTE, "camera calibration", "none", mend)
        return
    try:
        found = read_calibration(path)
    except (OSError, ValueError) as error:
        yield Finding(Level.FAILURE, "camera calibration", str(error), "remove it, vmail calibrate-camera")
        return
    made = found.vmail
    told = f"{made.get('rms_px')} px RMS over {made.get('views')} views, of {str(made.get('made'))[:10]}"
    detail = f"{path}: {found.width}x{found.height}, {told if made else 'not of vmail calibrate-camera'}"
    yield Finding(Level.OK, "camera calibration", detail)


def check_latencies(robot: RobotSpec) -> Iterator[Finding]:
    """What is known of how late this hand and its camera are."""
    try:
        found = find_latencies(robot, "auto")
    except LatencyError as error:
        yield Finding(Level.FAILURE, "latencies", *str(error).split(": ", 1))
        return
    if found is None:
        yield Finding(
            Level.NOTE, "latencies", f"not measured of {robot.name}", "vmail latency --port … --camera … --move"
        )
        return
    told = ", ".join(f"{name} {one.p50_ms:.1f} / {one.p99_ms:.1f}" for name, one in found.figures.items())
    detail = f"{told} ms (median / 99 of 100, or the largest of fewer), the oldest of {found.oldest()[:10]}"
    bus = found.figures.get("bus_read")
    if bus is not None and bus.p99_ms > LATE_READ_MS:
        mend = "check return delays and the adapter's latency timer, then vmail latency again"
        yield Finding(Level.WARNING, "latencies", f"{detail}; reads are too late for 100 Hz", mend)
    else:
        yield Finding(Level.OK, "latencies", detail)


def _failure(what: str, error: Exception) -> Finding:
    """Errors of vmail's devices hold the next step."""
    detail, _, mend = str(error).partition("; ")
    return Finding(Level.FAILURE, what, detail, mend)
