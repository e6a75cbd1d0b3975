"""How often the machine holds up a program that wants to run: printed beside latencies, for no code makes up for it."""

from __future__ import annotations

import multiprocessing
import os
import time

SECONDS = 10.0
LONG_S = 5e-3


def stalls() -> str:
    """One line on the times that a busy loop on each core, with nothing beside it, did not get the processor."""
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        found = [gap for gaps in pool.map(_watch, [SECONDS] * cores) for gap in gaps]
    long = sum(gap > LONG_S for gap in found)
    return (
        f"the machine itself, idle: a busy loop on each of {cores} cores was held up for over {LONG_S * 1e3:.0f} ms"
        f" {long} times in {SECONDS:.0f} s, at most {max(found, default=0.0) * 1e3:.1f} ms"
    )


def _watch(seconds: float) -> list[float]:
    """Gaps in s of more than half a millisecond between two looks at the clock."""
    gaps, last = [], time.perf_counter()
    end = last + seconds
    while last < end:
        now = time.perf_counter()
        if now - last > 5e-4:
            gaps.append(now - last)
        last = now
    return gaps


if __name__ == "__main__":
    print(stalls())
