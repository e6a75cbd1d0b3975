from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dynamixel_sdk import COMM_SUCCESS

from .conftest import Sdk

PROGRAM = "import sys; from vmail_hardware.emulator import run_fake_bus; run_fake_bus(sys.argv[1], 'dclaw')"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fake_bus_serves_until_a_signal_and_removes_its_device(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "deep" / "bus"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "9 emulated servos of dclaw" in process.stdout.readline()
        sdk = Sdk(path)
        assert sdk.packets.ping(sdk.port, 10) == (1030, COMM_SUCCESS, 0)
        sdk.port.closePort()
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert not path.is_symlink()
    finally:
        process.kill()
        process.wait()
