"""The pictures of an episode: from a video that several episodes share, or from PNG or JPEG bytes in its rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
import pyarrow as pa

from vmail_core.episodes.frames import resize_frame
from vmail_core.episodes.lerobot.layout import CAMERAS, Dataset

NEAR = 0.25
"""How far a video's frame may lie from its row's time, in periods: no two rows can then want the same one."""


def choose_camera(dataset: Dataset, name: str | None) -> str:
    """The feature with the pictures; `name` with or without observation.images.

    Raises:
        ValueError: there is none, no such one, or several to choose from; the message lists them.
    """
    cameras = sorted(key for key, feature in dataset.features.items() if _is_camera(feature))
    listed = ", ".join(key.removeprefix(CAMERAS) for key in cameras)
    if not cameras:
        raise ValueError("it holds no pictures")
    if name is None and len(cameras) > 1:
        raise ValueError(f"it has several cameras, choose one (--camera): {listed}")
    found = [key for key in cameras if name is None or name in (key, key.removeprefix(CAMERAS))]
    if not found:
        raise ValueError(f"it has no camera {name}; its cameras: {listed}")
    return found[0]


def video_frames(file: Path, start: float, times: np.ndarray, period: float) -> Iterator[np.ndarray]:
    """The frames (H, W, 3) uint8 RGB of a video at `start + times` s, each the one that lies there.

    Args:
        file: the video.
        start: where the episode begins in it, s.
        times: (T,) s, of the episode's rows, rising.
        period: from frame to frame, s.

    Raises:
        FileNotFoundError, ValueError: no such file, it is damaged, or a frame is missing; the message names the file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}; download the dataset again")
    try:
        with av.open(str(file)) as video:
            yield from _at(video, start + times, NEAR * period)
    except (av.error.FFmpegError, IndexError, ValueError) as error:  # IndexError: no video in the file
        raise ValueError(f"{file}: {error}") from error


def encoded_frames(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """The frames (H, W, 3) uint8 RGB of a column of encoded pictures.

    Raises:
        ValueError: a row has no picture, or none that can be decoded; the message says which row.
    """
    for row, cell in enumerate(column):
        content = (cell.as_py() or {}).get("bytes")
        if not content:
            raise ValueError(f"row {row} has no picture in the file itself")
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise ValueError(f"the picture of row {row} is damaged")
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"the picture of row {row} is no RGB one of 8 bits: {picture.dtype} {picture.shape}")
        yield picture[..., ::-1]


def stacked(frames: Iterable[np.ndarray], count: int, size: int | None) -> np.ndarray:
    """All frames (T, H, W, 3); at (T, size, size, 3) where that makes them smaller, so that none is kept as it was.

    Args:
        frames: (H, W, 3) uint8 each.
        count: T, how many there are.
        size: see above; None leaves them as they are.

    Raises:
        ValueError: one has another shape than the first; the message says which row's.
    """
    remaining = iter(frames)
    first = _smaller(next(remaining), size)
    images = np.empty((count, *first.shape), np.uint8)
    images[0] = first
    for row, frame in enumerate(remaining, 1):
        smaller = _smaller(frame, size)
        if smaller.shape != first.shape:
            raise ValueError(f"the picture of row {row} has shape {smaller.shape}, the first {first.shape}")
        images[row] = smaller
    return images


def _smaller(frame: np.ndarray, size: int | None) -> np.ndarray:
    if size is None or min(frame.shape[:2]) < size:
        return np.ascontiguousarray(frame)
    return resize_frame(np.ascontiguousarray(frame), (size, size))


def _at(video: av.container.InputContainer, times: np.ndarray, tolerance: float) -> Iterator[np.ndarray]:
    wanted = 0
    for frame in _decoded(video, times[0], tolerance):
        if frame.time is None or frame.time < times[wanted] - tolerance:
            continue
        if frame.time > times[wanted] + tolerance:
            break
        yield frame.to_ndarray(format="rgb24")
        wanted += 1
        if wanted == len(times):
            return
    raise ValueError(f"it has no frame at {times[wanted]:.3f} s, row {wanted} of the episode")


def _decoded(video: av.container.InputContainer, first: float, tolerance: float) -> Iterator[Any]:
    """The video's frames, from a key frame at or before `first` s on.

    Seeking finds the key frame before it in the file. That can be one that is shown after it (open GOP), with frames
    between that cannot be decoded from there: then it seeks again, from ever farther back.
    """
    stream = video.streams.video[0]
    stream.thread_type = "AUTO"
    back = 0.0
    while first > back and stream.time_base:
        video.seek(int((first - back) / stream.time_base), stream=stream)
        frames = video.decode(stream)
        frame = next(frames, None)
        if frame is not None and frame.time is not None and frame.time <= first + tolerance:
            return itertools.chain([frame], frames)
        back = 2.0 * back + 1.0
    if back:
        video.seek(0, stream=stream)
    return video.decode(stream)


def _is_camera(feature: dict[str, Any]) -> bool:
    if feature["dtype"] not in ("video", "image"):
        return False
    notes: dict[str, Any] = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    return not (notes.get("is_depth_map") or notes.get("video.is_depth_map"))
