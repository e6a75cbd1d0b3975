"""Camera calibration from the YAML file that `vmail calibrate-camera` and ROS's camera_calibration write."""

from __future__ import annotations

from pathlib import Path

from sensor_msgs.msg import CameraInfo

from vmail_hardware.cameras.calibration_file import read_calibration


def load_camera_info(path: Path | None) -> CameraInfo:
    """The calibration in a file; without one, a CameraInfo of zeros, which ROS reads as uncalibrated.

    Raises:
        FileNotFoundError, ValueError: the message names the file.
    """
    if path is None:
        return CameraInfo()
    found = read_calibration(path)
    return CameraInfo(
        width=found.width,
        height=found.height,
        distortion_model=found.model,
        d=found.distortion,
        k=found.matrix,
        r=found.rectification,
        p=found.projection,
    )
