from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dynamixel_sdk import PacketHandler, PortHandler

from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.emulator import EmulatedBus, WireCheck


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return load_robot("dclaw")


@pytest.fixture
def check() -> WireCheck | None:
    """What judges all that is written to the servos; none, where a module has no other."""
    return None


@pytest.fixture
def emulated(spec: RobotSpec, check: WireCheck | None, tmp_path: Path) -> Iterator[EmulatedBus]:
    with EmulatedBus(tmp_path / "bus", spec, check=check) as bus:
        yield bus


@pytest.fixture
def bus(emulated: EmulatedBus, spec: RobotSpec) -> Iterator[DynamixelBus]:
    """An open bus that waits long for answers: a busy test machine is not a silent servo."""
    bus = DynamixelBus(str(emulated.path), spec, reply_timeout_ms=200.0, watchdog_s=0.0)
    bus.open()
    yield bus
    emulated.faults.unplugged = True  # spares the shut-down's waits; tests of close do their own
    bus._torque_may_be_on = False
    bus.close()


class PatientPort(PortHandler):
    """The SDK's port, but a busy test machine is not a silent servo."""

    def setPacketTimeout(self, packet_length: int) -> None:
        self.setPacketTimeoutMillis(400.0)


class Sdk:
    """The SDK as anybody would use it, on an emulated bus."""

    def __init__(self, path: Path, baud: int = 1_000_000) -> None:
        self.port = PatientPort(str(path))
        self.port.setBaudRate(baud)
        self.packets = PacketHandler(2.0)


@pytest.fixture
def sdk(emulated: EmulatedBus) -> Iterator[Sdk]:
    client = Sdk(emulated.path)
    yield client
    client.port.closePort()
