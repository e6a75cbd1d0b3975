"""The SDK's serial port and packets, as fast as a servo bus needs them."""

from __future__ import annotations

import os
import select
import struct
import termios
import time
from collections.abc import Sequence

import serial
from dynamixel_sdk import (
    BROADCAST_ID,
    COMM_PORT_BUSY,
    COMM_RX_CORRUPT,
    COMM_RX_TIMEOUT,
    COMM_SUCCESS,
    PortHandler,
    Protocol2PacketHandler,
)

from vmail_hardware.checksum import crc16
from vmail_hardware.framing import (
    ALERT_BIT,
    CODE_AT,
    LEAST_STATUS_LENGTH,
    PREFIX,
    STATUS,
    frame,
    take_packet,
    unstuffed,
)

_READ_WAIT_S = 0.001
_BITS_PER_BYTE = 10  # with start and stop
_READ_BYTES = 4096  # more than any answer
_ID_AT, _LENGTH_AT, _ERROR_AT = 4, 5, 8
_PING, _READ, _ACTION = 0x01, 0x02, 0x05
_SYNC_READ, _SYNC_WRITE, _FAST_SYNC_READ = 0x82, 0x83, 0x8A
_SYNC_HEAD = struct.Struct("<BHH")  # instruction number, address, bytes a servo
_PATIENCE = 16  # packets that are looked at for one answer
_PING_BYTES = 3  # model number and firmware version
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
        self._wait_s = _READ_WAIT_S

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
        packet = take_packet(self._received, STATUS) if self._received else None
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
        if not select.select([descriptor], [], [], self._wait_s)[0]:
            return False
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            raise serial.SerialException("it hung up")
        self._received += data
        return True

    def setPacketTimeoutMillis(self, msec: float) -> None:
        """Start waiting for so long."""
        self.packet_start_time, self.packet_timeout, self._wait_s = self.getCurrentTime(), msec, _READ_WAIT_S

    def isPacketTimeout(self) -> bool:
        """Whether the wait is over. If not, what is left of it bounds the next look at the port."""
        left_ms = self.packet_start_time + self.packet_timeout - self.getCurrentTime()
        self._wait_s = min(_READ_WAIT_S, max(0.0, 0.001 * left_ms))
        return left_ms < 0.0

    def setPacketTimeout(self, packet_length: int) -> None:
        """Start waiting for `packet_length` bytes."""
        self.setPacketTimeoutMillis(self.tx_time_per_byte * packet_length + self.reply_timeout_ms)

    def getCurrentTime(self) -> float:
        """Monotonic milliseconds."""
        return time.monotonic() * 1000.0


class QuickHandler(Protocol2PacketHandler):
    """The SDK's instructions and answers, with what it does byte by byte done at once: a fifth of its time."""

    def txPacket(self, port: QuickPort, txpacket: list[int]) -> int:
        """Send a packet that the SDK has laid out: ids and parameters in place, room for header and checksum.

        It is stuffed here: the SDK does so, too, but sends what it had before (addStuffing's result is dropped).
        """
        return self._send(port, frame(txpacket[_ID_AT], bytes(txpacket[CODE_AT:-_CHECKSUM_BYTES])))

    def _send(self, port: QuickPort, packet: bytes) -> int:
        """Send a whole packet; the port is in use from then on."""
        if port.is_using:
            return int(COMM_PORT_BUSY)
        port.is_using = True
        port.clearPort()
        port.writePort(packet)  # all of it, or it raises
        return int(COMM_SUCCESS)

    def ask(self, port: QuickPort, question: bytes, answer_bytes: int) -> int:
        """Send what `sync_question` made, and start to wait for so many bytes: how it went.

        Raises:
            OSError: the adapter takes no more bytes.
        """
        result = self._send(port, question)
        if result == COMM_SUCCESS:
            port.setPacketTimeout(answer_bytes)
        return result

    def tell(self, port: QuickPort, order: bytes) -> int:
        """Send what `sync_order` made. As `ask`."""
        result = self._send(port, order)
        if result == COMM_SUCCESS:
            port.is_using = False  # nobody answers
        return result

    def txRxPacket(self, port: QuickPort, txpacket: list[int]) -> tuple[bytes | list[int] | None, int, int]:
        """Ask one servo, and wait for its answer: (packet, how it went, error number).

        A late answer to an earlier question is another's, or of another length, and is passed over. A servo that
        refuses answers with its error alone.
        """
        asked = txpacket[CODE_AT]
        if txpacket[_ID_AT] == BROADCAST_ID or asked == _ACTION:
            packet, result, error = super().txRxPacket(port, txpacket)
            return packet, int(result), int(error)
        result = self.txPacket(port, txpacket)
        if result != COMM_SUCCESS:
            return None, result, 0
        wanted = {_PING: _PING_BYTES, _READ: int.from_bytes(txpacket[10:12], "little")}.get(asked, 0)
        port.setPacketTimeout(PREFIX + LEAST_STATUS_LENGTH + wanted)
        for _ in range(_PATIENCE):
            packet, result = self.rxPacket(port, False)
            if result != COMM_SUCCESS:
                return packet, result, 0
            length, error = packet[_LENGTH_AT] | packet[_LENGTH_AT + 1] << 8, packet[_ERROR_AT]
            refused = length == LEAST_STATUS_LENGTH and error & ~ALERT_BIT
            if packet[_ID_AT] == txpacket[_ID_AT] and (refused or length == LEAST_STATUS_LENGTH + wanted):
                return packet, result, error
        return b"", int(COMM_RX_TIMEOUT), 0

    def rxPacket(self, port: QuickPort, fast_option: bool) -> tuple[bytes, int]:
        """Wait for the next status packet: it, or what there is of it, and the SDK's name for how that went."""
        while (packet := port.read_status()) is None:
            if port.isPacketTimeout():
                port.is_using = False
                return b"", int(COMM_RX_CORRUPT if port.forget() else COMM_RX_TIMEOUT)
        port.is_using = False
        if not is_intact(packet):
            return packet, int(COMM_RX_CORRUPT)
        # The SDK takes stuffing out in place, and then takes bytes for stuffing that were none.
        return packet if fast_option else unstuffed(packet), int(COMM_SUCCESS)


def is_intact(packet: bytes) -> bool:
    """Whether a whole packet's checksum agrees."""
    return crc16(packet[:-_CHECKSUM_BYTES]) == int.from_bytes(packet[-_CHECKSUM_BYTES:], "little")


def sync_order(address: int, length: int, data: bytes) -> bytes:
    """The packet that writes the same registers of servos: `data` has each one's id, and behind it its bytes."""
    return frame(BROADCAST_ID, _SYNC_HEAD.pack(_SYNC_WRITE, address, length) + data)


def sync_question(servo_ids: Sequence[int], address: int, length: int, fast: bool) -> bytes:
    """The packet that asks servos, in this order, for the same registers: with one answer for all where it is fast."""
    head = _SYNC_HEAD.pack(_FAST_SYNC_READ if fast else _SYNC_READ, address, length)
    return frame(BROADCAST_ID, head + bytes(servo_ids))
