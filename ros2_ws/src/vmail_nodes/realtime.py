"""Ask the operating system to run a node's threads before ordinary programs, and at once."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

LATENCY_DEVICE = Path("/dev/cpu_dma_latency")


def request_realtime(priority: int) -> str | None:
    """Put every thread of this process under SCHED_RR; threads made later inherit it.

    Without it a tick waits behind whatever else the machine computes, a training for example. The kernel leaves
    ordinary programs a share (sched_rt_runtime_us), so a node that runs wild does not lock the machine.

    Args:
        priority: 1 to 99; 0 changes nothing.

    Returns:
        Why the system refused, with the way to allow it; None when it did not.
    """
    if priority == 0:
        return None
    done: set[int] = set()
    try:
        # Threads come and go: go on until a look finds none that is new.
        while new := {int(task.name) for task in Path("/proc/self/task").iterdir()} - done:
            for thread in new:
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(priority))
            done |= new
    except OSError as error:
        return (
            f"no realtime priority ({error.strerror}), so other programs can delay this node: allow it with a line "
            "'@dialout - rtprio 99' in /etc/security/limits.d, or `docker run --cap-add=SYS_NICE`"
        )
    return None


def keep_awake() -> BinaryIO:
    """Keep all processors out of their sleep states, until the file that this returns is closed.

    They answer at once then, and with warm caches, and take power for nothing meanwhile. Source: the kernel's manual,
    "PM Quality Of Service Interface".

    Raises:
        OSError: this user may not, or the kernel knows no such device.
    """
    device = LATENCY_DEVICE.open("wb", buffering=0)
    device.write((0).to_bytes(4, "little"))  # microseconds that a processor may take to wake up
    return device
