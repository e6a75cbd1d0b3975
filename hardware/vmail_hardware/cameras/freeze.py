"""Notice a camera that keeps giving the same picture."""

from __future__ import annotations

import numpy as np

from vmail_hardware.cameras.frame import Camera, Frame

NOISY_IDENTICAL_LIMIT_S = 1.0
_SET_BACK_NS = 1_000_000_000  # a stamp so far behind the last one is of a clock that was set back


class FreezeDetector:
    """Tells when pictures stopped being new, by two signs.

    *The stamp does not advance*: nothing arrives, or the same picture again and again. This is always watched.

    *The bytes do not change although stamps advance*: a grabber that repeats its last buffer. A physical sensor
    never gives the same bytes twice, its noise sees to that; so for such a camera a second of identical pictures
    is a fault (a covered or saturated lens looks the same, and should stop a policy too). A rendered picture of a
    still scene is the same to the last byte, and so are many frames of a video file: for those this sign is off.
    `for_camera` chooses.
    """

    def __init__(self, stamp_limit_s: float = 0.5, identical_limit_s: float | None = None) -> None:
        """Start with no picture; the first call of `frozen` starts the wait for it.

        Args:
            stamp_limit_s: longest time without a newer stamp.
            identical_limit_s: longest time of identical pictures, None to allow them for ever.
        """
        self._stamp_limit = stamp_limit_s
        self._identical_limit = identical_limit_s
        self._stamp_ns: int | None = None
        self._image: np.ndarray | None = None
        self._advanced_at: float | None = None
        self._changed_at: float | None = None

    @classmethod
    def for_camera(cls, camera: Camera, stamp_limit_s: float = 0.5) -> FreezeDetector:
        """A detector with the signs that fit this camera."""
        return cls(stamp_limit_s, NOISY_IDENTICAL_LIMIT_S if camera.has_sensor_noise else None)

    def update(self, frame: Frame, now: float) -> None:
        """Take in a picture that arrived at `now` (seconds of any steady clock)."""
        if self._stamp_ns is not None and self._stamp_ns - _SET_BACK_NS < frame.stamp_ns <= self._stamp_ns:
            return
        self._stamp_ns = frame.stamp_ns
        self._advanced_at = now
        if self._identical_limit is None:
            return
        if self._image is None or not _are_identical(frame.image, self._image):
            self._image = frame.image
            self._changed_at = now

    def frozen(self, now: float) -> str | None:
        """What is wrong at `now`, as a sentence; None while pictures are new."""
        if self._advanced_at is None:
            self._advanced_at = now
        still = now - self._advanced_at
        if still > self._stamp_limit:
            return f"no new picture for {still:.2f} s, the limit is {self._stamp_limit} s"
        if self._identical_limit is None or self._changed_at is None:
            return None
        same = now - self._changed_at
        if same > self._identical_limit:
            return f"pictures are identical for {same:.2f} s, the limit is {self._identical_limit} s"
        return None


def _are_identical(one: np.ndarray, other: np.ndarray) -> bool:
    """Row by row: a sensor's noise tells in the first one."""
    return one.shape == other.shape and all(map(np.array_equal, one, other))
