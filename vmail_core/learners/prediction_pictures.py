"""Truth, prediction and error side by side, for people: what the model foretells, as videos and strips of film."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vmail_core.episodes.replay import Rows
from vmail_core.learners.open_loop import predict_pictures
from vmail_core.models import WorldModel

SIDE = 128  # pixels of an enlarged picture, at least; scaled by a whole number, so that each pixel is seen
ERROR_GAIN = 2
ERROR = f"error x {ERROR_GAIN}"
GAP, BORDER, HEADING = 8, 4, 20
PAPER, INK = 255, 40
# Told apart by people who do not see red and green: the belief sees the picture, or the model foretells it.
SEEN, FORETOLD = (31, 111, 139), (192, 99, 43)


def prediction_video(
    model: WorldModel,
    image: np.ndarray,
    action: np.ndarray,
    names: Sequence[str],
    context: int,
    joints: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Frames of a video: a row a chunk with truth, prediction and error.

    The prediction's border tells the `context` pictures that the belief sees from those that the model foretells.

    Args:
        model: the world model.
        image: (L, B, S, S, 3) uint8.
        action: (L, B, A) float32; action[t] led to image[t].
        names: what to call each of the B chunks.
        context: 1 to L - 1.
        joints: (L, B, J) float32 rad, where the model observes them.

    Returns:
        L frames (H, W, 3) uint8, H and W even.
    """
    predicted = predict_pictures(model, image, action, context, joints)
    frames = []
    for t in range(len(image)):
        said, colour = ("seen", SEEN) if t < context else (f"{t - context + 1} ahead", FORETOLD)
        rows = []
        for name, truth, guess in zip(names, image[t], predicted[t], strict=True):
            cells = {name: enlarged(truth), said: _bordered(enlarged(guess), colour), ERROR: _error(truth, guess)}
            rows.append(_beside([_titled(picture, title) for title, picture in cells.items()]))
        frames.append(_even(np.concatenate(rows)))
    return frames


def film_strip(model: WorldModel, take: Rows, start: int, steps: Sequence[int]) -> np.ndarray:
    """One take as a picture (H, W, 3) uint8: truth, prediction and error one above the other, a column a step.

    Args:
        model: the world model.
        take: images (T, S, S, 3) uint8, actions (T, A) float32, perhaps joint angles (T, J) float32 rad.
        start: the row of the last picture that the belief sees; it is the first column.
        steps: how far ahead the other columns are, ascending.
    """
    end = start + steps[-1] + 1
    felt = None if take.joint_positions is None else take.joint_positions[:end, None]
    predicted = predict_pictures(model, take.image[:end, None], take.action[:end, None], start + 1, felt)[:, 0]
    columns = []
    for step in (0, *steps):
        said, colour = (f"{step} ahead", FORETOLD) if step else ("seen", SEEN)
        truth, guess = take.image[start + step], predicted[start + step]
        cells = [enlarged(truth), _bordered(enlarged(guess), colour), _error(truth, guess)]
        columns.append(_titled(np.concatenate(cells), said))
    return _beside(columns)


def error_picture(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far off each pixel is, ERROR_GAIN times as bright, (..., 3) uint8: black where it is right."""
    difference = np.abs(truth.astype(np.int16) - predicted.astype(np.int16))
    return np.minimum(ERROR_GAIN * difference, 255).astype(np.uint8)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """(S, S, 3) to a whole multiple of it with sides of SIDE or a little more."""
    times = -(-SIDE // picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _error(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return enlarged(error_picture(truth, guess))


def _bordered(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """With a border inside, over the outermost pixels."""
    framed = np.empty_like(picture)
    framed[:] = colour
    framed[BORDER:-BORDER, BORDER:-BORDER] = picture[BORDER:-BORDER, BORDER:-BORDER]
    return framed


def _titled(picture: np.ndarray, text: str) -> np.ndarray:
    heading = _paper(HEADING, picture.shape[1])
    cv2.putText(heading, text, (2, HEADING - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (INK,) * 3, 1, cv2.LINE_AA)
    return np.concatenate([heading, picture])


def _beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    gap = _paper(pictures[0].shape[0], GAP)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _even(frame: np.ndarray) -> np.ndarray:
    """Padded to even sides, which video wants."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=PAPER)


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)
