"""`vmail fake-bus`: an emulated bus that runs until it is interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.bus_checks import is_device_name
from vmail_hardware.emulator.fault_script import FaultScript
from vmail_hardware.emulator.hands import HELP, Hands
from vmail_hardware.emulator.plant import FirstOrderPlant, Plant
from vmail_hardware.emulator.pty_bus import EmulatedBus
from vmail_hardware.emulator.wire_check import FIRST, WireCheck

_SCRIPT_PERIOD_S = 0.01


def run_fake_bus(
    path: str | Path,
    robot: str | Path | RobotSpec = "dclaw",
    plant: Plant | None = None,
    faults: Sequence[str] = (),
    check: bool = False,
    keys: Callable[[], str] | None = None,
) -> int:
    """Serve an emulated bus at `path` until SIGINT or SIGTERM. Call it from the main thread.

    Args:
        path: where the device shall appear.
        robot: a spec, or what `load_robot` takes.
        plant: what the servos move, by default joints of first order.
        faults: what is broken, and when; see `fault_script`.
        check: judge all that is written by the robot's limits, and print what violates them.
        keys: what was pressed since it was called last; see `Hands`. Only for joints of first order.

    Returns:
        How many violations there were; 0 without `check`.

    Raises:
        ValueError: there is no such fault or servo, or `path` is named as a real device is.
        FileExistsError: another emulated bus serves `path`, or it is taken by something that is not a link.
    """
    if is_device_name(str(path)):
        raise ValueError(f"{path} is a place of real devices: give a path of your own, like ./bus")
    spec = robot if isinstance(robot, RobotSpec) else load_robot(robot)
    # Not an Event: a signal that comes while the main thread waits for one would wait for that wait, for ever.
    script, signals = FaultScript(faults), list[int]()
    script.require_servos(spec.servo_ids)
    wire, told = WireCheck(spec) if check else None, 0

    def end(signum: int, frame: FrameType | None) -> None:
        signals.append(signum)

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with EmulatedBus(path, spec, plant, check=wire) as bus:
            hands = _hands(bus, spec) if keys is not None and plant is None else None
            servos = f"{spec.action_size} emulated servos of {spec.name}"
            print(f"{servos} at {path}, {spec.servo_baud} baud. Ctrl-C ends.", flush=True)
            if hands is not None:
                print(HELP, flush=True)
            began = time.monotonic()
            while not signals:
                time.sleep(_SCRIPT_PERIOD_S)
                elapsed = time.monotonic() - began
                for change in script.apply(bus.faults, elapsed):
                    print(f"{elapsed:.1f} s: {change}", flush=True)
                if hands is not None and keys is not None:
                    _use(hands, keys())
                if wire is not None:
                    told = _print_new(wire, told, elapsed)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if wire is None:
        return 0
    _print_new(wire, told, time.monotonic() - began)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(wire.counts.items()))
    print(f"violations of the limits of {spec.name}: {kinds or 'none'}", flush=True)
    return wire.count


def _hands(bus: EmulatedBus, spec: RobotSpec) -> Hands:
    """Somebody's hands, as strong as limp joints need."""
    assert isinstance(bus.plant, FirstOrderPlant)

    def limp() -> bool:
        return not any(bus.servo(servo_id).get("torque_enable") for servo_id in spec.servo_ids)

    return Hands(bus.plant, spec, limp)


def _use(hands: Hands, keys: str) -> None:
    for key in keys:
        said = hands.press(key, time.monotonic())
        if said:
            print(said, flush=True)
    hands.move(time.monotonic())


def _print_new(wire: WireCheck, told: int, elapsed: float) -> int:
    """Print the violations after the first `told`; returns how many have been printed by now."""
    new = wire.violations[told:]
    for number, violation in enumerate(new, told + 1):
        more = " (later ones are only counted)" if number == FIRST else ""
        print(f"{elapsed:.1f} s: {violation}{more}", flush=True)
    return told + len(new)
