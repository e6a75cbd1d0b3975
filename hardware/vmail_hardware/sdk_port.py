"""The SDK's serial port and packets, as fast as a servo bus needs them."""

from __future__ import annotations

import os
import select
import termios
import time

import serial
from dynamixel_sdk import (
    COMM_RX_CORRUPT,
    COMM_RX_TIMEOUT,
    COMM_SUCCESS,
    COMM_TX_FAIL,
    PortHandler,
    Protocol2PacketHandler,
)

from vmail_hardware.checksum import crc16
from vmail_hardware.framing import HEADER, STATUS, STUFFED_HEADER, take_packet

_READ_WAIT_S = 0.001
_BITS_PER_BYTE = 10  # with start and stop
_READ_BYTES = 4096  # more than any answer
_ID_AT, _LENGTH_AT = 4, 5
_CHECKSUM_BYTES = 2


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
        """Open the port, for this program alone.

        It is locked before anything is changed, as it is not by the SDK: another program that has it must not get
        another baud rate, nor lose what has just come.

        Raises:
            serial.SerialException: it cannot be opened, or another program has it.
        """
        self.ser = serial.Serial(self.port_name, self.baudrate, timeout=0, exclusive=True)
        self.ser.reset_input_buffer()
        self.is_open = True
        self.tx_time_per_byte = 1000.0 * _BITS_PER_BYTE / self.baudrate
        return True

    def clearPort(self) -> None:
        """Forget everything that came so far."""
        self._received.clear()
        super().clearPort()

    def readPort(self, length: int) -> bytes:
        """Up to `length` bytes, after waiting for up to a millisecond if there are none."""
        if not self._received:
            self._take_in()
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def read_status(self) -> bytes | None:
        """The next status packet, once it is whole; None after a millisecond with nothing new."""
        packet = take_packet(self._received, STATUS)
        if packet is None and self._take_in():
            packet = take_packet(self._received, STATUS)
        return packet

    def forget(self) -> bool:
        """Forget the beginning of a packet that came; return whether any did."""
        began = bool(self._received)
        self._received.clear()
        return began

    def writePort(self, packet: bytes | list[int]) -> int:
        """Send a packet; returns how many bytes that is.

        Raises:
            OSError: the adapter takes no more bytes. What waits for it is dropped: goals that come later are wrong, and
                closing the port would wait for them.
        """
        descriptor = self.ser.fileno()
        try:
            taken = os.write(descriptor, bytes(packet))
        except BlockingIOError:
            taken = 0
        if taken < len(packet):
            termios.tcflush(descriptor, termios.TCOFLUSH)
            raise OSError(f"it takes no more bytes: {taken} of {len(packet)} of the last packet")
        return taken

    def _take_in(self) -> bool:
        """Add all that came. Sleeps in the kernel for it, up to a millisecond, instead of asking again and again."""
        descriptor = self.ser.fileno()
        if not select.select([descriptor], [], [], _READ_WAIT_S)[0]:
            return False
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            raise serial.SerialException("it hung up")
        self._received += data
        return True

    def setPacketTimeout(self, packet_length: int) -> None:
        """Start waiting for `packet_length` bytes."""
        self.setPacketTimeoutMillis(self.tx_time_per_byte * packet_length + self.reply_timeout_ms)

    def getCurrentTime(self) -> float:
        """Monotonic milliseconds."""
        return time.monotonic() * 1000.0


class QuickHandler(Protocol2PacketHandler):
    """The SDK's instructions and answers, with what it does byte by byte done at once: a fifth of its time."""

    def txPacket(self, port: QuickPort, txpacket: list[int]) -> int:
        """Send a packet that the SDK has laid out: ids and parameters in place, room for header and checksum."""
        if port.is_using or HEADER in bytes(txpacket[_LENGTH_AT:]):
            return int(super().txPacket(port, txpacket))  # it refuses, or stuffs
        port.is_using = True
        packet = HEADER + b"\x00" + bytes(txpacket[_ID_AT:-_CHECKSUM_BYTES])
        packet += crc16(packet).to_bytes(_CHECKSUM_BYTES, "little")
        port.clearPort()
        if port.writePort(packet) == len(packet):
            return int(COMM_SUCCESS)
        port.is_using = False
        return int(COMM_TX_FAIL)

    def rxPacket(self, port: QuickPort, fast_option: bool) -> tuple[bytes | list[int], int]:
        """Wait for the next status packet: it, or what there is of it, and the SDK's name for how that went."""
        while (packet := port.read_status()) is None:
            if port.isPacketTimeout():
                port.is_using = False
                return b"", int(COMM_RX_CORRUPT if port.forget() else COMM_RX_TIMEOUT)
        port.is_using = False
        if crc16(packet[:-_CHECKSUM_BYTES]) != int.from_bytes(packet[-_CHECKSUM_BYTES:], "little"):
            return packet, int(COMM_RX_CORRUPT)
        if STUFFED_HEADER in packet and not fast_option:
            return self.removeStuffing(list(packet)), int(COMM_SUCCESS)
        return packet, int(COMM_SUCCESS)
