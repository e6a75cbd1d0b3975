"""Where Protocol 2.0 packets begin and end in a stream of bytes. For both sides of the bus: host and emulated servos.

Source: ROBOTIS e-Manual, "Protocol 2.0".
"""

from __future__ import annotations

from vmail_hardware.checksum import crc16

HEADER = b"\xff\xff\xfd"
STUFFED_HEADER = HEADER + b"\xfd"  # as which a header inside a packet is sent
PREFIX = 7  # bytes before the body: header, reserved byte, id, two bytes of length
CODE_AT = PREFIX  # instruction number; 0x55 in answers
STATUS = 0x55
_LEAST_LENGTH, _MOST_LENGTH = 3, 1024  # of what follows the prefix
LEAST_STATUS_LENGTH = 4  # code, error, checksum
ALERT_BIT = 0x80  # of an error number: register 70 tells more
_START = HEADER + b"\x00"


def frame(servo_id: int, body: bytes) -> bytes:
    """A whole packet around its instruction number and parameters: stuffed, with header, length and checksum."""
    if HEADER in body:
        body = body.replace(HEADER, STUFFED_HEADER)
    length = len(body) + 2
    packet = _START + bytes((servo_id, length & 0xFF, length >> 8)) + body
    return packet + crc16(packet).to_bytes(2, "little")


def take_packet(buffer: bytearray, code: int | None = None) -> bytes | None:
    """Take the first whole packet and all that lies before it out of `buffer`; None while none is whole.

    What only looks like a packet is skipped, and so is any whose instruction number is not `code`, where one is given.
    Checksum and stuffing are not looked at.
    """
    least = LEAST_STATUS_LENGTH if code == STATUS else _LEAST_LENGTH
    while True:
        start = buffer.find(HEADER)
        if start < 0:
            del buffer[:-2]  # the last two bytes may be the beginning of a header
            return None
        del buffer[:start]
        if len(buffer) <= CODE_AT:
            return None
        length = buffer[5] | buffer[6] << 8
        if buffer[3] or not least <= length <= _MOST_LENGTH or (code is not None and buffer[CODE_AT] != code):
            del buffer[: len(HEADER)]
            continue
        end = PREFIX + length
        if len(buffer) < end:
            return None
        packet = bytes(buffer[:end])
        del buffer[:end]
        return packet


def unstuffed(packet: bytes) -> bytes:
    """A whole packet with what stuffing added to its inside taken out; its checksum is of what it was before."""
    body = packet[PREFIX:-2]
    if STUFFED_HEADER not in body:
        return packet
    body = body.replace(STUFFED_HEADER, HEADER)
    return packet[: PREFIX - 2] + (len(body) + 2).to_bytes(2, "little") + body + packet[-2:]
