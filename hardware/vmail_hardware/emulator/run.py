"""`vmail fake-bus`: an emulated bus that runs until it is interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.emulator.fault_script import FaultScript
from vmail_hardware.emulator.plant import Plant
from vmail_hardware.emulator.pty_bus import EmulatedBus

_SCRIPT_PERIOD_S = 0.01


def run_fake_bus(
    path: str | Path,
    robot: str | Path | RobotSpec = "dclaw",
    plant: Plant | None = None,
    faults: Sequence[str] = (),
) -> None:
    """Serve an emulated bus at `path` until SIGINT or SIGTERM. Call it from the main thread.

    Args:
        path: where the device shall appear.
        robot: a spec, or what `load_robot` takes.
        plant: what the servos move, by default joints of first order.
        faults: what is broken, and when; see `fault_script`.

    Raises:
        ValueError: there is no such fault.
        FileExistsError: `path` is taken by something that is not a link.
    """
    spec = robot if isinstance(robot, RobotSpec) else load_robot(robot)
    script, ended = FaultScript(faults), threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        ended.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with EmulatedBus(path, spec, plant) as bus:
            servos = f"{spec.action_size} emulated servos of {spec.name}"
            print(f"{servos} at {path}, {spec.servo_baud} baud. Ctrl-C ends.", flush=True)
            began = time.monotonic()
            while not ended.wait(_SCRIPT_PERIOD_S):
                elapsed = time.monotonic() - began
                for change in script.apply(bus.faults, elapsed):
                    print(f"{elapsed:.1f} s: {change}", flush=True)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
