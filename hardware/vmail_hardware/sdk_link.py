"""The Dynamixel SDK behind a few calls that fail loudly: sync read and write, ping, single reads and writes."""

from __future__ import annotations

import itertools
import random
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from dynamixel_sdk import BROADCAST_ID, COMM_RX_TIMEOUT, COMM_SUCCESS

from vmail_hardware.bus_errors import BusLostError, BusOpenError, BusWriteError
from vmail_hardware.framing import ALERT_BIT, CODE_AT, LEAST_STATUS_LENGTH, PREFIX, STATUS, take_packet
from vmail_hardware.sdk_port import QuickHandler, QuickPort, is_intact, sync_order, sync_question

_UNHURRIED_TIMEOUT_MS = 400.0
# Packets that are looked at for each answer that is waited for: a line that babbles must not stall a loop.
_PATIENCE = 4
# Of the wait for an answer: when a fast sync read fails, a plain one must still fit into the same tick of 10 ms.
# (Beyond the time of the bytes, the question's included: the wait begins while that is still on its way.)
_FAST_SHARE, _AFTER_FAST_SHARE = 0.45, 0.6
_ORDERS = 256  # of servos, before the first comes again
_FAST_AT, _FAST_OVERHEAD = CODE_AT + 1, 4  # of an answer to a fast read: error and id before, checksum behind each data


