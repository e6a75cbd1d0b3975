"""Pictures of a calibration board, as a camera whose geometry is known would take them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vmail_hardware.cameras.board import Board

WIDTH, HEIGHT = 640, 480
MATRIX = np.array([[520.0, 0.0, 331.0], [0.0, 515.0, 236.0], [0.0, 0.0, 1.0]])
DISTORTION = np.array([-0.28, 0.09, 0.0007, -0.0004, 0.0])
NOISE, BLACK, WHITE, BEHIND = 3.0, 20, 235, 120  # grey levels
SQUARE_PX = 40
OVERSAMPLING = 2
REPEATS = 2  # pictures of each view in a film: whoever holds the board holds it still for a moment
BOARD = Board(9, 6, 0.024)
Pose = tuple[float, float, float, float, float, float]  # rotation vector, rad, and place of the board's middle, m


def poses() -> list[Pose]:
    """Views as a person would show them: everywhere in the picture, near and far, tilted to all sides."""
    found = []
    for index, (across, down) in enumerate((x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)):
        for far, lean in ((0.42, 1.0), (0.54, -1.0)):
            turned, tipped = lean * (0.45 - 0.3 * (index % 4 == 0)) * (-1) ** index, lean * 0.4 * (-1) ** (index // 2)
            room = (0.34 * far, 0.22 * far)  # as far out as all of the board stays in the picture
            found.append((tipped, turned, 0.05 * index, across * room[0], down * room[1], far))
    return found


def take_picture(pose: Pose, rng: np.random.Generator, board: Board = BOARD, blur_px: float = 0.0) -> np.ndarray:
    """A picture (HEIGHT, WIDTH) uint8 of the board at a pose."""
    turn, middle = cv2.Rodrigues(np.array(pose[:3]))[0], np.array(pose[3:])
    on_plane = _rays() @ np.linalg.inv(np.column_stack([turn[:, :2], middle])).T
    metres = on_plane[:, :2] / on_plane[:, 2:]
    texture = _texture(board)
    size = np.array(texture.shape[::-1])
    at = (metres / board.square_m * SQUARE_PX + size / 2.0 - 0.5).astype(np.float32)
    at = at.reshape(HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING, 2)
    large = cv2.remap(texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderValue=BEHIND)
    picture = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    if blur_px:
        picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    return np.clip(picture + rng.normal(0.0, NOISE, picture.shape), 0.0, 255.0).astype(np.uint8)


def film(path: Path, pictures: Sequence[np.ndarray], fps: float = 12.0) -> Path:
    """A film in which each picture (H, W) is shown for a moment."""
    height, width = pictures[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        for _ in range(REPEATS):
            writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


@functools.cache
def _rays() -> np.ndarray:
    """Where each pixel looks, (pixels, 3), the last number being 1."""
    across, down = np.meshgrid(np.arange(WIDTH * OVERSAMPLING), np.arange(HEIGHT * OVERSAMPLING))
    pixels = (np.stack([across.ravel(), down.ravel()], axis=1) + 0.5) / OVERSAMPLING - 0.5
    rays = cv2.undistortPoints(pixels.reshape(-1, 1, 2), MATRIX, DISTORTION).reshape(-1, 2)
    return np.hstack([rays, np.ones((len(rays), 1))])


def _texture(board: Board) -> np.ndarray:
    """The board with a white square's width around it, SQUARE_PX to a square."""
    cell = SQUARE_PX // board.modules
    cells = np.kron(board.bitmap(), np.ones((cell, cell))) > 0.0
    return np.pad(np.where(cells, BLACK, WHITE), SQUARE_PX, constant_values=WHITE).astype(np.uint8)
