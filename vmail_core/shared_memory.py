"""Answers with large arrays, such as an episode's pictures, from one process to another through shared memory.

A pipe takes 64 KiB at a time and holds both ends up meanwhile. Here only what is small goes through it; large arrays
lie in memory that has no name and belongs to who holds it: nothing is left of it when one of the processes dies.
"""

from __future__ import annotations

import os
import pickle
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

LARGE = 1 << 16  # bytes from which on an array goes through shared memory


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
    if not large:
        pipe.send((small, []))
        return
    with os.fdopen(os.memfd_create("vmail-answer"), "wb") as memory:
        for content in large:
            memory.write(content)
        memory.flush()
        pipe.send((small, [content.nbytes for content in large]))
        reduction.send_handle(pipe, memory.fileno(), 0)  # a process id comes last; only Windows asks for it


def receive(pipe: Connection) -> Any:
    """What `send` sent, with memory of its own.

    Raises:
        EOFError, OSError: the sender is gone.
    """
    small, sizes = pipe.recv()
    if not sizes:
        return pickle.loads(small)
    large = [bytearray(size) for size in sizes]
    with os.fdopen(reduction.recv_handle(pipe), "rb") as memory:
        memory.seek(0)  # the sender's place, which was at the end
        for content in large:
            memory.readinto(content)
    return pickle.loads(small, buffers=large)
