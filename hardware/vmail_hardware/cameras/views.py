"""Views of a calibration board: which pictures are worth keeping, and what is still missing."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

from vmail_hardware.cameras.board import Sighting

CELLS = (5, 6)  # rows and columns into which the picture is divided
CORNERS_A_CELL = 3
ENOUGH_VIEWS, MOST_VIEWS = 15, 60
ENOUGH_COVERED = 0.8  # share of the cells
ENOUGH_TILT_RAD = np.deg2rad(30.0)  # from one side to the other, about either axis
ENOUGH_SIZES = 1.3  # largest view by the smallest
# How far two views lie apart at least, in one of these: place (share of the picture), size (logarithm), tilt.
APART_PLACE, APART_SIZE, APART_TILT_RAD = 0.1, 0.15, np.deg2rad(10.0)
# Share of the picture's width by which corners may have moved since the picture before: 1 px of 640. While the rows of
# a rolling shutter are read, one after the other, a board that moves by that much is sheared by no more, and a fit
# takes shear for a lens. At 30 Hz and half a metre it is 3 cm/s, which a hand that means to be still stays below.
STILL = 0.0015
SHARP_PX, SHARP_SHARE = 4.0, 0.006  # width of an edge, in pixels or as a share of the picture's width


class Verdict(enum.StrEnum):
    """What became of a picture in which the board was seen."""

    TAKEN = "taken"
    MOVING = "the board moves: hold it still"
    BLURRED = "too blurred: hold it still, give it more light, look at the focus"
    ALIKE = "too much like a view before"


@dataclasses.dataclass(frozen=True)
class View:
    """A sighting, and how the board stood in it.

    Attributes:
        sighting: its corners.
        place: (2,) middle of the corners, as shares of the picture's width and height.
        size: side of a square with the area of the corners' hull, as a share of that of the picture.
        tilt: (2,) rad about the picture's upright and level axis, 0 where the board faces the camera; roughly, since
            the camera is not known yet.
    """

    sighting: Sighting
    place: np.ndarray
    size: float
    tilt: np.ndarray

    def is_like(self, other: View) -> bool:
        """Whether the other view tells little that this one does not."""
        return bool(
            np.abs(self.place - other.place).max() < APART_PLACE
            and abs(np.log(self.size / other.size)) < APART_SIZE
            and np.abs(self.tilt - other.tilt).max() < APART_TILT_RAD
        )


class Views:
    """The views that were kept of one camera, and what is missing among them."""

    def __init__(self, width: int, height: int) -> None:
        """None yet, of pictures of so many pixels."""
        self.width, self.height = width, height
        self.kept: list[View] = []
        self.verdicts = dict.fromkeys(Verdict, 0)
        self.example: tuple[np.ndarray, Sighting] | None = None  # the picture whose corners reach farthest out
        self._counts = np.zeros(CELLS, int)
        self._last: Sighting | None = None

    def offer(self, sighting: Sighting, grey: np.ndarray) -> Verdict:
        """Keep the view if it is sharp and differs from those before.

        Args:
            sighting: the board, as found.
            grey: the picture (H, W) uint8.
        """
        last, self._last = self._last, sighting
        view = measure(sighting, self.width, self.height)
        if last is None or _moved(last, sighting) > STILL * self.width:
            verdict = Verdict.MOVING
        elif edge_width(grey, sighting) > max(SHARP_PX, SHARP_SHARE * self.width):
            verdict = Verdict.BLURRED
        elif any(view.is_like(other) for other in self.kept):
            verdict = Verdict.ALIKE
        else:
            verdict = Verdict.TAKEN
            self._keep(view, grey)
        self.verdicts[verdict] += 1
        return verdict

    def lose(self) -> None:
        """The board was not seen in the picture that has just come."""
        self._last = None

    @property
    def covered(self) -> np.ndarray:
        """Which cells of the picture, (rows, columns) bool, have had corners in them."""
        return self._counts >= CORNERS_A_CELL

    @property
    def progress(self) -> dict[str, float]:
        """How far each of what is needed has come, 1 where there is enough of it."""
        tilts = np.array([view.tilt for view in self.kept]).reshape(-1, 2)
        sizes = [view.size for view in self.kept] or [1.0]
        turned, tipped = np.ptp(tilts, axis=0) if len(tilts) else (0.0, 0.0)
        parts = {
            "views": len(self.kept) / ENOUGH_VIEWS,
            "picture covered": float(self.covered.mean()) / ENOUGH_COVERED,
            "near and far": np.log(max(sizes) / min(sizes)) / np.log(ENOUGH_SIZES),
            "turned left and right": turned / ENOUGH_TILT_RAD,
            "tipped up and down": tipped / ENOUGH_TILT_RAD,
        }
        return {name: float(min(1.0, part)) for name, part in parts.items()}

    @property
    def are_enough(self) -> bool:
        """Whether nothing is missing, or so many were taken that more would tell nothing new."""
        return all(part >= 1.0 for part in self.progress.values()) or len(self.kept) >= MOST_VIEWS

    def advice(self) -> str:
        """What to do with the board next."""
        progress = self.progress
        if progress["picture covered"] < 1.0:
            return f"bring the board to the {self._emptiest()} of the picture"
        if progress["turned left and right"] < 1.0:
            return "turn the board about its upright axis, to the left and to the right"
        if progress["tipped up and down"] < 1.0:
            return "tip the board forwards and backwards"
        if progress["near and far"] < 1.0:
            return "show the board from nearer and from farther away"
        return "show the board in other places and at other angles"

    def complaint(self) -> str:
        """What was wrong with most pictures of the board in which something was."""
        return max((verdict for verdict in Verdict if verdict is not Verdict.TAKEN), key=lambda one: self.verdicts[one])

    def _keep(self, view: View, grey: np.ndarray) -> None:
        self.kept.append(view)
        rows, columns = CELLS
        shares = np.clip(view.sighting.in_picture / (self.width, self.height), 0.0, 1.0 - 1e-6)
        np.add.at(self._counts, ((shares[:, 1] * rows).astype(int), (shares[:, 0] * columns).astype(int)), 1)
        if self.example is None or _reach(view.sighting, self) > _reach(self.example[1], self):
            self.example = (grey.copy(), view.sighting)

    def _emptiest(self) -> str:
        """Name of the part of the picture with the largest share of empty cells."""
        empty, (rows, columns) = ~self.covered, CELLS
        shares = {
            f"{upper}{side}": empty[top : top + (rows + 1) // 2, left : left + columns // 2].mean()
            for upper, top in (("upper ", 0), ("lower ", rows // 2))
            for side, left in (("left", 0), ("right", columns - columns // 2))
        }
        return max(shares, key=lambda name: shares[name])


def measure(sighting: Sighting, width: int, height: int) -> View:
    """How the board stands in a picture of width x height pixels."""
    import cv2

    points, size = sighting.in_picture, np.array([width, height], np.float64)
    hull = cv2.contourArea(cv2.convexHull(points))
    guess = np.array([[max(size), 0.0, size[0] / 2.0], [0.0, max(size), size[1] / 2.0], [0.0, 0.0, 1.0]])
    _, turn, _ = cv2.solvePnP(sighting.on_board, points, guess, None)
    return View(sighting, points.mean(axis=0) / size, float(np.sqrt(hull / size.prod())), tilt_of(turn))


def tilt_of(turn: np.ndarray) -> np.ndarray:
    """(2,) rad about the camera's upright and level axis by which a board with this rotation vector faces away."""
    import cv2

    normal = cv2.Rodrigues(turn)[0][:, 2]
    return np.arctan2(normal[:2] * np.sign(normal[2] or 1.0), abs(normal[2]))


