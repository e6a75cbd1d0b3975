"""Starts dynamixel_driver on emulated servos, which a busy machine may keep from answering in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ros_harness import NodeProcess, until

MODULE = "vmail_nodes.dynamixel_driver"
QUICK = {"ramp_s": 0.05, "release_s": 0.05}
TOO_LATE = ("no answer from servo", "could not be set")  # what it says of servos whose answers came too late


def start_driver(start_node: Callable[..., NodeProcess], parameters: dict[str, Any]) -> NodeProcess:
    """A driver that found its servos and switched torque on. One that found them too slow is started again."""
    started: list[NodeProcess] = []

    def runs() -> bool:
        driver = start_node(MODULE, {**QUICK, **parameters})
        started.append(driver)
        until(lambda: "torque on" in driver.output or driver.process.poll() is not None, "the driver starts")
        found = "torque on" in driver.output
        assert found or any(words in driver.output for words in TOO_LATE), driver.output
        return found

    until(runs, "the driver finds its servos")
    return started[-1]