class SdkLink:
    """One open port. Any failure of the port itself ends in BusLostError, after which only `connect` helps.

    The SDK leaves its port marked as in use when a call is cut short, and answers -1000 ever after: every call
    here clears that mark first. It may be used from one thread at a time.
    """

    def __init__(self, port_name: str, baud: int, reply_timeout_ms: float) -> None:
        """Name the port; nothing is opened."""
        self.port_name = port_name
        self._baud = baud
        self._reply_timeout_ms = reply_timeout_ms
        self._waiting_longer = False
        self._port: QuickPort | None = None
        self._handler = QuickHandler()
        self._random = random.Random(0)
        self._orders: dict[tuple[int, ...], Iterator[_Order]] = {}
        self._last_fast: tuple[bytes, int, _Order] | None = None  # packet, bytes of each servo's data, whom it was of

    @property
    def is_connected(self) -> bool:
        """Whether the port is open."""
        return self._port is not None

    def connect(self) -> None:
        """Open the port, after closing it if it was open.

        Raises:
            BusOpenError: it cannot be opened, is in use, or does not know the baud rate.
        """
        self.disconnect()
        port = QuickPort(self.port_name, self._baud, self._reply_timeout_ms)
        try:
            opened = port.openPort()
        except (OSError, termios.error) as error:  # termios.error is not an OSError
            if port.ser is not None:
                port.ser.close()
            raise BusOpenError(
                f"cannot open {self.port_name} ({error}); "
                f"if another program has it, find it with `fuser {self.port_name}`"
            ) from error
        if not opened:
            raise BusOpenError(f"{self.port_name}: the SDK does not support {self._baud} baud; change servo.baud")
        self._port = port

    def disconnect(self) -> None:
        """Close the port. Does nothing when it is closed, and never raises: the port may be gone already."""
        port, self._port = self._port, None
        if port is not None and port.ser is not None:
            try:
                port.ser.close()
            except (OSError, termios.error):
                return

    def ping(self, servo_id: int) -> int | None:
        """Model number of a servo, None if it does not answer."""
        with self._transaction() as port:
            model, result, error = self._handler.ping(port, servo_id)
        return int(model) if result == COMM_SUCCESS and not error & ~ALERT_BIT else None

    def sync_read(
        self, servo_ids: Sequence[int], address: int, length: int, after_fast: bool = False
    ) -> dict[int, tuple[int, bytes]]:
        """Read the same registers of several servos at once.

        Args:
            servo_ids, address, length: whose, and which.
            after_fast: a fast read has just failed and taken its time: wait less.

        Returns:
            Servo id to (error byte, data), of those whose answer came whole and intact. Never a made-up value.

        The SDK's GroupSyncRead is not used: it gives up at the first silent servo, so the others' answers are lost
        with it, and it drops the error byte, which carries the hardware alert.
        """
        answers: dict[int, tuple[int, bytes]] = {}
        order = self._another_order(servo_ids)
        expected = list(order.servo_ids)
        with self._transaction() as port:
            if after_fast and not self._waiting_longer:
                port.reply_timeout_ms *= _AFTER_FAST_SHARE
            one = PREFIX + LEAST_STATUS_LENGTH + length
            result = self._handler.ask(port, order.question(address, length, False), one * len(expected))
            self._check_sent(result, servo_ids)
            for _ in range(_PATIENCE * len(servo_ids)):  # late answers to earlier questions may lie between
                packet, result = self._handler.rxPacket(port, False)
                if result == COMM_RX_TIMEOUT:
                    break
                if result != COMM_SUCCESS or packet[4] not in servo_ids or packet[5] | packet[6] << 8 != length + 4:
                    continue
                if packet[4] not in expected:
                    return {}  # out of order: among the answers are late ones to an earlier question
                del expected[: expected.index(packet[4]) + 1]
                answers[packet[4]] = (packet[8], bytes(packet[9 : 9 + length]))
                if not expected:
                    break
        return answers

    def fast_sync_read(
        self, servo_ids: Sequence[int], address: int, length: int, meanwhile: Callable[[], None] | None = None
    ) -> list[bytes]:
        """As `sync_read`, with one packet for all answers: two thirds of the bytes, a ninth of the packets.

        It comes whole or not at all: one silent servo, and nobody's answer is known. Older firmware knows no such read.
        `meanwhile` is called while the line is busy; what it takes longer than that delays the answer.

        Returns:
            Of every servo, in the order of `servo_ids`: error byte, id, data. Nothing where the packet did not come.
        """
        order = self._another_order(servo_ids)
        size = 1 + (_FAST_OVERHEAD + length) * len(servo_ids)  # the first is the instruction number
        with self._transaction() as port:
            if not self._waiting_longer:
                port.reply_timeout_ms *= _FAST_SHARE
            question = order.question(address, length, True)
            result = self._handler.ask(port, question, len(question) + PREFIX + size)
            self._check_sent(result, servo_ids)
            if meanwhile is not None:
                meanwhile()
            for _ in range(_PATIENCE):
                packet, result = self._handler.rxPacket(port, True)
                if result == COMM_RX_TIMEOUT:
                    break
                if result != COMM_SUCCESS or packet[4] != BROADCAST_ID:
                    continue
                if packet[5] | packet[6] << 8 != size:
                    continue
                if order.is_answered_by(packet, length):  # or else it is a late answer to an earlier question
                    self._last_fast = packet, length, order
                    return order.taken_apart(packet, length)
        return []

    def rehearse(self) -> list[bytes]:
        """Take the last answer to a fast read apart as if it came now; what that gave, nothing before the first."""
        if self._last_fast is None:
            return []
        packet, length, order = self._last_fast
        taken = take_packet(bytearray(packet), STATUS)
        return order.taken_apart(taken, length) if taken is not None and is_intact(taken) else []

    def _another_order(self, servo_ids: Sequence[int]) -> _Order:
        """Servos to ask, shuffled: an answer does not tell which question it belongs to, but the answers' order does.

        Servos answer in the order in which they are asked, so answers that come too late fit no other question.
        """
        asked = tuple(servo_ids)
        if asked not in self._orders:
            shuffled = [_Order(self._random.sample(asked, len(asked)), asked) for _ in range(_ORDERS)]
            self._orders[asked] = itertools.cycle(shuffled)  # drawn beforehand: it takes as long as a packet
        return next(self._orders[asked])

    def sync_write(self, address: int, length: int, data: bytes) -> None:
        """Write registers of several servos at once. Nobody acknowledges.

        Args:
            address, length: which.
            data: each servo's id, and behind it its `length` bytes.

        Raises:
            BusWriteError: the packet was not sent.
        """
        with self._transaction() as port:
            result = self._handler.tell(port, sync_order(address, length, data))
            self._check_sent(result, data[:: 1 + length])

    def read(self, servo_id: int, address: int, length: int) -> bytes | None:
        """Registers of one servo, None if it does not answer."""
        with self._transaction() as port:
            data, result, error = self._handler.readTxRx(port, servo_id, address, length)
        return bytes(data) if result == COMM_SUCCESS and not error & ~ALERT_BIT else None

    def write(self, servo_id: int, address: int, data: bytes) -> None:
        """Write registers of one servo and wait for its acknowledgement.

        Raises:
            BusWriteError: it did not answer, or refused.
        """
        with self._transaction() as port:
            result, error = self._handler.writeTxRx(port, servo_id, address, len(data), list(data))
        text = self._handler.getTxRxResult(result) if result != COMM_SUCCESS else ""
        if error & ~ALERT_BIT:
            text = self._handler.getRxPacketError(error & ~ALERT_BIT)
        if text:
            raise BusWriteError(f"{self.port_name}: servo {servo_id}, write to register {address}: {text}", [servo_id])

    def reboot(self, servo_id: int) -> None:
        """Restart a servo. Raises BusWriteError if it does not acknowledge."""
        with self._transaction() as port:
            result, _ = self._handler.reboot(port, servo_id)
        if result != COMM_SUCCESS:
            text = self._handler.getTxRxResult(result)
            raise BusWriteError(f"{self.port_name}: servo {servo_id}, reboot: {text}", [servo_id])

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Wait longer for answers meanwhile: for set-up and shut-down, where an answer matters more than time."""
        before, self._waiting_longer = self._waiting_longer, True
        try:
            yield
        finally:
            self._waiting_longer = before

    def _transaction(self) -> _Transaction:
        return _Transaction(self)

    def ready_port(self) -> QuickPort:
        """The port, ready for a question. Raises BusLostError where none is open."""
        if self._port is None:
            raise BusLostError(f"{self.port_name} is not open; reopen the bus")
        self._port.is_using = False
        wait_ms = self._reply_timeout_ms
        self._port.reply_timeout_ms = max(wait_ms, _UNHURRIED_TIMEOUT_MS) if self._waiting_longer else wait_ms
        return self._port

    def _check_sent(self, result: int, servo_ids: Sequence[int]) -> None:
        if result != COMM_SUCCESS:
            text = self._handler.getTxRxResult(result)
            raise BusWriteError(f"{self.port_name}: packet not sent: {text}", servo_ids)


class _Order:
    """Servos in the order in which they are asked, and the packets that do; made once, for they are sent often."""

    def __init__(self, servo_ids: Sequence[int], all_ids: Sequence[int]) -> None:
        """Servos in the order in which they are asked, and in that in which their answers are wanted."""
        self.servo_ids = tuple(servo_ids)
        self._wanted = [self.servo_ids.index(servo_id) for servo_id in all_ids]
        self._as_answered = bytes(servo_ids)
        self._questions: dict[tuple[int, int, bool], bytes] = {}
        self._places: dict[int, list[slice]] = {}  # by length of the data

    def question(self, address: int, length: int, fast: bool) -> bytes:
        """As `sync_question`."""
        key = (address, length, fast)
        if key not in self._questions:
            self._questions[key] = sync_question(self.servo_ids, address, length, fast)
        return self._questions[key]

    def is_answered_by(self, packet: bytes, length: int) -> bool:
        """Whether the answer to a fast read has these servos in this order."""
        return packet[_FAST_AT + 1 :: _FAST_OVERHEAD + length] == self._as_answered

    def taken_apart(self, packet: bytes, length: int) -> list[bytes]:
        """The answer to a fast read, servo by servo as they are wanted: error, id, data."""
        if length not in self._places:
            starts = [_FAST_AT + place * (_FAST_OVERHEAD + length) for place in self._wanted]
            self._places[length] = [slice(start, start + 2 + length) for start in starts]
        return [packet[place] for place in self._places[length]]


class _Transaction:
    """With a link's open port, until the end of the block: where the port fails inside, it is lost.

    (No generator as a context manager: at every tick, that takes as long as a packet does.)
    """

    def __init__(self, link: SdkLink) -> None:
        self._link = link

    def __enter__(self) -> QuickPort:
        return self._link.ready_port()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, (OSError, termios.error)):  # termios.error is not an OSError
            self._link.disconnect()
            raise BusLostError(
                f"{self._link.port_name} went away ({error}); check the USB cable and the adapter, then reopen the bus"
            ) from error
