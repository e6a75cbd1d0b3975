"""`vmail latency`: measure how late servos and camera are, and keep it by robot."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmail.commands.camera_options import add_size, wanted_size

if TYPE_CHECKING:
    from vmail_core.robot import RobotSpec
    from vmail_hardware.bus import DynamixelBus
    from vmail_hardware.cameras import Camera
    from vmail_hardware.latency import Figure, Latencies

REPLY_TIMEOUT_MS = 100.0  # a late answer is to be measured, not missed
AHEAD_MS = 5.0  # by which stamps may lie after the arrival before it is said
RAMP_S, RELEASE_S = 0.5, 1.0
LEAST_SHARE = 0.5  # of a step that a joint must go
# Of the options: least, most, unit.
BOUNDS = {
    "step": (0.02, 0.2, " rad"),
    "steps": (2, 100, ""),
    "reads": (20, 100_000, ""),
    "seconds": (1.0, 600.0, ""),
    "fps": (1.0, 240.0, " pictures a second"),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    measuring = commands.add_parser(
        "latency", help="measure how late servos and camera are; takes note it, and `vmail doctor` shows it"
    )
    measuring.add_argument("--port", metavar="DEVICE", help="serial port of the servos; no driver may have it")
    measuring.add_argument("--camera", metavar="SOURCE", help="/dev/video* or twin:///socket")
    add_size(measuring)
    measuring.add_argument(
        "--fps", type=float, metavar="HZ", help="pictures a second to ask a device for [its default]"
    )
    measuring.add_argument(
        "--move",
        nargs="?",
        const="",
        metavar="JOINT",
        help="let a joint go a small step and back, under the guard: how late are motion and its pictures? "
        "[the joint with most room]",
    )
    measuring.add_argument("--step", type=float, default=0.1, metavar="RAD", help="length of such a step [0.1]")
    measuring.add_argument("--steps", type=int, default=10, metavar="N", help="how many [10]")
    measuring.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of watching the camera [5]")
    measuring.add_argument("--reads", type=int, default=500, metavar="N", help="round trips on the bus [500]")
    measuring.add_argument("--robot", default="dclaw", metavar="NAME", help="robot, or path to its YAML file [dclaw]")
    measuring.add_argument("--calibration", default="auto", metavar="FILE", help="as the driver's: auto, none, a file")
    measuring.add_argument("--out", type=Path, metavar="FILE", help="where it is kept [this user's, by robot]")
    measuring.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure what was asked for, add it to what is known of the robot, and show it."""
    from vmail_core.robot import load_robot
    from vmail_hardware.calibration import find_calibration
    from vmail_hardware.cameras import open_camera
    from vmail_hardware.latency import Latencies, default_path, load_latencies
    from vmail_hardware.latency.bus_timing import patiently

    _check(arguments)
    spec = load_robot(arguments.robot)
    path, made = arguments.out or default_path(spec), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    emulated = None if arguments.out else _emulated(arguments)
    known = load_latencies(path, spec) if path.is_file() and not emulated else Latencies(spec.name, made, {})
    calibration = find_calibration(spec, arguments.calibration) if arguments.port else None
    if calibration is not None:
        spec = calibration.apply(spec)
    figures: dict[str, Figure] = {}
    try:
        with contextlib.ExitStack() as opened:
            camera = bus = None
            if arguments.camera:
                width, height = wanted_size(arguments.size)
                found = open_camera(arguments.camera, width=width, height=height, fps=arguments.fps)
                camera = opened.enter_context(contextlib.closing(found))
            if arguments.port:
                bus = opened.enter_context(_opened(arguments.port, spec))
                if calibration is not None:
                    calibration.check(spec, bus.servos, patiently(bus.read).position)
            for measured in _measure(arguments, spec, bus, camera, made):
                figures |= measured
    finally:  # what was measured is kept, whatever comes of the rest
        latencies = known.updated(figures, made)
        if figures and not emulated:
            latencies.save(path)
    _show(latencies, spec)
    for name in known.figures.keys() - latencies.figures.keys():
        print(f"{name} was of {known.figures[name].place}, and is forgotten")
    if emulated:
        print(f"{emulated} is no real one: nothing is kept as robot {spec.name}'s; --out FILE keeps it")
    else:
        noted = f"give it to the recorder as latencies:={path}" if arguments.out else "takes note it from now on"
        print(f"{path}: latencies of robot {spec.name}; {noted}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.port and not arguments.camera:
        raise ValueError("nothing to measure: give --port, --camera or both")
    if arguments.move is not None and not arguments.port:
        raise ValueError("--move moves a joint: give --port, too")
    wanted_size(arguments.size)
    for name, (least, most, unit) in BOUNDS.items():
        value = getattr(arguments, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"--{name} {value:g}: give {least:g} to {most:g}{unit}")


def _emulated(arguments: argparse.Namespace) -> str | None:
    """The port or camera behind which is a program: its figures must not take the place of a real one's."""
    from vmail_hardware.bus_checks import is_pseudo_terminal
    from vmail_hardware.cameras.identity import is_device

    if arguments.port and is_pseudo_terminal(arguments.port):
        return str(arguments.port)
    return str(arguments.camera) if arguments.camera and not is_device(arguments.camera) else None


def _measure(
    arguments: argparse.Namespace, spec: RobotSpec, bus: DynamixelBus | None, camera: Camera | None, made: str
) -> Iterator[dict[str, Figure]]:
    """The figures of one part after the other."""
    from vmail_hardware.cameras.identity import camera_name
    from vmail_hardware.latency.bus_timing import time_bus
    from vmail_hardware.latency.camera_timing import CameraWatch, time_camera

    if bus is not None:
        print(f"{arguments.port}: {arguments.reads} reads, and as many with a write", flush=True)
        yield time_bus(bus, made, arguments.reads)
    if camera is not None:
        print(f"{arguments.camera}: {arguments.seconds:g} s of pictures", flush=True)
        with CameraWatch(camera, arguments.camera) as watch:
            time.sleep(arguments.seconds)
            found = time_camera(watch.seen(), camera_name(arguments.camera), made, watch.size)
        yield found
    if bus is not None and arguments.move is not None:
        yield _move(arguments, spec, bus, camera, made)


def _move(
    arguments: argparse.Namespace, spec: RobotSpec, bus: DynamixelBus, camera: Camera | None, made: str
) -> dict[str, Figure]:
    """Step a joint, and see when it and its pictures follow."""
    from vmail_hardware.cameras.identity import camera_name
    from vmail_hardware.latency import LatencyError, figure
    from vmail_hardware.latency.camera_timing import CameraWatch
    from vmail_hardware.latency.picture_delay import picture_delay
    from vmail_hardware.latency.stepping import Stepper

    stepper = Stepper(bus, spec, arguments.move or None, arguments.step)
    print(
        f"{stepper.joint} goes {arguments.step:g} rad and back, {arguments.steps} steps; Ctrl-C lets the hand go",
        flush=True,
    )
    watch = CameraWatch(camera, arguments.camera, keep_pictures=True) if camera is not None else None
    with watch or contextlib.nullcontext(), _powered(bus):
        steps = list(stepper.steps(arguments.steps))
        seen = watch.seen() if watch is not None else []
    least = min(abs(step.after - step.before) for step in steps)
    starts = [(step.first_motion(), step.written) for step in steps]
    late = [moved - written for moved, written in starts if moved is not None]
    if least < LEAST_SHARE * arguments.step or len(late) < len(steps):
        raise LatencyError(
            f"{stepper.joint} went {least:.3f} rad instead of {arguments.step:g}: it is blocked; free it, or choose "
            "another joint with --move JOINT"
        )
    found = {"action": figure(late, arguments.port, made)}
    if watch is not None:
        delay = picture_delay(steps, seen, arguments.camera, stepper.joint)
        lost = len(steps) - len(delay.each)
        each = figure(delay.each, camera_name(arguments.camera), made, lost, watch.size)
        found["camera_motion"] = dataclasses.replace(each, p50_ms=round(1e3 * delay.together, 3))
    return found


@contextlib.contextmanager
def _opened(port: str, spec: RobotSpec) -> Iterator[DynamixelBus]:
    """The bus; torque stays as it is."""
    from vmail_hardware.bus import DynamixelBus

    bus = DynamixelBus(port, spec, reply_timeout_ms=REPLY_TIMEOUT_MS)
    bus.open()
    try:
        yield bus
    finally:
        bus.leave()


@contextlib.contextmanager
def _powered(bus: DynamixelBus) -> Iterator[None]:
    """Torque on; whatever ends it, the hand is let go gradually, and no further signal cuts that short."""
    from vmail_hardware.bus_errors import BusError

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def ignore_signals() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    previous = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        try:
            bus.set_torque(True, RAMP_S)
            yield
        finally:
            ignore_signals()
    finally:
        ignore_signals()  # again, in case that a second signal came before the first had been dealt with
        try:
            with contextlib.suppress(BusError):  # closing tries again, and says so if it fails
                bus.release(RELEASE_S)
            bus.close()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _show(latencies: Latencies, spec: RobotSpec) -> None:
    from rich.console import Console

    from vmail.tables import Column, FittingTable
    from vmail_hardware.latency import WHAT

    figures = list(latencies.figures.values())
    lates = [f"{f.p99_ms:.1f}" + ("" if f.late_name == "p99" else f" ({f.late_name})") for f in figures]
    counts = [f"{f.count}" + (f" ({f.lost} lost)" if f.lost else "") for f in figures]
    columns = [
        Column("figure", list(latencies.figures)),
        Column("what", [WHAT[name] for name in latencies.figures], 3),
        Column("p50", [f"{f.p50_ms:.1f}" for f in figures], right=True),
        Column("p99", lates, right=True),
        Column("count", counts, 2, right=True),
        Column("measured", [f.made[:10] for f in figures], 1),
    ]
    console = Console(soft_wrap=True, highlight=False)
    console.print(FittingTable(columns, f"latencies of {latencies.robot}, milliseconds"))
    for of in dict.fromkeys(found.place for found in latencies.figures.values()):
        print(f"{of}: {', '.join(name for name, found in latencies.figures.items() if found.place == of)}")
    age = latencies.figures.get("camera_age")
    if age is not None and age.p50_ms < -AHEAD_MS:
        print(f"pictures arrive {-age.p50_ms:.0f} ms before their stamps: the clock that stamps them is ahead")
    reaction = latencies.reaction_ms()
    if reaction is not None:
        periods = 1e-3 * reaction / spec.control_period
        print(f"from light to motion: {reaction:.0f} ms without the policy's own time, {periods:.1f} control periods")
