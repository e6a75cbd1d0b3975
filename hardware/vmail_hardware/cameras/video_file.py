"""A video file played as if it were a live camera."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from vmail_hardware.cameras.frame import CameraLostError, CameraOpenError, CameraTimeoutError, Frame


class VideoFileCamera:
    """Plays a file at its own rate. Like a live camera it does not wait: a slow reader misses pictures.

    A picture's stamp is the moment at which it was due. With `every_picture` the file's rate goes into stamps alone.
    """

    has_sensor_noise = False

    def __init__(self, path: str | Path, loop: bool = False, every_picture: bool = False) -> None:
        """Open a file. Its clock starts with the first `read`.

        Args:
            path: any format that OpenCV reads.
            loop: begin again at the end instead of being lost.
            every_picture: miss none, however long a reader takes, and wait for none.

        Raises:
            CameraOpenError: no such file, or no video in it.
        """
        self.path = Path(path)
        self._loop, self._every_picture = loop, every_picture
        self._capture, self._fps = self._open()
        self._start: float | None = None
        self._wall_ns = 0
        self._next = self._opened_at = 0  # number of the next picture in playing order, counted on over loops
        self._closed = False

    def read(self, timeout: float) -> Frame:
        """Wait for the next picture that is due. See `Camera.read`."""
        if self._closed:
            raise CameraLostError(f"video {self.path} is closed; open it again")
        now = time.monotonic()
        if self._start is None:
            self._start, self._wall_ns = now, time.time_ns()
        current = int((now - self._start) * self._fps)  # pictures before this one were missed
        wanted = self._next if self._every_picture else max(self._next, current)
        wait = 0.0 if self._every_picture else self._start + wanted / self._fps - now
        if wait > timeout:
            time.sleep(timeout)
            raise CameraTimeoutError(f"the next picture of {self.path} is due later than {timeout} s from now")
        if wait > 0.0:
            time.sleep(wait)
        image = self._decode(wanted)
        return Frame(self._wall_ns + round(wanted / self._fps * 1e9), image)

    def close(self) -> None:
        """Close the file. Further calls do nothing."""
        self._closed = True
        self._capture.release()

    def __enter__(self) -> VideoFileCamera:
        """The camera itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _decode(self, wanted: int) -> np.ndarray:
        """Skip to picture number `wanted` and return it, (H, W, 3) uint8 RGB."""
        while True:
            if not self._capture.grab():
                self._rewind()
                continue
            self._next += 1
            if self._next > wanted:
                break
        _, bgr = self._capture.retrieve()
        return np.ascontiguousarray(bgr[:, :, ::-1])

    def _rewind(self) -> None:
        if self._next == self._opened_at:  # as often as it is opened
            raise CameraLostError(
                f"{self.path} holds no picture that can be decoded; copy it again, or convert it with ffmpeg to .mp4"
            )
        if not self._loop:
            raise CameraLostError(f"{self.path} ended after {self._next} pictures; open it with loop to repeat it")
        self._capture.release()
        self._capture, _ = self._open()
        self._opened_at = self._next

    def _open(self) -> tuple[Any, float]:
        import cv2  # here, so that other cameras need no OpenCV

        if not self.path.is_file():
            raise CameraOpenError(f"no video file {self.path}; check the path")
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_ANY)
        fps = capture.get(cv2.CAP_PROP_FPS)
        if not capture.isOpened() or not fps > 0.0 or capture.get(cv2.CAP_PROP_FRAME_COUNT) < 1:
            raise CameraOpenError(f"{self.path} holds no video that OpenCV can read; convert it with ffmpeg to .mp4")
        return capture, float(fps)
