"""A camera's calibration as it is kept: the YAML that `vmail calibrate-camera` and ROS's camera_calibration write."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import yaml


@dataclasses.dataclass(frozen=True)
class CalibrationFile:
    """What others need of a calibration.

    Attributes:
        width, height: pixels.
        model: of the distortion, like "plumb_bob".
        distortion: as many numbers as the model has.
        matrix, rectification: K and R, 9 numbers, row by row.
        projection: P, 12 numbers.
        vmail: what only `vmail calibrate-camera` writes (`made`, `board`, `views`, `rms_px`); empty for others'.
    """

    width: int
    height: int
    model: str
    distortion: list[float]
    matrix: list[float]
    rectification: list[float]
    projection: list[float]
    vmail: dict[str, Any]


def read_calibration(path: Path) -> CalibrationFile:
    """Read it.

    Raises:
        FileNotFoundError, ValueError: the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no camera calibration at {path}; `vmail calibrate-camera` makes one, camera_info_file:=none does without"
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        width, height = int(raw["image_width"]), int(raw["image_height"])
        if min(width, height) < 1:
            raise ValueError(f"it is of pictures of {width}x{height}")
        return CalibrationFile(
            width=width,
            height=height,
            model=str(raw["distortion_model"]),
            distortion=_numbers(raw, "distortion_coefficients"),
            matrix=_numbers(raw, "camera_matrix", 9),
            rectification=_numbers(raw, "rectification_matrix", 9),
            projection=_numbers(raw, "projection_matrix", 12),
            vmail=dict(raw.get("vmail") or {}),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is no camera calibration as camera_calibration writes it: {error!r}") from error


def _numbers(raw: dict[str, Any], key: str, count: int | None = None) -> list[float]:
    numbers = [float(value) for value in raw[key]["data"]]
    if count not in (None, len(numbers)):
        raise ValueError(f"{key} has {len(numbers)} numbers instead of {count}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{key} has numbers that are not finite")
    return numbers
