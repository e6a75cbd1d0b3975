"""Our episodes to a LeRobotDataset v3: `vmail convert`.

There, `action[t]` is taken at frame t. The last frame, after which nothing was done, repeats the last action and has
reward 0; `next.done` marks it, and the import leaves both out again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.lerobot import layout, stats
from vmail_core.episodes.lerobot.features import CAMERA, PICTURE, Features, features_of, schema_of
from vmail_core.episodes.lerobot.files import DataFiles, VideoFiles, new_file
from vmail_core.episodes.lerobot.fitting import Common, common_of
from vmail_core.episodes.staging import new_folder
from vmail_core.episodes.store import read_episode
from vmail_core.robot import RobotSpec


@dataclasses.dataclass(frozen=True)
class Written:
    """What a new dataset holds."""

    episodes: int
    frames: int
    fps: int


def write_lerobot(
    paths: Sequence[str | Path],
    out: str | Path,
    task: str | None = None,
    robot: RobotSpec | None = None,
    video: bool = False,
    data_megabytes: int = 100,
    video_megabytes: int = 200,
) -> Written:
    """Write episodes as one dataset, which is in `out` whole at the end, or not at all.

    `timestamp` is the frame's number over the rate, as LeRobot wants it; the measured times stand beside it, as
    `vmail.time`. Each episode's provenance goes to meta/vmail.json. The import reads both again.

    Args:
        paths: of the episodes, in the order that they get there.
        out: folder of the dataset; must not exist.
        task: what every episode shows, in words; by default what each says of itself.
        robot: names type and joints; by default the episodes tell the type, and joints are numbered.
        video: pictures as H.264, smaller and not quite exact; by default PNG.
        data_megabytes, video_megabytes: how large a file grows before the next one begins.

    Raises:
        FileExistsError: `out` exists.
        ValueError: no episode, or they make no dataset; the message names the episode and says why.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("no episode to convert")
    sizes = {"data_files_size_in_mb": data_megabytes, "video_files_size_in_mb": video_megabytes}
    with new_folder(Path(out)) as folder:
        common = common_of(files, task, robot)
        height, width = common.layout.height, common.layout.width
        if video and (height % 2 or width % 2):
            raise ValueError(f"--video needs even sides, and pictures have {width}x{height} px: leave it out")
        writer = _Writer(folder, common, features_of(common, robot, video), sizes)
        with contextlib.closing(writer):
            for path in files:
                writer.add(path.stem, read_episode(path))
        writer.finish()
    return Written(len(files), writer.frames, common.fps)


