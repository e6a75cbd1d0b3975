"""Where things lie in a LeRobotDataset v3, and what its metadata says of them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

VERSION = "v3.0"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
NOTES = "meta/vmail.json"
"""Ours: each episode's provenance. lerobot leaves it alone, and leaves it out of datasets made from this one."""
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEOS = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
NOTES_FORMAT = "vmail-lerobot-1"
FILES_A_CHUNK = 1000

ACTION = "action"
STATE = "observation.state"
CAMERAS = "observation.images."
REWARD = "next.reward"
DONE = "next.done"
TIME = "vmail.time"
"""Ours: each frame's measured time, for `timestamp` there is the frame's number over the rate."""


def place(number: int) -> dict[str, int]:
    """Chunk and file of the dataset's n-th file of a kind, from 0."""
    chunk, file = divmod(number, FILES_A_CHUNK)
    return {"chunk_index": chunk, "file_index": file}


def fingerprint(actions: np.ndarray) -> str:
    """SHA-256 of an episode's actions (T, A) as they are stored: tells whether notes belong to it."""
    return hashlib.sha256(np.ascontiguousarray(actions, np.float32).tobytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The metadata of a dataset on disk.

    Attributes:
        folder: where it lies.
        info: what info.json holds.
        episodes: one dict an episode, in order: its length, its tasks, and where its rows and videos are.
    """

    folder: Path
    info: dict[str, Any]
    episodes: list[dict[str, Any]]

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Name to dtype and shape of everything that a frame holds."""
        return self.info["features"]

    def width(self, name: str) -> int:
        """How many numbers a frame holds under this name.

        Raises:
            ValueError: there is no such feature, or it is no vector.
        """
        if name not in self.features:
            raise ValueError(f"it has no {name}; its features: {', '.join(sorted(self.features))}")
        shape = self.features[name]["shape"]
        if len(shape) != 1:
            raise ValueError(f"its {name} has shape {shape}, not that of a vector")
        return int(shape[0])

    def data_file(self, episode: dict[str, Any]) -> Path:
        """The file with the episode's rows."""
        found = {name: episode[f"data/{name}"] for name in ("chunk_index", "file_index")}
        return self.folder / self.info["data_path"].format(**found)

    def video_file(self, episode: dict[str, Any], key: str) -> Path:
        """The file with the episode's pictures of a camera."""
        found = {name: episode[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        return self.folder / self.info["video_path"].format(video_key=key, **found)


def open_dataset(folder: Path) -> Dataset:
    """Read the metadata.

    Raises:
        OSError, ValueError, KeyError: a file is missing, damaged or of another version.
    """
    info = read_json(folder / INFO, "download the dataset again")
    version = str(info["codebase_version"])
    if not version.startswith("v3."):
        raise ValueError(
            f"{INFO} says version {version}, and vmail reads {VERSION}: convert it with lerobot first, for v2.1 with "
            "its script convert_dataset_v21_to_v30"
        )
    if not float(info["fps"]) > 0:
        raise ValueError(f"{INFO} says {info['fps']} frames a second")
    files = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise FileNotFoundError("no file meta/episodes/*/*.parquet; download the dataset again")
    episodes = sorted((row for file in files for row in _episodes(file)), key=lambda row: row["episode_index"])
    found, told = [row["episode_index"] for row in episodes], info.get("total_episodes", len(episodes))
    if found != list(range(told)):
        raise ValueError(
            f"{INFO} says {told} episodes, and meta/episodes has {len(found)} rows, of {len(set(found))} of them; "
            "download the dataset again"
        )
    return Dataset(folder, info, episodes)


def read_json(file: Path, remedy: str) -> dict[str, Any]:
    """What a file of metadata holds.

    Raises:
        ValueError: it is missing, damaged, or holds something else; the message names it, and what to do: `remedy`.
    """
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}; {remedy}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object; {remedy}")
    return content


def open_parquet(file: Path, columns: list[str]) -> pq.ParquetFile:
    """A parquet file that has these columns.

    Raises:
        FileNotFoundError, ValueError: the file is missing, damaged, or lacks a column; the message names it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}; download the dataset again")
    with named(file):
        opened = pq.ParquetFile(file)
    missing = set(columns) - set(opened.schema_arrow.names)
    if missing:
        opened.close()
        raise ValueError(f"{file} has no column {' and no '.join(sorted(missing))}")
    return opened


def read_table(file: Path, columns: list[str]) -> pa.Table:
    """The columns of a parquet file, of all rows.

    Raises:
        FileNotFoundError, ValueError: the file is missing, damaged, or lacks a column; the message names it.
    """
    with open_parquet(file, columns) as opened, named(file):
        return opened.read(columns)


def numbers(table: pa.Table, name: str, width: int) -> np.ndarray:
    """A column as an array (rows, width).

    Raises:
        ValueError: a row holds fewer or more numbers, or none.
    """
    column = table.column(name).combine_chunks()
    nested = any(check(column.type) for check in (types.is_list, types.is_large_list, types.is_fixed_size_list))
    counts = np.ones(len(column), int)
    if nested:
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    if np.any(counts != width):
        row = int(np.argmax(counts != width))
        raise ValueError(f"{name} has {counts[row]} numbers in row {row}, not {width}")
    values = (column.flatten() if nested else column).to_numpy(zero_copy_only=False)
    return values.reshape(len(table), width)


def _episodes(file: Path) -> list[dict[str, Any]]:
    with open_parquet(file, []) as opened, named(file):
        return opened.read([name for name in opened.schema_arrow.names if not name.startswith("stats/")]).to_pylist()


@contextlib.contextmanager
def named(file: Path) -> Iterator[None]:
    """Trouble with reading the file names it.

    Raises:
        ValueError: there was some.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
