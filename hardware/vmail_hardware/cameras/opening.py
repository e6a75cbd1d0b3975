"""One name for every camera."""

from __future__ import annotations

from pathlib import Path

from vmail_hardware.cameras.frame import Camera, CameraOpenError
from vmail_hardware.cameras.opencv_camera import OpenCVCamera
from vmail_hardware.cameras.socket_camera import SocketCamera
from vmail_hardware.cameras.video_file import VideoFileCamera

TWIN_SCHEME = "twin://"


def open_camera(
    source: str,
    *,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    loop: bool = False,
    every_picture: bool = False,
    connect_timeout: float = 2.0,
) -> Camera:
    """Open a camera by what it is.

    Args:
        source: "twin:///run/vmail/camera.sock" (the simulated twin), "/dev/video0" or "0" (a device), or a video file.
        width, height, fps: wanted from a device; ignored by the others.
        loop: repeat a video file.
        every_picture: of a video file miss none, however long a reader takes, and wait for none.
        connect_timeout: seconds to wait for the twin's socket.

    Raises:
        CameraOpenError: what is wrong with it and the next step.
    """
    if source.startswith(TWIN_SCHEME):
        return SocketCamera(source.removeprefix(TWIN_SCHEME), connect_timeout)
    if source.isdecimal():
        return OpenCVCamera(int(source), width, height, fps)
    if source.startswith("/dev/"):
        return OpenCVCamera(source, width, height, fps)
    if Path(source).is_file():
        return VideoFileCamera(source, loop, every_picture)
    raise CameraOpenError(
        f"no camera {source!r}; give twin:///path/of.sock, a device (0 or /dev/video0), or an existing video file"
    )
