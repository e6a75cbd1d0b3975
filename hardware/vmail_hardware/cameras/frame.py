"""A picture with its time, and what every camera does."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

TWIN_SCHEME = "twin://"


class CameraError(RuntimeError):
    """Any failure of a camera. The message names the device and the next step."""


class CameraOpenError(CameraError):
    """The camera is not there, not allowed, or not a camera."""


class CameraTimeoutError(CameraError):
    """No new picture came within the time given. The camera stays open: ask again, or hold."""


class CameraLostError(CameraError):
    """The camera went away (unplugged, server ended, end of the file). Close it and open it again."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        stamp_ns: wall clock in nanoseconds (`time.time_ns()`) at which the picture was taken.
        image: (H, W, 3) uint8, RGB. Not to be written to.
    """

    stamp_ns: int
    image: np.ndarray


class Camera(Protocol):
    """A source of pictures. `open_camera` makes one; any of them works as a context manager.

    Attributes:
        has_sensor_noise: True when two pictures of a still scene are never the same bytes (a physical sensor),
            so that identical pictures mean a frozen camera. See `FreezeDetector`.
    """

    has_sensor_noise: bool

    def read(self, timeout: float) -> Frame:
        """Wait for a picture newer than the last one read and return it.

        A reader that is slower than the camera misses pictures; it never gets them late.

        Args:
            timeout: seconds.

        Raises:
            CameraTimeoutError: none came in time.
            CameraLostError: the camera is gone.
        """
        ...

    def close(self) -> None:
        """Release the device. Further calls do nothing."""
        ...
