"""Files of a dataset that is being written. Several episodes share one; a new one begins when the last grew large."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vmail_core.episodes.lerobot.layout import DATA, VIDEOS, place

MEGABYTE = 2**20
X264 = {"crf": "12", "g": "2", "bf": "0"}
"""Fine, but for colours at half the resolution, and every other picture complete: training reads them in any order."""


class DataFiles:
    """The rows of all episodes, each episode a row group. `close` completes the last file."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Write below the dataset's `folder`, files of about so many megabytes."""
        self._folder, self._limit = folder, megabytes * MEGABYTE
        self._number, self._path = -1, folder
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table) -> dict[str, int]:
        """Write an episode; returns the chunk and the file that it is in."""
        if self._writer is None or self._path.stat().st_size + rows.nbytes > self._limit:
            self.close()
            self._number += 1
            self._path = new_file(self._folder, DATA.format(**place(self._number)))
            self._writer = pq.ParquetWriter(self._path, rows.schema)
        self._writer.write_table(rows)
        return place(self._number)

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class VideoFiles:
    """The pictures of all episodes, one after the other. `close` completes the last file."""

    def __init__(self, folder: Path, key: str, fps: int, megabytes: int) -> None:
        """Write the camera `key` below the dataset's `folder`, files of about so many megabytes."""
        self._folder, self._key, self._fps, self._limit = folder, key, fps, megabytes * MEGABYTE
        self._number, self._path, self._frames = -1, folder, 0
        self._video: Any = None
        self._stream: Any = None

    def add(self, images: np.ndarray) -> dict[str, float]:
        """Write an episode's pictures (T, H, W, 3) uint8; returns chunk, file, and which seconds of it."""
        if self._video is None or self._path.stat().st_size > self._limit:
            self._begin(*images.shape[1:3])
        start = self._frames
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
            self._video.mux(self._stream.encode(frame))
            self._frames += 1
        span = {"from_timestamp": start / self._fps, "to_timestamp": self._frames / self._fps}
        return place(self._number) | span

    def close(self) -> None:
        """Complete the file."""
        if self._video is not None:
            self._video.mux(self._stream.encode(None))
            self._video.close()
            self._video = None

    def _begin(self, height: int, width: int) -> None:
        self.close()
        self._number, self._frames = self._number + 1, 0
        self._path = new_file(self._folder, VIDEOS.format(video_key=self._key, **place(self._number)))
        self._video = av.open(str(self._path), "w")
        self._stream = self._video.add_stream("libx264", rate=self._fps, options=X264)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._video.start_encoding()  # makes the file, which else begins with the first packet, some frames later


def new_file(folder: Path, name: str) -> Path:
    """The path of a file to be written, its folders made."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
