"""Camera frames: from the bytes of a sensor_msgs/Image to the one picture that a model sees."""

from __future__ import annotations

import array
import dataclasses

import numpy as np

from vmail_core.episodes.episode import Episode

FrameBytes = bytes | bytearray | memoryview | array.array | np.ndarray

# Channels and, for each, which one is red, green and blue.
_ENCODINGS: dict[str, tuple[int, tuple[int, int, int]]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}


def decode_image(data: FrameBytes, height: int, width: int, encoding: str, step: int = 0) -> np.ndarray:
    """RGB picture of a sensor_msgs/Image: bytes to (height, width, 3) uint8.

    Args:
        data: the message's bytes, row after row.
        height, width: in pixels.
        encoding: rgb8, bgr8, rgba8, bgra8 or mono8.
        step: bytes a row, padding included; 0 means no padding.

    Raises:
        ValueError: an unknown encoding, or fewer bytes than the size asks for.
    """
    if encoding not in _ENCODINGS:
        raise ValueError(f"image encoding {encoding!r} is not one of {', '.join(_ENCODINGS)}; set the camera to rgb8")
    channels, order = _ENCODINGS[encoding]
    step = step or width * channels
    flat = np.frombuffer(data, np.uint8)
    if height < 1 or width < 1 or step < width * channels or flat.size < height * step:
        raise ValueError(f"image of {width}x{height} {encoding} with {step} bytes a row has only {flat.size} bytes")
    rows = flat[: height * step].reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    return rows if channels == 3 and order == (0, 1, 2) else np.ascontiguousarray(rows[..., order])


def resize_frame(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The frame at (height, width): (H, W, 3) uint8 to (height, width, 3) uint8. The same array when it fits already.

    The whole picture is kept, also where the aspect changes. Import and runner both resize here, once, so that a
    policy meets the pixels that it was trained on.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8 (H, W, 3); got {image.dtype} {image.shape}")
    if image.shape[:2] == tuple(size):
        return image
    import cv2  # here, because episodes can be read where OpenCV is not installed

    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def at_size(episode: Episode, size: int) -> Episode:
    """The episode with its pictures at (size, size).

    Raises:
        ValueError: that would enlarge them, which adds nothing that was seen.
    """
    height, width = episode.image.shape[1:3]
    if (height, width) == (size, size):
        return episode
    if min(height, width) < size:
        raise ValueError(f"pictures of {width}x{height} px would be enlarged to {size} px; choose a smaller size")
    return dataclasses.replace(episode, image=np.stack([resize_frame(image, (size, size)) for image in episode.image]))
