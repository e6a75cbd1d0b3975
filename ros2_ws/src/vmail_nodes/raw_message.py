"""What a recorder must know of serialised messages that begin with a std_msgs/Header, without decoding the rest.

Source: OMG DDS-XTypes, plain CDR: after four bytes of encapsulation, each number at a multiple of its size.
"""

from __future__ import annotations

import struct

import numpy as np

_FRAME_ID_AT = 12  # behind encapsulation and stamp


def stamp_ns(data: bytes) -> int:
    """Stamp of the header, in nanoseconds since the epoch."""
    seconds, nanoseconds = struct.unpack_from(f"{_order(data)}iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def commander(data: bytes) -> str:
    """The header's frame_id, which names who commands: see `messages.command_message`."""
    end = _end_of_text(data, _FRAME_ID_AT)
    return bytes(data[_FRAME_ID_AT + 4 : end - 1]).decode(errors="replace")  # without the zero that ends it


def pixels(data: bytes) -> np.ndarray:
    """The bytes (n,) uint8 of a sensor_msgs/Image, where they lie: a megabyte is not copied to be looked at.

    Raises:
        ValueError: the message is cut off.
    """
    try:
        encoding_at = _aligned(_end_of_text(data, _FRAME_ID_AT)) + 8  # behind height and width
        step_at = _aligned(_end_of_text(data, encoding_at) + 1)  # behind is_bigendian
        count = _number(data, step_at + 4)
    except struct.error as error:
        raise ValueError(f"a serialised image of {len(data)} bytes is cut off") from error
    return np.frombuffer(data, np.uint8, count, step_at + 8)


def _end_of_text(data: bytes, place: int) -> int:
    return place + 4 + _number(data, place)


def _number(data: bytes, place: int) -> int:
    (number,) = struct.unpack_from(f"{_order(data)}I", data, place)
    return int(number)


def _aligned(place: int) -> int:
    return (place + 3) // 4 * 4


def _order(data: bytes) -> str:
    return "<" if data[1] & 1 else ">"  # second byte of the CDR encapsulation
