"""Memory of a process that learns for hours."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
LARGEST_BLOCK = 1 << 30
PAD = 64 << 20


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for the next update takes the same blocks again.

    By default glibc gives blocks of some megabytes back at once, and gets them again page by page, zeroed: about a
    tenth of an update's time on a processor. Says whether the C library knows the setting (glibc does).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {MMAP_THRESHOLD: LARGEST_BLOCK, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: PAD}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
