"""When pictures arrive, by their stamps."""

from __future__ import annotations

import dataclasses
import threading
import time

import cv2
import numpy as np

from vmail_hardware.cameras import Camera, CameraTimeoutError
from vmail_hardware.latency.figures import Figure, LatencyError, figure

READ_S, FIRST_S = 0.2, 10.0
LARGEST_SIDE = 160  # of pictures that are kept, in pixels: motion shows in small ones too
LEAST_PICTURES = 10


@dataclasses.dataclass(frozen=True)
class Seen:
    """A picture that came. Times are of the wall clock, in seconds.

    Attributes:
        stamp: when it was taken, as the camera says.
        arrived: when it was here.
        grey: (H, W) float32, small; None where pictures are not kept.
    """

    stamp: float
    arrived: float
    grey: np.ndarray | None = None


class CameraWatch:
    """Takes every picture of a camera in a thread. Use it as a context manager."""

    def __init__(self, camera: Camera, source: str, keep_pictures: bool = False) -> None:
        """Of an open camera; `source` is for messages."""
        self._camera, self._source, self._keep = camera, source, keep_pictures
        self._seen: list[Seen] = []
        self._size = ""
        self._stop, self._first = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="camera-watch", daemon=True)

    def __enter__(self) -> CameraWatch:
        """Begin, and wait for the first picture."""
        self._thread.start()
        if not self._first.wait(FIRST_S):
            self._end()
            raise LatencyError(f"{self._source} gave no picture in {FIRST_S:.0f} s; `vmail doctor --camera` tells why")
        self.seen()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the thread; the camera stays open."""
        self._end()

    def seen(self) -> list[Seen]:
        """Every picture so far. Raises what ended the thread, as CameraError when the camera went away."""
        if self._error is not None:
            raise self._error
        return list(self._seen)

    @property
    def size(self) -> str:
        """Of the newest picture, like "640x480"; empty before the first one."""
        return self._size

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                frame = self._camera.read(READ_S)
                arrived = time.time()
                self._seen.append(Seen(frame.stamp_ns * 1e-9, arrived, _small(frame.image) if self._keep else None))
                self._size = f"{frame.image.shape[1]}x{frame.image.shape[0]}"
            except CameraTimeoutError:
                continue
            except Exception as error:  # of whatever kind: a thread that ends without a word looks like a slow camera
                self._error = error
                break
            self._first.set()
        self._first.set()


def time_camera(seen: list[Seen], camera: str, made: str, size: str = "") -> dict[str, Figure]:
    """Age at arrival, period and jitter.

    Args:
        seen: its pictures.
        camera: its name.
        made: day and time.
        size: of its pictures, like "640x480".

    Raises:
        LatencyError: too few pictures came.
    """
    if len(seen) < LEAST_PICTURES:
        raise LatencyError(f"{camera} gave {len(seen)} pictures, {LEAST_PICTURES} are needed: give --seconds more")
    stamps = np.array([picture.stamp for picture in seen])
    ages, periods = np.array([picture.arrived for picture in seen]) - stamps, np.diff(stamps)
    found = {
        "camera_age": ages,
        "camera_period": periods,
        "camera_jitter": np.abs(periods - np.median(periods)),
    }
    return {name: figure(seconds, camera, made, size=size) for name, seconds in found.items()}


def _small(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    scale = LARGEST_SIDE / max(grey.shape)
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1.0 else grey
