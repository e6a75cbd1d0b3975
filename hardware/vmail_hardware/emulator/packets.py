"""Protocol 2.0 packets as servos hear and send them.

Source: ROBOTIS e-Manual, "Protocol 2.0". The host's side is the SDK.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from vmail_hardware.checksum import crc16
from vmail_hardware.framing import HEADER, PREFIX, STATUS, frame, take_packet, unstuffed

STATUS_START = HEADER + b"\x00"  # stuffing keeps these bytes out of every packet's inside
BROADCAST_ID = 0xFE
_KNOWN = 1024  # packets that are taken apart once: a host asks the same again and again, and waits meanwhile


class Instruction(NamedTuple):
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
    return packet(servo_id, STATUS, bytes((error,)) + data)


def packet(servo_id: int, code: int, parameters: bytes | bytearray) -> bytes:
    """Any packet: stuffed and with its checksum."""
    return frame(servo_id, bytes((code,)) + parameters)


def fast_status_packet(told: list[bytes]) -> bytes:
    """The one answer to a fast sync read: error, id and data of every servo, each followed by the checksum so far."""
    length = 1 + sum(map(len, told)) + 2 * len(told)
    part, crc = HEADER + bytes((0, BROADCAST_ID, length & 0xFF, length >> 8, STATUS)), 0
    parts = []
    for one in told:
        part += one
        parts.append(part)
        crc = crc16(part, crc)
        part = crc.to_bytes(2, "little")  # counts for the next one's
    return b"".join(parts) + part


class InstructionParser:
    """Cuts a stream of bytes into instruction packets. Noise between packets is skipped."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Instruction]:
        """Take in bytes as they came; return the packets that are now whole, in order."""
        self._buffer += data
        packets = []
        while (whole := take_packet(self._buffer)) is not None:
            packets.append(_instruction(whole))
        return packets


@functools.lru_cache(_KNOWN)
def _instruction(whole: bytes) -> Instruction:
    intact = crc16(whole[:-2]) == whole[-2] | whole[-1] << 8
    body = unstuffed(whole)[PREFIX:-2]
    return Instruction(whole[4], body[0], body[1:], intact)
