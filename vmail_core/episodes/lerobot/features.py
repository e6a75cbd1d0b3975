"""What a frame of our datasets holds: for info.json, and as the schema of the parquet files."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from vmail_core.episodes.lerobot.fitting import Common
from vmail_core.episodes.lerobot.layout import ACTION, CAMERAS, DONE, REWARD, STATE, TIME
from vmail_core.robot import RobotSpec

CAMERA = f"{CAMERAS}camera"
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Features = dict[str, dict[str, Any]]


def features_of(common: Common, robot: RobotSpec | None, video: bool) -> Features:
    """Name to dtype, shape and names, as info.json has them; joints are numbered where no robot names so many."""
    layout = common.layout
    features: Features = {CAMERA: _picture(common, video)}
    if layout.joints:
        features[STATE] = _numbers("float32", layout.joints, _names(layout.joints, robot))
    features[ACTION] = _numbers("float32", layout.actions, _names(layout.actions, robot))
    if layout.rewards:
        features[REWARD] = _numbers("float32")
    features |= {DONE: _numbers("bool"), TIME: _numbers("float64"), "timestamp": _numbers("float32")}
    return features | {name: _numbers("int64") for name in COUNTERS}


def schema_of(features: Features) -> pa.Schema:
    """The columns, with the note that lets Hugging Face's datasets show pictures as such."""
    stored = {name: feature for name, feature in features.items() if feature["dtype"] != "video"}
    note = {"info": {"features": {name: _noted(feature) for name, feature in stored.items()}}}
    fields = [(name, _type(feature)) for name, feature in stored.items()]
    return pa.schema(fields, metadata={"huggingface": json.dumps(note)})


def _picture(common: Common, video: bool) -> dict[str, Any]:
    shape, names = [common.layout.height, common.layout.width, 3], ["height", "width", "channels"]
    if not video:
        return {"dtype": "image", "shape": shape, "names": names}
    notes = {
        "video.height": common.layout.height,
        "video.width": common.layout.width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": common.fps,
        "video.channels": 3,
        "has_audio": False,
    }
    return {"dtype": "video", "shape": shape, "names": names, "info": notes}


def _names(count: int, robot: RobotSpec | None) -> list[str]:
    if robot is not None and len(robot.joint_names) == count:
        return list(robot.joint_names)
    return [f"joint_{number}" for number in range(count)]


def _numbers(dtype: str, size: int = 1, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": names}


def _type(feature: dict[str, Any]) -> pa.DataType:
    if feature["dtype"] == "image":
        return PICTURE
    single = pa.from_numpy_dtype(feature["dtype"])
    (size,) = feature["shape"]
    return single if size == 1 else pa.list_(single, size)


def _noted(feature: dict[str, Any]) -> dict[str, Any]:
    if feature["dtype"] == "image":
        return {"_type": "Image"}
    single = {"dtype": feature["dtype"], "_type": "Value"}
    (size,) = feature["shape"]
    return single if size == 1 else {"feature": single, "length": size, "_type": "List"}
