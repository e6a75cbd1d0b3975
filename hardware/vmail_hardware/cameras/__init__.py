"""Cameras: a device, a video file, or the simulated twin, behind one `read`."""

from vmail_hardware.cameras.frame import (
    Camera,
    CameraError,
    CameraLostError,
    CameraOpenError,
    CameraTimeoutError,
    Frame,
)
from vmail_hardware.cameras.freeze import FreezeDetector
from vmail_hardware.cameras.opencv_camera import OpenCVCamera
from vmail_hardware.cameras.opening import check_source, open_camera
from vmail_hardware.cameras.socket_camera import FrameServer, SocketCamera
from vmail_hardware.cameras.video_file import VideoFileCamera

__all__ = [
    "Camera",
    "CameraError",
    "CameraLostError",
    "CameraOpenError",
    "CameraTimeoutError",
    "Frame",
    "FrameServer",
    "FreezeDetector",
    "OpenCVCamera",
    "SocketCamera",
    "VideoFileCamera",
    "check_source",
    "open_camera",
]
