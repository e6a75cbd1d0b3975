"""Protocol 2.0 packets: byte stuffing, and a parser that finds packets in a stream of bytes.

Source: ROBOTIS e-Manual, "Protocol 2.0". This is the servo's side; the host's side is the SDK.
"""

from __future__ import annotations

import dataclasses

from vmail_hardware.checksum import crc16

HEADER = b"\xff\xff\xfd"
STATUS_START = HEADER + b"\x00"  # stuffing keeps these bytes out of every packet's inside
STATUS_INSTRUCTION = 0x55
BROADCAST_ID = 0xFE
_PREFIX = 7  # header, reserved byte, id, two bytes of length
_MAX_LENGTH = 1024


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An instruction packet as a servo hears it, stuffing removed.

    Attributes:
        servo_id: addressee, 0xFE for all.
        code: instruction number.
        parameters: what follows it.
        intact: whether the checksum agreed.
    """

    servo_id: int
    code: int
    parameters: bytes
    intact: bool = True


def status_packet(servo_id: int, error: int, data: bytes | bytearray = b"") -> bytes:
    """A status packet: error byte and data, stuffed and with its checksum."""
    return packet(servo_id, STATUS_INSTRUCTION, bytes((error,)) + data)


def packet(servo_id: int, code: int, parameters: bytes | bytearray) -> bytes:
    """Any packet: stuffed and with its checksum."""
    body = bytes((code,)) + parameters
    if HEADER in body:
        body = body.replace(HEADER, HEADER + b"\xfd")
    whole = HEADER + bytes((0, servo_id)) + (len(body) + 2).to_bytes(2, "little") + body
    return whole + crc16(whole).to_bytes(2, "little")


def fast_status_packet(answers: list[tuple[int, int, bytes]]) -> bytes:
    """The one answer to a fast sync read: (id, error, data) of every servo, each followed by the checksum so far."""
    length = 1 + sum(len(data) + 4 for _, _, data in answers)
    whole = bytearray(HEADER + bytes((0, BROADCAST_ID)) + length.to_bytes(2, "little") + bytes((STATUS_INSTRUCTION,)))
    crc = crc16(whole)
    for servo_id, error, data in answers:
        block = bytes((error, servo_id)) + data
        crc = crc16(block, crc)
        checksum = crc.to_bytes(2, "little")
        crc = crc16(checksum, crc)  # which the next one covers, too
        whole += block + checksum
    return bytes(whole)


class InstructionParser:
    """Cuts a stream of bytes into instruction packets. Noise between packets is skipped."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Instruction]:
        """Take in bytes as they came; return the packets that are now whole, in order."""
        self._buffer += data
        packets = []
        while (found := self._next()) is not None:
            packets.append(found)
        return packets

    def _next(self) -> Instruction | None:
        buffer = self._buffer
        while self._align():
            length = buffer[5] | buffer[6] << 8
            if buffer[3] != 0 or not 3 <= length <= _MAX_LENGTH:
                del buffer[:3]  # not a packet: look for the next header
                continue
            end = _PREFIX + length
            if len(buffer) < end:
                return None
            whole = bytes(buffer[:end])
            del buffer[:end]
            return _instruction(whole)
        return None

    def _align(self) -> bool:
        """Drop everything before a header; True when enough has come to read the length."""
        start = self._buffer.find(HEADER)
        if start < 0:
            del self._buffer[:-2]  # the last two bytes may be the beginning of a header
            return False
        del self._buffer[:start]
        return len(self._buffer) >= _PREFIX


def _instruction(whole: bytes) -> Instruction:
    intact = crc16(whole[:-2]) == whole[-2] | whole[-1] << 8
    body = whole[_PREFIX:-2]
    if HEADER in body:
        body = body.replace(HEADER + b"\xfd", HEADER)
    return Instruction(servo_id=whole[4], code=body[0], parameters=body[1:], intact=intact)
