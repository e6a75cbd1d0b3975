"""Ask the operating system to run a node's threads before ordinary programs, at once, and to leave it its memory."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import BinaryIO

LATENCY_DEVICE = Path("/dev/cpu_dma_latency")
IDLE_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_LARGEST_BLOCK = 1 << 25  # bytes: more than a picture of 8 megapixels, and the most that glibc takes here
_KEPT = 1 << 30  # bytes of freed memory that a process keeps
_GROWTH = 1 << 24  # bytes


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


def keep_memory() -> None:
    """Let this process keep memory that it frees, and use it again, instead of giving it back to the system.

    A picture is larger than what glibc keeps by itself: each new one would be made of fresh pages, one fault in the
    kernel for every 4 KiB, which takes longer than all else that is done with it. Source: mallopt(3).

    Raises:
        OSError: the C library refuses.
    """
    mallopt = ctypes.CDLL(None).mallopt
    choices = ((_M_MMAP_THRESHOLD, _LARGEST_BLOCK), (_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _GROWTH))
    for name, value in choices:
        if mallopt(name, value) != 1:
            raise OSError(f"mallopt({name}, {value}) is refused: is this glibc?")


def keep_awake(device: Path = LATENCY_DEVICE, idle_driver: Path = IDLE_DRIVER) -> BinaryIO:
    """Keep all processors out of their sleep states, until the file that this returns is closed.

    They answer at once then, and with warm caches, and take power for nothing meanwhile. Source: the kernel's manual,
    "PM Quality Of Service Interface" and "CPU Idle Time Management".

    Args:
        device: where the kernel is asked for it.
        idle_driver: where it names what puts processors to sleep.

    Raises:
        OSError: this user may not, or the kernel knows no such device, or no sleep states: in a virtual machine, the
            host decides.
    """
    if not knows_sleep_states(idle_driver):
        raise OSError(errno.EOPNOTSUPP, "the kernel knows no sleep states, as in a virtual machine: its host decides")
    held = device.open("wb", buffering=0)
    held.write((0).to_bytes(4, "little"))  # microseconds that a processor may take to wake up
    return held


def knows_sleep_states(idle_driver: Path = IDLE_DRIVER) -> bool:
    """Whether the kernel decides how deep processors sleep, and so can be told not to let them."""
    return idle_driver.is_file() and idle_driver.read_text().strip() != "none"
