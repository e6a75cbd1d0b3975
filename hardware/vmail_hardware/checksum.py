"""The checksum of Protocol 2.0 packets: CRC-16 with polynomial 0x8005, most significant bit first, starting at 0.

Source: ROBOTIS e-Manual, "CRC calculation".
"""

from __future__ import annotations

_POLYNOMIAL = 0x8005


def _table() -> tuple[int, ...]:
    """The checksum of every byte."""
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (_POLYNOMIAL if crc & 0x8000 else 0)
        table.append(crc & 0xFFFF)
    return tuple(table)


_TABLE = _table()


def crc16(data: bytes | bytearray, crc: int = 0) -> int:
    """Checksum of `data`, continuing from `crc`."""
    table = _TABLE  # of bytes, not of words: one that large is out of the processor's cache at every packet
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc
