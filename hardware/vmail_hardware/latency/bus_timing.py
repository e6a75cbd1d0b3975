"""How long the bus takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusReadError
from vmail_hardware.latency.figures import Figure, LatencyError, figure

WARM_UP, MOST_LOST, ATTEMPTS = 20, 0.2, 5
Answer = TypeVar("Answer")


def time_bus(bus: DynamixelBus, made: str, count: int) -> dict[str, Figure]:
    """Round trips of a read of all joints, and of a write of all goals with a read.

    Args:
        bus: open, without torque: the goals that are written are where the joints are, and move nothing.
        made: day and time.
        count: how many of each.

    Raises:
        LatencyError: torque is on, or answers are lost again and again.
    """
    found = [patiently(bus.read_health) for _ in bus.spec.servo_ids]
    on = [health.servo_id for health in found if health.torque_enabled]
    if on:
        raise LatencyError(
            f"torque is on in servo {', '.join(map(str, on))}, and goals are to be written: end the program that "
            "drives the hand, or switch the servos' power off and on, if nothing rests on them"
        )
    _time(bus.read, WARM_UP, bus)
    here = patiently(bus.read).position

    def write_read() -> None:
        bus.write_goals(here)
        bus.read()

    times = {"bus_read": _time(bus.read, count, bus), "bus_write_read": _time(write_read, count, bus)}
    return {name: figure(seconds, bus.port, made, count - len(seconds)) for name, seconds in times.items()}


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer, asked for again if it got lost. Raises BusReadError when it was lost ATTEMPTS times."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(BusReadError):
            return ask()
    return ask()


def _time(act: Callable[[], object], count: int, bus: DynamixelBus) -> list[float]:
    """Seconds of each act that was answered."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        try:
            act()
        except BusReadError:
            continue  # how long one waits for an answer that got lost is a setting, no latency
        seconds.append(time.perf_counter() - began)
    if len(seconds) < (1.0 - MOST_LOST) * count:
        raise LatencyError(
            f"{bus.port}: {count - len(seconds)} of {count} questions got no whole answer; `vmail doctor --port "
            f"{bus.port}` looks for the reason"
        )
    return seconds
