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
from vmail_nodes.realtime import LATENCY_DEVICE, keep_awake, knows_sleep_states


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
        assert not (told and (not wanted or (os.access(LATENCY_DEVICE, os.W_OK) and knows_sleep_states())))


@pytest.mark.parametrize("driver", ["none\n", None])
def test_a_machine_that_knows_no_sleep_states_is_not_said_to_be_awake(tmp_path: Path, driver: str | None) -> None:
    file = tmp_path / "current_driver"
    if driver is not None:
        file.write_text(driver)
    with pytest.raises(OSError, match="knows no sleep states"):
        keep_awake(tmp_path / "cpu_dma_latency", file)
    assert not (tmp_path / "cpu_dma_latency").exists()


def test_a_machine_that_knows_sleep_states_is_kept_awake(tmp_path: Path) -> None:
    driver, device = tmp_path / "current_driver", tmp_path / "cpu_dma_latency"
    driver.write_text("intel_idle\n")
    keep_awake(device, driver).close()
    assert device.read_bytes() == bytes(4)
