"""The SDK's serial port, with answers waited for only as long as a servo bus needs."""

from __future__ import annotations

import time

from dynamixel_sdk import PortHandler

_READ_WAIT_S = 0.001


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
        self.ser.timeout = _READ_WAIT_S  # sleep in the kernel for the next bytes instead of asking again and again
        self.ser.exclusive = True
        return True

    def clearPort(self) -> None:
        """Forget everything that came so far."""
        self._received.clear()
        super().clearPort()

    def readPort(self, length: int) -> bytes:
        """Up to `length` bytes. Takes in all that is there at once: the SDK asks for a packet in pieces."""
        if not self._received:
            self._received += self.ser.read(max(length, self.ser.in_waiting))
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def setPacketTimeout(self, packet_length: int) -> None:
        """Start waiting for `packet_length` bytes."""
        self.setPacketTimeoutMillis(self.tx_time_per_byte * packet_length + self.reply_timeout_ms)

    def getCurrentTime(self) -> float:
        """Monotonic milliseconds."""
        return time.monotonic() * 1000.0
