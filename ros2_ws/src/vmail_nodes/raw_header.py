"""What a recorder must know of serialised messages that begin with a std_msgs/Header, without decoding the rest."""

from __future__ import annotations

import struct


def stamp_ns(data: bytes) -> int:
    """Stamp of the header, in nanoseconds since the epoch."""
    seconds, nanoseconds = struct.unpack_from(f"{_order(data)}iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def commander(data: bytes) -> str:
    """The header's frame_id, which names who commands: see `messages.command_message`."""
    (length,) = struct.unpack_from(f"{_order(data)}I", data, 12)
    return bytes(data[16 : 15 + length]).decode(errors="replace")  # without the zero that ends it


def _order(data: bytes) -> str:
    return "<" if data[1] & 1 else ">"  # second byte of the CDR encapsulation
