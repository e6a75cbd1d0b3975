"""One name for every camera."""

from __future__ import annotations

import os
from pathlib import Path

from vmail_hardware.cameras.frame import TWIN_SCHEME, Camera, CameraOpenError
from vmail_hardware.cameras.identity import is_device
from vmail_hardware.cameras.opencv_camera import OpenCVCamera, check_device
from vmail_hardware.cameras.socket_camera import SocketCamera
from vmail_hardware.cameras.video_file import VideoFileCamera

VIDEO_DEVICES = 81  # major number of Linux for their device files


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
    _check_kind(source)
    if source.startswith(TWIN_SCHEME):
        return SocketCamera(source.removeprefix(TWIN_SCHEME), connect_timeout)
    if is_device(source):
        return OpenCVCamera(int(source) if source.isdecimal() else source, width, height, fps)
    return VideoFileCamera(source, loop, every_picture)


def check_source(source: str, may_appear: bool = False) -> None:
    """Look whether a camera could be opened, as far as that can be told without opening a device.

    Args:
        source: as for `open_camera`.
        may_appear: a device or socket that is not there yet is no error.

    Raises:
        CameraOpenError: what is wrong with it and the next step.
    """
    _check_kind(source)
    if source.startswith(TWIN_SCHEME):
        socket = Path(source.removeprefix(TWIN_SCHEME))
        if not may_appear and not socket.is_socket():
            raise CameraOpenError(f"no twin camera at {socket}; start the twin first (sim:=true starts it)")
    elif is_device(source):
        device = Path(f"/dev/video{source}" if source.isdecimal() else source)
        if device.exists() or not may_appear:
            check_device(device)
            if os.major(device.stat().st_rdev) != VIDEO_DEVICES:
                raise CameraOpenError(f"{device} is no camera; `ls /dev/video*` shows those that are connected")
    else:
        VideoFileCamera(source).close()


def _check_kind(source: str) -> None:
    if not (source.startswith(TWIN_SCHEME) or is_device(source) or Path(source).is_file()):
        raise CameraOpenError(
            f"no camera {source!r}; give twin:///path/of.sock, a device (0 or /dev/video0), or an existing video file"
        )
