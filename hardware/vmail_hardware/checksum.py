"""The checksum of Protocol 2.0 packets: CRC-16 with polynomial 0x8005, most significant bit first, starting at 0.

Source: ROBOTIS e-Manual, "CRC calculation". Catalogues of checksums list it as CRC-16/UMTS.
"""

from __future__ import annotations

from fastcrc.crc16 import umts as crc16  # (data, checksum so far = 0) to the checksum of both

__all__ = ["crc16"]