class _Writer:
    """Adds episode after episode; `close` completes their files, and `finish` then writes the metadata."""

    def __init__(self, folder: Path, common: Common, features: Features, sizes: dict[str, int]) -> None:
        self.frames = 0
        self._folder, self._common, self._features, self._sizes = folder, common, features, sizes
        self._tasks = list(dict.fromkeys(common.tasks))
        self._schema = schema_of(features)
        self._data = DataFiles(folder, sizes["data_files_size_in_mb"])
        self._video = None
        if features[CAMERA]["dtype"] == "video":
            self._video = VideoFiles(folder, CAMERA, common.fps, sizes["video_files_size_in_mb"])
        self._episodes: list[dict[str, Any]] = []
        self._notes: list[dict[str, Any]] = []
        self._columns: list[dict[str, np.ndarray]] = []
        self._levels = np.zeros((3, 256), np.int64)

    def add(self, name: str, episode: Episode) -> None:
        number, task = len(self._episodes), self._common.tasks[len(self._episodes)]
        columns = self._numbers(episode, number, self._tasks.index(task))
        levels = stats.histogram(episode.image)
        row: dict[str, Any] = {"episode_index": number, "tasks": [task], "length": len(episode)}
        row |= _prefixed("data", self._data.add(self._table(columns, episode.image)))
        row |= {"dataset_from_index": self.frames, "dataset_to_index": self.frames + len(episode)}
        if self._video is not None:
            row |= _prefixed(f"videos/{CAMERA}", self._video.add(episode.image))
        row |= _prefixed("stats", _flat(self._stats(columns, levels, len(episode))))
        self._episodes.append(row | _prefixed("meta/episodes", layout.place(0)))
        actions = layout.fingerprint(columns[layout.ACTION])
        self._notes.append({"name": name, "actions_sha256": actions, "provenance": episode.provenance})
        self._columns.append(columns)
        self._levels += levels
        self.frames += len(episode)

    def close(self) -> None:
        self._data.close()
        if self._video is not None:
            self._video.close()

    def finish(self) -> None:
        columns = {name: np.concatenate([part[name] for part in self._columns]) for name in self._columns[0]}
        self._write_json(layout.STATS, self._stats(columns, self._levels, self.frames))
        self._write_json(layout.NOTES, {"format": layout.NOTES_FORMAT, "episodes": self._notes})
        self._write_json(layout.INFO, self._info())
        pq.write_table(_task_table(self._tasks), new_file(self._folder, layout.TASKS))
        episodes = new_file(self._folder, layout.EPISODES.format(**layout.place(0)))
        pq.write_table(pa.Table.from_pylist(self._episodes), episodes)

    def _numbers(self, episode: Episode, number: int, task: int) -> dict[str, np.ndarray]:
        """Every column but the pictures', (T, D), in the dtype that it is stored in."""
        rows = np.arange(len(episode))
        columns = {
            layout.STATE: episode.joint_positions,
            layout.ACTION: np.concatenate([episode.action[1:], episode.action[-1:]]),
            layout.REWARD: None if episode.reward is None else np.append(episode.reward[1:], np.float32(0.0)),
            layout.DONE: rows == len(episode) - 1,
            layout.TIME: episode.time,
            "timestamp": (rows / self._common.fps).astype(np.float32),
            "frame_index": rows,
            "episode_index": np.full(len(episode), number),
            "index": rows + self.frames,
            "task_index": np.full(len(episode), task),
        }
        return {name: array.reshape(len(episode), -1) for name, array in columns.items() if array is not None}

    def _table(self, columns: dict[str, np.ndarray], images: np.ndarray) -> pa.Table:
        arrays = []
        for field in self._schema:
            if field.type == PICTURE:
                encoded = [{"bytes": _png(image), "path": None} for image in images]
                arrays.append(pa.array(encoded, PICTURE))
            elif pa.types.is_fixed_size_list(field.type):
                flat = pa.array(columns[field.name].ravel())
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
            else:
                arrays.append(pa.array(columns[field.name][:, 0], field.type))
        return pa.Table.from_arrays([array.cast(f.type) for array, f in zip(arrays, self._schema)], schema=self._schema)

    def _stats(self, columns: dict[str, np.ndarray], levels: np.ndarray, frames: int) -> dict[str, stats.Stats]:
        found = {name: stats.of_rows(values) for name, values in columns.items()}
        return {CAMERA: stats.of_histogram(levels, frames)} | found

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": layout.VERSION,
            "robot_type": self._common.layout.robot,
            "total_episodes": len(self._episodes),
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_A_CHUNK,
            **self._sizes,
            "fps": self._common.fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": layout.DATA,
            "video_path": None if self._video is None else layout.VIDEOS,
            "features": self._features,
        }

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        new_file(self._folder, name).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _png(image: np.ndarray) -> bytes:
    done, content = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise RuntimeError(f"OpenCV cannot encode a picture of {image.shape} as PNG")
    return content.tobytes()


def _task_table(tasks: list[str]) -> pa.Table:
    """lerobot looks tasks up by their words: pandas takes these for the table's index, as the note says."""
    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, (kind, dtype) in kinds.items()
    ]
    note = {"index_columns": ["task"], "column_indexes": [], "columns": columns}
    table = pa.table({"task_index": np.arange(len(tasks)), "task": tasks})
    return table.replace_schema_metadata({"pandas": json.dumps(note)})


def _prefixed(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _flat(found: dict[str, stats.Stats]) -> dict[str, Any]:
    return {f"{feature}/{name}": value for feature, values in found.items() for name, value in values.items()}