def edge_width(grey: np.ndarray, sighting: Sighting) -> float:
    """Pixels that the board's edges take from black to white: their contrast by the steepest slope. 2 is perfect."""
    import cv2

    lowest = np.maximum(np.floor(sighting.in_picture.min(axis=0)).astype(int), 0)
    highest = np.ceil(sighting.in_picture.max(axis=0)).astype(int) + 1
    part = grey[lowest[1] : highest[1], lowest[0] : highest[0]]
    slope = np.hypot(cv2.Sobel(part, cv2.CV_32F, 1, 0), cv2.Sobel(part, cv2.CV_32F, 0, 1)) / 8.0
    dark, bright = np.percentile(part, (5.0, 95.0))
    return float((bright - dark) / max(np.percentile(slope, 99.0), 1e-6))


def _moved(last: Sighting, now: Sighting) -> float:
    """Mean way in pixels of the corners that are seen in both; infinite without any."""
    _, before, after = np.intersect1d(last.ids, now.ids, return_indices=True)
    if not len(before):
        return np.inf
    return float(np.linalg.norm(now.in_picture[after] - last.in_picture[before], axis=1).mean())


def _reach(sighting: Sighting, views: Views) -> float:
    """How far from the picture's middle the farthest corner is, in pixels."""
    return float(np.linalg.norm(sighting.in_picture - np.array([views.width, views.height]) / 2.0, axis=1).max())
