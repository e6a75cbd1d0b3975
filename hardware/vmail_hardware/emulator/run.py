"""`vmail fake-bus`: an emulated bus that runs until it is interrupted."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.plant import Plant
from vmail_hardware.emulator.pty_bus import EmulatedBus


def run_fake_bus(
    path: str | Path,
    robot: str | Path | RobotSpec = "dclaw",
    plant: Plant | None = None,
    faults: Faults | None = None,
) -> None:
    """Serve an emulated bus at `path` until SIGINT or SIGTERM. Call it from the main thread.

    Args:
        path: where the device shall appear.
        robot: a spec, or what `load_robot` takes.
        plant: what the servos move, by default joints of first order.
        faults: what is broken from the start.

    Raises:
        FileExistsError: `path` is taken by something that is not a link.
    """
    spec = robot if isinstance(robot, RobotSpec) else load_robot(robot)
    ended = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        ended.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with EmulatedBus(path, spec, plant, faults):
            servos = f"{spec.action_size} emulated servos of {spec.name}"
            print(f"{servos} at {path}, {spec.servo_baud} baud. Ctrl-C ends.", flush=True)
            ended.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
