"""A picture by which people judge a calibration: a view as it was, and undistorted."""

from __future__ import annotations

import numpy as np

from vmail_hardware.cameras.board import Sighting
from vmail_hardware.cameras.intrinsics import Intrinsics

FOUND, STRAIGHT = (40, 160, 255), (80, 200, 60)  # blue, green, red


def calibration_picture(intrinsics: Intrinsics, grey: np.ndarray, sighting: Sighting) -> bytes:
    """A PNG: left the view with the corners that were found, right all of it undistorted, with lines along rows.

    Where the calibration is right the lines pass through all corners of their row.

    Args:
        intrinsics: of the camera.
        grey: a view (H, W) uint8.
        sighting: the board in it.
    """
    import cv2

    matrix, distortion = intrinsics.matrix, intrinsics.distortion
    new, _ = cv2.getOptimalNewCameraMatrix(matrix, distortion, grey.shape[::-1], 1.0)
    before = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    after = cv2.undistort(before, matrix, distortion, newCameraMatrix=new)
    corners = cv2.undistortPoints(sighting.in_picture.reshape(-1, 1, 2), matrix, distortion, P=new).reshape(-1, 2)
    radius = max(2, grey.shape[1] // 200)
    for level in np.unique(sighting.on_board[:, 1]):
        row = corners[sighting.on_board[:, 1] == level]
        if len(row) > 1:
            cv2.line(after, _pixel(row[0]), _pixel(row[-1]), STRAIGHT, 1, cv2.LINE_AA)
    for picture, points in ((before, sighting.in_picture), (after, corners)):
        for point in points:
            cv2.circle(picture, _pixel(point), radius, FOUND, 1, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", np.hstack([before, after]))[1].tobytes())


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
