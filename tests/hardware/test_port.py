"""The port itself: who may open it, and what becomes of it when nobody takes the bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import termios
import time
import tty
from collections.abc import Callable, Iterator

import pytest

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusLostError, BusOpenError
from vmail_hardware.emulator import EmulatedBus
from vmail_hardware.emulator.chain import PING
from vmail_hardware.emulator.packets import packet, status_packet
from vmail_hardware.sdk_link import SdkLink


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the end at which nobody reads, and the other one's device file."""
    host, device = os.openpty()
    tty.setraw(device)
    yield host, os.ttyname(device)
    os.close(host)
    os.close(device)


def fill(descriptor: int) -> None:
    """Write until nothing has been taken for a while: the kernel moves bytes on and makes room, a few times."""
    full_since = time.monotonic()
    while time.monotonic() - full_since < 0.05:
        try:
            os.write(descriptor, bytes(100))
            full_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.001)


@pytest.mark.parametrize("first", ["read", "fast_read", "write", "ping", "health", "acknowledged"])
def test_an_adapter_that_takes_no_more_bytes_is_a_lost_port(
    line: tuple[int, str], spec: RobotSpec, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, name = line
    flushed, flush = [], termios.tcflush
    monkeypatch.setattr(termios, "tcflush", lambda port, queue: flushed.append(queue) or flush(port, queue))
    link, ids = SdkLink(name, 1_000_000, 0.0), spec.servo_ids
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: link.sync_read(ids, 126, 10),
        "fast_read": lambda: link.fast_sync_read(ids, 126, 10),
        "write": lambda: link.sync_write(116, 4, b"".join(bytes((i, 0, 8, 0, 0)) for i in ids)),
        "ping": lambda: link.ping(ids[0]),
        "health": lambda: link.read(ids[0], 64, 83),
        "acknowledged": lambda: link.write(ids[0], 64, b"\x00"),
    }
    link.connect()
    assert link._port is not None
    fill(link._port.ser.fileno())
    began = time.monotonic()
    with pytest.raises(BusLostError, match=f"{name} went away .it takes no more bytes.* check the USB cable"):
        calls[first]()
    assert not link.is_connected
    assert time.monotonic() - began < 1.0
    assert flushed[-1] == termios.TCOFLUSH, "what waits in the line must not be delivered later"
    link.connect()
    os.set_blocking(host, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(host, 10_000):
            time.sleep(0.001)
    link.sync_write(116, 4, b"\x0a\x00\x08\x00\x00")  # it takes bytes again
    link.disconnect()


@pytest.mark.parametrize("baud", [57_600, 1_000_000, 3_000_000])
def test_a_second_program_changes_nothing_for_the_first_whatever_its_baud_rate(
    emulated: EmulatedBus, bus: DynamixelBus, spec: RobotSpec, baud: int
) -> None:
    assert bus._link._port is not None
    first = bus._link._port.ser
    before = termios.tcgetattr(first.fileno())
    answer = len(status_packet(10, 0, bytes(3)))
    first.write(packet(10, PING, b""))
    while first.in_waiting < answer:
        time.sleep(0.001)
    second = DynamixelBus(str(emulated.path), dataclasses.replace(spec, servo_baud=baud))
    with pytest.raises(BusOpenError, match=f"cannot open {emulated.path} .*if another program has it"):
        second.open()
    assert termios.tcgetattr(first.fileno()) == before
    assert first.in_waiting == answer, "an answer that has come is still there"
    for _ in range(3):
        assert bus.read().position.shape == (9,)
