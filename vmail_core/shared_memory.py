"""Answers with large arrays, such as an episode's pictures, from one process to another through shared memory.

A pipe takes 64 KiB at a time and holds both ends up meanwhile. Here only what is small goes through it; large arrays
lie in memory that has no name and belongs to who holds it: nothing is left of it when one of the processes dies.
"""

from __future__ import annotations

import mmap
import os
import pickle
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

LARGE = 1 << 16  # bytes from which on an array goes through shared memory
_ALIGNMENT = 64  # of each array, as numpy's own are


def send(pipe: Connection, answer: Any) -> None:
    """Send an answer, of anything that can be pickled, to the process at the far end of a two-way pipe.

    Raises:
        OSError: there is no memory, or the receiver is gone.
    """
    large: list[memoryview] = []

    def stays(buffer: pickle.PickleBuffer) -> bool:
        """Whether an array is small enough for the pipe."""
        content = buffer.raw()
        if content.nbytes >= LARGE:
            large.append(content)
        return content.nbytes < LARGE

    small = pickle.dumps(answer, protocol=5, buffer_callback=stays)
    places, size = _places([content.nbytes for content in large])
    if not large:
        pipe.send((small, places, size))
        return
    descriptor = os.memfd_create("vmail-answer")
    try:
        os.ftruncate(descriptor, size)
        with mmap.mmap(descriptor, size) as memory:
            for (start, end), content in zip(places, large, strict=True):
                memory[start:end] = content
        pipe.send((small, places, size))
        reduction.send_handle(pipe, descriptor, 0)  # whose number it wants is at the far end; only Windows asks
    finally:
        os.close(descriptor)


def receive(pipe: Connection) -> Any:
    """What `send` sent, with memory of its own.

    Raises:
        EOFError, OSError: the sender is gone.
    """
    small, places, size = pipe.recv()
    if not places:
        return pickle.loads(small)
    descriptor = reduction.recv_handle(pipe)
    try:
        # Copied: a mapping keeps a descriptor open, and a process has fewer of those than replay has episodes.
        with mmap.mmap(descriptor, size) as memory, memoryview(memory) as view:
            large = [bytearray(view[start:end]) for start, end in places]
    finally:
        os.close(descriptor)
    return pickle.loads(small, buffers=large)


def _places(sizes: list[int]) -> tuple[list[tuple[int, int]], int]:
    """Where arrays of so many bytes lie, (start, end) each, and how much memory they take in all."""
    places, start = [], 0
    for size in sizes:
        places.append((start, start + size))
        start += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places, start
