"""The SDK's serial port and packets, as fast as a servo bus needs them."""

from __future__ import annotations

import os
import select
import time

import serial
from dynamixel_sdk import PortHandler, Protocol2PacketHandler

from vmail_hardware.checksum import crc16

_READ_WAIT_S = 0.001
_READ_BYTES = 4096  # more than any answer
_HEADER = b"\xff\xff\xfd"
_STUFFED = _HEADER + b"\xfd"
_LENGTH_AT = 5


class QuickPort(PortHandler):
    """A `PortHandler` for a USB latency timer of 1 ms.

    The SDK's own assumes 16 ms and so waits 35 ms for a silent servo; it also polls the port in a busy loop and
    takes its time from the wall clock, which may be set while it waits.
    """

    def __init__(self, port_name: str, baud: int, reply_timeout_ms: float) -> None:
        """Name the port; nothing is opened.

        Args:
            port_name: device file.
            baud: bit/s.
            reply_timeout_ms: how long past the bytes' own time an answer is waited for.
        """
        super().__init__(port_name)
        self.baudrate = baud
        self.reply_timeout_ms = reply_timeout_ms
        self._received = bytearray()

    def setupPort(self, cflag_baud: int) -> bool:
        """Open the port, for this program alone. Raises serial.SerialException."""
        super().setupPort(cflag_baud)
        self.ser.exclusive = True
        return True

    def clearPort(self) -> None:
        """Forget everything that came so far."""
        self._received.clear()
        super().clearPort()

    def readPort(self, length: int) -> bytes:
        """Up to `length` bytes. Takes in all that is there at once: the SDK asks for a packet in pieces.

        Sleeps in the kernel for the next bytes, up to a millisecond, instead of asking again and again.
        """
        if not self._received:
            self._received += self._take_in()
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def writePort(self, packet: list[int]) -> int:
        """Send a packet; returns how many of its bytes were taken, which is all of them on any port that works."""
        return os.write(self.ser.fileno(), bytes(packet))

    def _take_in(self) -> bytes:
        descriptor = self.ser.fileno()
        if not select.select([descriptor], [], [], _READ_WAIT_S)[0]:
            return b""
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            raise serial.SerialException("it hung up")
        return data

    def setPacketTimeout(self, packet_length: int) -> None:
        """Start waiting for `packet_length` bytes."""
        self.setPacketTimeoutMillis(self.tx_time_per_byte * packet_length + self.reply_timeout_ms)

    def getCurrentTime(self) -> float:
        """Monotonic milliseconds."""
        return time.monotonic() * 1000.0


class QuickHandler(Protocol2PacketHandler):
    """The SDK's packets, with what it does byte by byte done at once: half of the time that a packet takes."""

    def updateCRC(self, crc_accum: int, data_blk_ptr: list[int], data_blk_size: int) -> int:
        """Checksum of the first `data_blk_size` bytes, continuing from `crc_accum`."""
        return crc16(bytes(data_blk_ptr[:data_blk_size]), crc_accum)

    def addStuffing(self, packet: list[int]) -> list[int]:
        """Leaves packets alone that have nothing to be stuffed."""
        return super().addStuffing(packet) if _HEADER in bytes(packet[_LENGTH_AT:]) else packet

    def removeStuffing(self, packet: list[int]) -> list[int]:
        """Leaves packets alone that have nothing stuffed."""
        return super().removeStuffing(packet) if _STUFFED in bytes(packet) else packet
