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


def serve(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_second_bus_leaves_the_first_one_its_path_and_one_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    first, second, third = serve(path), None, None
    try:
        assert first.stdout is not None and "emulated servos" in first.stdout.readline()
        served = path.readlink()
        second = serve(path)
        assert (
            f"{path} is served by another emulated bus that still runs: stop that one"
            in second.communicate(timeout=30)[1]
        )
        assert second.returncode and path.readlink() == served
        first.kill()
        first.wait()
        third = serve(path)
        assert third.stdout is not None and "emulated servos" in third.stdout.readline()
        sdk = Sdk(path)
        assert sdk.packets.ping(sdk.port, 10)[1] == COMM_SUCCESS
        sdk.port.closePort()
        third.terminate()
        assert third.wait(timeout=30) == 0 and not list(tmp_path.iterdir()), "nothing is left behind"
    finally:
        for process in filter(None, (first, second, third)):
            process.kill()
            process.wait()
