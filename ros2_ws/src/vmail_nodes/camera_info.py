"""Camera calibration from the YAML file that `vmail calibrate-camera` and ROS's camera_calibration write."""

from __future__ import annotations

from pathlib import Path

import yaml
from sensor_msgs.msg import CameraInfo


def load_camera_info(path: Path | None) -> CameraInfo:
    """The calibration in a file; without one, a CameraInfo of zeros, which ROS reads as uncalibrated.

    Raises:
        FileNotFoundError, ValueError: the message names the file.
    """
    if path is None:
        return CameraInfo()
    if not path.is_file():
        raise FileNotFoundError(
            f"no camera calibration at {path}; `vmail calibrate-camera` makes one, camera_info_file:=none does without"
        )
    try:
        raw = yaml.safe_load(path.read_text())
        return CameraInfo(
            width=int(raw["image_width"]),
            height=int(raw["image_height"]),
            distortion_model=str(raw["distortion_model"]),
            d=_numbers(raw, "distortion_coefficients"),
            k=_numbers(raw, "camera_matrix"),
            r=_numbers(raw, "rectification_matrix"),
            p=_numbers(raw, "projection_matrix"),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"{path} is no camera calibration as camera_calibration writes it: {error!r}") from error


def _numbers(raw: dict, key: str) -> list[float]:
    return [float(value) for value in raw[key]["data"]]
