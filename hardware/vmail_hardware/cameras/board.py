"""A calibration board, and where its corners are in a picture."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

CHARUCO_MODULES, MARKER_MODULES = 8, 6  # sides of a square and of the marker in it, in cells of the marker
LEAST_CORNERS, LARGEST_SQUARE_M = 3, 0.5
LEAST_TOLD = (4, 4)  # less may be a part of something else
LEAST_SEEN = 0.25  # share of a ChArUco board's corners that makes a view
SEARCH_WIDTH = 800  # pictures that are wider are searched in a smaller copy first
DICTIONARIES = (50, 100, 250, 1000)  # of 4 x 4 markers


class BoardError(ValueError):
    """A board that cannot be used; the message says how to write one."""


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A board as it was found in a picture: M of its corners.

    Attributes:
        ids: (M,) numbers of the corners, row by row.
        on_board: (M, 3) float32, metres, in the plane z = 0.
        in_picture: (M, 2) float32, pixels.
    """

    ids: np.ndarray
    on_board: np.ndarray
    in_picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Board:
    """A chessboard, or a ChArUco board, whose white squares hold markers: of that a part is enough to be seen.

    Attributes:
        columns, rows: inner corners, as ROS counts them: a board of 10 x 7 squares has 9 x 6.
        square_m: side of a square in metres.
        charuco: whether it has markers.
    """

    columns: int
    rows: int
    square_m: float
    charuco: bool = False

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < LEAST_CORNERS:
            raise BoardError(f"board {self.columns}x{self.rows}: at least {LEAST_CORNERS} inner corners on either side")
        if not 0.0 < self.square_m <= LARGEST_SQUARE_M:
            raise BoardError(f"a square of {self.square_m:g} m: give its side in metres, like 0.024")
        if self.charuco and self._squares > 2 * DICTIONARIES[-1]:
            raise BoardError(f"board {self.columns}x{self.rows} needs more than {DICTIONARIES[-1]} markers")

    def __str__(self) -> str:
        kind = "ChArUco board" if self.charuco else "chessboard"
        return f"{kind} of {self.columns}x{self.rows} inner corners, squares of {1e3 * self.square_m:g} mm"

    @property
    def _squares(self) -> int:
        return (self.columns + 1) * (self.rows + 1)

    @property
    def modules(self) -> int:
        """Cells of `bitmap` along the side of a square."""
        return CHARUCO_MODULES if self.charuco else 1

    def find(self, grey: np.ndarray) -> Sighting | None:
        """The board in a picture (H, W) uint8; None where it is not seen, or too little of it."""
        return self._find_charuco(grey) if self.charuco else self._find_chessboard(grey)

    def bitmap(self) -> np.ndarray:
        """The board as cells, (rows, columns) bool, True for black."""
        if self.charuco:
            size = ((self.columns + 1) * CHARUCO_MODULES, (self.rows + 1) * CHARUCO_MODULES)
            return self._charuco().generateImage(size, marginSize=0, borderBits=1) < 128
        return np.add.outer(np.arange(self.rows + 1), np.arange(self.columns + 1)) % 2 == 0

    def _find_chessboard(self, grey: np.ndarray) -> Sighting | None:
        import cv2

        scale = min(1.0, SEARCH_WIDTH / grey.shape[1])
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1.0 else grey
        found, corners = cv2.findChessboardCornersSB(small, (self.columns, self.rows))
        if not found:
            return None
        corners = corners.reshape(-1, 2)
        if scale < 1.0:
            corners = (corners + 0.5) / scale - 0.5  # a pixel's centre has whole numbers
            spacing = np.linalg.norm(np.diff(corners.reshape(self.rows, self.columns, 2), axis=1), axis=-1).min()
            half = int(np.clip(spacing / 3.0, 2, 11))
            precise = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
            corners = cv2.cornerSubPix(grey, corners.astype(np.float32), (half, half), (-1, -1), precise)
        across, down = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        on_board = self.square_m * np.stack([across.ravel(), down.ravel(), np.zeros(across.size)], axis=1)
        ids = np.arange(self.columns * self.rows)
        return Sighting(ids, on_board.astype(np.float32), corners.astype(np.float32))

    def _find_charuco(self, grey: np.ndarray) -> Sighting | None:
        import cv2

        board = self._charuco()
        corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(grey)
        if ids is None or len(ids) < max(6, LEAST_SEEN * self.columns * self.rows):
            return None
        ids = np.asarray(ids).ravel()
        if board.checkCharucoCornersCollinear(ids.reshape(-1, 1)):
            return None
        on_board = np.asarray(board.getChessboardCorners(), np.float32).reshape(-1, 3)[ids]
        return Sighting(ids, on_board, np.asarray(corners, np.float32).reshape(-1, 2))

    def _charuco(self) -> Any:
        import cv2

        if not hasattr(cv2.aruco, "CharucoDetector"):
            raise BoardError(f"OpenCV {cv2.__version__} finds no ChArUco boards, 4.7 does; or take a plain chessboard")
        needed = next(number for number in DICTIONARIES if 2 * number >= self._squares)
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_4X4_{needed}"))
        marker_m = self.square_m * MARKER_MODULES / CHARUCO_MODULES
        return cv2.aruco.CharucoBoard((self.columns + 1, self.rows + 1), self.square_m, marker_m, dictionary)


def parse_board(text: str, square_m: float, charuco: bool = False) -> Board:
    """A board from its inner corners, as in "9x6".

    Raises:
        BoardError: it is written otherwise, or too small.
    """
    form = re.fullmatch(r"(\d+)x(\d+)", text)
    if form is None:
        raise BoardError(f"board {text!r}: give its inner corners, like 9x6 for 10 x 7 squares")
    return Board(int(form[1]), int(form[2]), square_m, charuco)


def chessboard_size(grey: np.ndarray) -> str | None:
    """Inner corners of whatever chessboard is in a picture (H, W) uint8, like "9x6"; None where there is none."""
    import cv2

    found, _, cells = cv2.findChessboardCornersSBWithMeta(grey, LEAST_TOLD, cv2.CALIB_CB_LARGER)
    return "{}x{}".format(*sorted(cells.shape[:2], reverse=True)) if found else None
