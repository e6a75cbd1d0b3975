"""What a twin's broken camera shows."""

import numpy as np
import pytest

from vmail_hardware.emulator.fault_script import FaultScript
from vmail_nodes.twin_faults import TWIN_KINDS, BrokenCamera, TwinFaults

PICTURES = [np.full((4, 4, 3), level, np.uint8) for level in (10, 20, 30)]


def shown(script: str) -> list[int | None]:
    """Grey level of what arrives of three pictures, None where nothing does; the fault begins with the second."""
    faults, found = TwinFaults(), []
    eye, script = BrokenCamera(faults), FaultScript(script.split(), TWIN_KINDS)
    for step, picture in enumerate(PICTURES):
        script.apply(faults, float(step))
        seen = eye.see(picture)
        found.append(None if seen is None else int(seen.max()))
    return found


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", [10, 20, 30]),
        ("camera=stopped@1", [10, None, None]),
        ("camera=repeated@1", [10, 10, 10]),
        ("camera=black@1+1", [10, 0, 30]),
        ("camera_lose=1.0@2", [10, 20, None]),
    ],
)
def test_a_broken_camera_shows(script: str, expected: list[int | None]) -> None:
    assert shown(script) == expected


def test_clocks_and_servos_are_told_in_the_same_words() -> None:
    faults = TwinFaults()
    FaultScript(["clock=-2.5", "silent=32"], TWIN_KINDS).apply(faults, 0.0)
    assert (faults.clock_jump_s, faults.silent_ids) == (-2.5, {32})
    with pytest.raises(ValueError, match="a camera can be stopped, repeated, black"):
        FaultScript(["camera=gone"], TWIN_KINDS)
