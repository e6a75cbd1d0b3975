"""What a process holds and has used, from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """Of one process: resident memory in MiB, open file descriptors, threads.

    Resident memory counts shared libraries in full: unlike a share of them, it does not change when others end.
    """

    mib: float
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """Now. Raises OSError (ProcessLookupError, FileNotFoundError): it has ended."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Usage(
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(process / "fd")), len(os.listdir(process / "task"))
    )


def cpu_seconds(pid: int) -> float:
    """Processor time that it has used so far, of all its threads, in user and in system code. Raises OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
