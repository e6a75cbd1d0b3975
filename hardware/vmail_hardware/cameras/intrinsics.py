"""The inner geometry of a camera: focal lengths, centre and distortion, found from views of a board and kept as YAML.

The file is what ROS's camera_calibration writes, and more under `vmail`, which others pass over.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vmail_hardware.cameras.board import Board
from vmail_hardware.cameras.views import View, Views, tilt_of
from vmail_hardware.user_files import keep_file

LEAST_VIEWS = 10
LEAST_COVERED = 0.55  # share of the picture's cells
LEAST_TILT_RAD = np.deg2rad(15.0)  # from one side to the other, about either axis
MOST_UNCERTAIN = 0.01  # standard deviation of the focal length, as a share of it
MOST_RMS_PX = 1.0
# A view this many times worse than the median, and by pixels, is left out, up to this share of the views.
ODD_VIEW, ODD_VIEW_PX, LEFT_OUT_SHARE = 3.0, 0.5, 0.2


class CameraCalibrationError(ValueError):
    """A camera's calibration cannot be made or used; the message names the camera or file and the next step."""


@dataclasses.dataclass(frozen=True)
class Intrinsics:
    """Of one camera at one size of its pictures.

    Attributes:
        camera: its name.
        made: day and time, ISO 8601.
        width, height: pixels.
        matrix: (3, 3) K, pixels.
        distortion: (5,) k1 k2 p1 p2 k3 of the model "plumb_bob".
        projection: (3, 4) P of the undistorted picture, cropped to what the camera sees.
        deviation: (4,) standard deviations of fx, fy, cx, cy in pixels.
        rms_px: root mean square distance between corners and where the calibration puts them.
        view_errors_px: the same for each view.
        left_out: numbers of the views that were left out, being much worse than the others.
        board: what was shown.
    """

    camera: str
    made: str
    width: int
    height: int
    matrix: np.ndarray
    distortion: np.ndarray
    projection: np.ndarray
    deviation: np.ndarray
    rms_px: float
    view_errors_px: tuple[float, ...]
    left_out: tuple[int, ...]
    board: str

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all; one that was there is kept beside it with its date. Returns the path."""
        path = Path(path)
        keep_file(path, self.text(), self.made)
        return path

    def text(self) -> str:
        """The content of the file."""
        plain: dict[str, Any] = {
            "image_width": self.width,
            "image_height": self.height,
            "camera_name": self.camera,
            "camera_matrix": _plain(self.matrix),
            "distortion_model": "plumb_bob",
            "distortion_coefficients": _plain(self.distortion.reshape(1, -1)),
            "rectification_matrix": _plain(np.eye(3)),
            "projection_matrix": _plain(self.projection),
            "vmail": {
                "made": self.made,
                "board": self.board,
                "views": len(self.view_errors_px),
                "rms_px": round(self.rms_px, 4),
            },
        }
        return yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120)


def calibrate_camera(
    views: Views, board: Board, camera: str, most_rms_px: float = MOST_RMS_PX, radial: int = 2
) -> Intrinsics:
    """Intrinsics from views.

    Args:
        views: of the board.
        board: what was shown.
        camera: name.
        most_rms_px: a worse calibration is refused.
        radial: how many radial coefficients to find, 2 or 3; the third is for lenses that bend a lot.

    Raises:
        CameraCalibrationError: there are too few views, or too few that tell something, or they do not fit together.
    """
    _refuse_few(views, board)
    sane, left_out = list(views.kept), tuple[int, ...]()
    solved = _solve(sane, views, radial)
    errors = solved.view_errors
    odd = np.flatnonzero(errors > max(ODD_VIEW * np.median(errors), ODD_VIEW_PX))
    if 0 < len(odd) <= LEFT_OUT_SHARE * len(sane):
        left_out = tuple(int(number) for number in odd)
        sane = [view for number, view in enumerate(views.kept) if number not in left_out]
        solved = _solve(sane, views, radial)
    if solved.rms > most_rms_px:
        raise CameraCalibrationError(
            f"the corners lie {solved.rms:.2f} px (RMS) off where a lens could put them, {most_rms_px:g} is allowed: "
            f"make sure that the board is flat and stiff and that it is a {board}, keep the focus fixed"
            f"{'' if radial > 2 else ', try --radial 3 for a wide-angle lens'}, and calibrate again"
        )
    _refuse_flat(solved)
    import cv2

    size = (views.width, views.height)
    undistorted, _ = cv2.getOptimalNewCameraMatrix(solved.matrix, solved.distortion, size, 0.0)
    return Intrinsics(
        camera=camera,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        width=views.width,
        height=views.height,
        matrix=solved.matrix,
        distortion=solved.distortion,
        projection=np.hstack([undistorted, np.zeros((3, 1))]),
        deviation=solved.deviation,
        rms_px=solved.rms,
        view_errors_px=tuple(solved.view_errors.tolist()),
        left_out=left_out,
        board=str(board),
    )


def _refuse_few(views: Views, board: Board) -> None:
    if not views.kept and any(views.verdicts.values()):
        raise CameraCalibrationError(
            f"no view of the {board} could be kept, in most pictures because: {views.complaint()}; calibrate again"
        )
    if len(views.kept) < LEAST_VIEWS:
        raise CameraCalibrationError(
            f"{len(views.kept)} views of the {board} that are sharp and differ, {LEAST_VIEWS} are needed: calibrate "
            f"again and {views.advice()}"
        )
    covered = float(views.covered.mean())
    if covered < LEAST_COVERED:
        raise CameraCalibrationError(
            f"the board was seen in {100.0 * covered:.0f} % of the picture, {100.0 * LEAST_COVERED:.0f} % are needed, "
            f"since lenses bend most at the edges: calibrate again and {views.advice()}"
        )


@dataclasses.dataclass(frozen=True)
class _Solved:
    """What OpenCV found; `tilts` (views, 2) are the board's, in rad, about the camera's upright and level axis."""

    rms: float
    matrix: np.ndarray
    distortion: np.ndarray
    deviation: np.ndarray
    view_errors: np.ndarray
    tilts: np.ndarray


def _refuse_flat(solved: _Solved) -> None:
    """Boards that all face the camera look the same to any focal length, and the fit does not notice."""
    tilt = float(np.ptp(solved.tilts, axis=0).min())
    uncertain = float((solved.deviation[:2] / np.diag(solved.matrix)[:2]).max())
    if tilt < LEAST_TILT_RAD or uncertain > MOST_UNCERTAIN:
        raise CameraCalibrationError(
            f"the views are too flat: the board was tilted by {np.rad2deg(tilt):.0f} degrees from one side to the "
            f"other, and the focal length is known to {100.0 * uncertain:.1f} %. Calibrate again and tilt the board by "
            "30 degrees and more to all sides"
        )


def _solve(kept: Sequence[View], views: Views, radial: int) -> _Solved:
    import cv2

    flags = 0 if radial > 2 else cv2.CALIB_FIX_K3
    rms, matrix, distortion, turns, _, deviation, _, errors = cv2.calibrateCameraExtended(
        [view.sighting.on_board for view in kept],
        [view.sighting.in_picture for view in kept],
        (views.width, views.height),
        np.eye(3),  # where to begin is found first, from the views
        np.zeros(5),
        flags=flags,
    )
    tilts = np.array([tilt_of(turn) for turn in turns])
    return _Solved(float(rms), matrix, distortion.ravel()[:5], deviation.ravel()[:4], errors.ravel(), tilts)


def _plain(matrix: np.ndarray) -> dict[str, Any]:
    return {
        "rows": matrix.shape[0],
        "cols": matrix.shape[1],
        "data": [round(float(value), 8) for value in matrix.ravel()],
    }
