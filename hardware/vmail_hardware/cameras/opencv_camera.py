"""A camera device through OpenCV."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from vmail_hardware.cameras.frame import CameraLostError, CameraOpenError, CameraTimeoutError, Frame

_FAILURES_UNTIL_LOST = 5


class OpenCVCamera:
    """A V4L2 camera. A thread takes every picture, so that `read` gives the newest one and keeps its timeout.

    Stamps are taken when the driver hands a picture over: exposure and transfer come before.
    """

    has_sensor_noise = True

    def __init__(
        self, device: int | str, width: int | None = None, height: int | None = None, fps: float | None = None
    ) -> None:
        """Open a device by index (0) or path ("/dev/video0").

        Args:
            device: which.
            width, height: wanted size in pixels; the camera may give another one.
            fps: wanted rate.

        Raises:
            CameraOpenError: it is missing, not permitted, busy, or not a camera.
        """
        self.device = device if isinstance(device, str) else f"/dev/video{device}"
        check_device(Path(self.device))
        self._capture = _open(self.device, width, height, fps)
        self._news = threading.Condition()
        self._newest: Frame | None = None
        self._lost = False
        self._closing = False
        self._thread = threading.Thread(target=self._take_pictures, name="camera", daemon=True)
        self._thread.start()

    def read(self, timeout: float) -> Frame:
        """Wait for a picture newer than the last one read. See `Camera.read`."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._lost or self._closing, timeout)
            frame, self._newest = self._newest, None
        if self._closing:
            raise CameraLostError(f"{self.device} is closed; open it again")
        if frame is not None:
            return frame
        if self._lost:
            raise CameraLostError(f"{self.device} stopped giving pictures; check its cable and open it again")
        raise CameraTimeoutError(f"no picture from {self.device} within {timeout} s; check its cable and its rate")

    def close(self) -> None:
        """Release the device. Further calls do nothing."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join()
        self._capture.release()

    def __enter__(self) -> OpenCVCamera:
        """The camera itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _take_pictures(self) -> None:
        failures = 0
        while not self._closing and failures < _FAILURES_UNTIL_LOST:
            taken, bgr = self._capture.read()
            stamp_ns = time.time_ns()
            if not taken:
                failures += 1
                continue
            failures = 0
            frame = Frame(stamp_ns, np.ascontiguousarray(bgr[:, :, ::-1]))
            with self._news:
                self._newest = frame
                self._news.notify_all()
        with self._news:
            self._lost = not self._closing
            self._news.notify_all()


def check_device(path: Path) -> None:
    """Raise CameraOpenError where a device is missing or not permitted."""
    if not path.exists():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise CameraOpenError(f"no camera {path}; cameras here: {found}. Plug it in, or name another one")
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraOpenError(f"no permission for {path}; run `sudo usermod -aG video $USER`, log out and log in again")


def _open(device: str, width: int | None, height: int | None, fps: float | None) -> Any:
    import cv2  # here, so that other cameras need no OpenCV

    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise CameraOpenError(
            f"{device} is there but gives no pictures: another program may have it (`fuser {device}`), or it is a "
            f"camera's second device (try another of {_siblings(device)})"
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    for key, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, width),
        (cv2.CAP_PROP_FRAME_HEIGHT, height),
        (cv2.CAP_PROP_FPS, fps),
    ):
        if value is not None:
            capture.set(key, value)
    return capture


def _siblings(device: str) -> str:
    stem = re.sub(r"\d+$", "", device)
    return ", ".join(sorted(str(p) for p in Path(stem).parent.glob(Path(stem).name + "*")))
