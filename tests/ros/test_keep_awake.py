"""The driver keeps the computer's processors awake where it is asked to and may, and says so where it may not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from driver_process import start_driver
from ros_harness import NodeProcess

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.realtime import LATENCY_DEVICE


def holds_device(node: NodeProcess) -> bool:
    files = Path(f"/proc/{node.process.pid}/fd").iterdir()
    return any(file.is_symlink() and os.readlink(file) == str(LATENCY_DEVICE) for file in files)


@pytest.mark.parametrize("wanted", [True, False])
def test_processors_stay_awake_only_where_that_is_wanted(
    start_node: Callable[..., NodeProcess], tmp_path: Path, wanted: bool
) -> None:
    with EmulatedBus(tmp_path / "bus", load_robot("dclaw")) as bus:
        driver = start_driver(start_node, {"port": str(bus.path), "reply_timeout_ms": 20.0, "keep_awake": wanted})
        told = f"processors may sleep ({LATENCY_DEVICE}: " in driver.output
        assert holds_device(driver) == (wanted and not told), driver.output
        assert not (told and (not wanted or os.access(LATENCY_DEVICE, os.W_OK)))
