"""What can be broken in a twin beyond its servos: its camera, and the clock that stamps pictures."""

from __future__ import annotations

import dataclasses
import random

import numpy as np

from vmail_hardware.emulator import Faults
from vmail_hardware.emulator.fault_script import KINDS, Kind, finite, share

CAMERA = ("stopped", "repeated", "black")


@dataclasses.dataclass
class TwinFaults(Faults):
    """Faults of servos, and beside them:

    Attributes:
        camera: "none"; "stopped": no pictures; "repeated": one picture with new stamps; "black": nothing to be seen.
        camera_lose_share: share of pictures that never arrive, drawn at random.
        clock_jump_s: pictures and states are stamped so much later than they are taken; earlier below 0.
    """

    camera: str = "none"
    camera_lose_share: float = 0.0
    clock_jump_s: float = 0.0


def _camera(text: str) -> str:
    if text not in CAMERA:
        raise ValueError(f"a camera can be {', '.join(CAMERA)}")
    return text


TWIN_KINDS: dict[str, Kind] = KINDS | {
    "camera": Kind("camera", _camera, "stopped"),
    "camera_lose": Kind("camera_lose_share", share, "0.5"),
    "clock": Kind("clock_jump_s", finite, "2.5"),
}


class BrokenCamera:
    """What a camera with these faults shows instead of the picture that it takes."""

    def __init__(self, faults: TwinFaults) -> None:
        """Faults may change at any time."""
        self._faults, self._random = faults, random.Random(0)
        self._last: np.ndarray | None = None

    def see(self, image: np.ndarray) -> np.ndarray | None:
        """The picture (H, W, 3) that arrives when `image` is taken; None if none does."""
        faults = self._faults
        if faults.camera != "repeated" or self._last is None:
            self._last = image
        if faults.camera == "stopped" or self._random.random() < faults.camera_lose_share:
            return None
        return np.zeros_like(image) if faults.camera == "black" else self._last
