"""One recorded take as a stream of what the alignment needs. rosbag2, MCAP or SQLite; no ROS."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from vmail_core.episodes.frames import decode_image
from vmail_core.episodes.hashing import sha256_of
from vmail_core.robot import RobotSpec

IMAGE = "camera/image_raw"
JOINTS = "joint_states"
REQUEST = "joint_commands"
SENT = "joint_commands_sent"
TWIN = "twin/state"
NOTES = "take"
"""Topic names without namespace; a recorded topic ends in one of them. NOTES carries the recorder's notes as JSON."""
NOTES_TYPE = "std_msgs/msg/String"
KINESTHETIC = "kinesthetic"
"""The commander of takes in which the hand was limp and led by hand."""

REQUIRED = (IMAGE, JOINTS, REQUEST, SENT)
_TYPES = {
    IMAGE: "sensor_msgs/msg/Image",
    JOINTS: "sensor_msgs/msg/JointState",
    REQUEST: "trajectory_msgs/msg/JointTrajectory",
    SENT: "trajectory_msgs/msg/JointTrajectory",
    TWIN: "sensor_msgs/msg/JointState",
}
_STORAGE = (".mcap", ".db3")
_MAGIC = (b"\x89MCAP0\r\n", b"SQLite format 3\x00")  # how files of them begin
_STILL_GROWS_S = 5.0
"""A bag without its end that was written to so lately is still being recorded: the recorder writes every second."""


Result = TypeVar("Result")


class BagError(ValueError):
    """A bag cannot be used; the message names it, the reason and the next step."""


@dataclasses.dataclass(frozen=True)
class Event:
    """One message.

    Attributes:
        topic: IMAGE, JOINTS, REQUEST, SENT or TWIN.
        stamp_ns: of the message's header; for commands the stamp of the frame that they were computed from.
        value: (H, W, 3) uint8 for IMAGE; (A,) float64 rad, in the robot's order, for JOINTS, REQUEST and SENT; the
            valve's angle in rad, a float, for TWIN.
        commander: who commanded, for REQUEST and SENT; empty where it is not said.
    """

    topic: str
    stamp_ns: int
    value: Any
    commander: str = ""


class Bag:
    """A bag that is open and holds what an import needs.

    Attributes:
        path: the bag's folder or storage file.
        info: what the recorder noted: task, operator, robot, interface_digest, vmail_version, simulator_version.
    """

    def __init__(self, path: str | Path, robot: RobotSpec) -> None:
        """Open the bag.

        Raises:
            BagError: no bag is there, it is cut off, empty, or lacks a topic; the message says what to do.
        """
        self.path, self._robot = Path(path), robot
        self._reader = AnyReader([_openable(self.path)], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        self._guarded(self._reader.open)
        try:
            self._topics = self._find_topics()
            self.info = self._guarded(self._read_info)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bag:
        """Return the bag itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    @functools.cached_property
    def sha256(self) -> str:
        """Of the storage files' bytes, which are read for it. Raises BagError when they cannot be."""
        return self._guarded(lambda: sha256_of(_content_files(self.path)))

    def events(self) -> Iterator[Event]:
        """Messages in order of log time.

        Raises:
            BagError: the bag is damaged, or a message does not fit the robot.
        """
        connections = list(self._topics.values())
        names = {connection.topic: name for name, connection in self._topics.items()}
        messages = iter(self._reader.messages(connections=connections))
        while (item := self._guarded(lambda: self._next(messages))) is not None:
            connection, message = item
            name = names[connection.topic]
            commander = str(message.header.frame_id) if name in (REQUEST, SENT) else ""
            yield Event(name, _stamp_ns(message), self._value(name, message), commander)

    def _next(self, messages: Iterator[tuple[Connection, int, bytes]]) -> tuple[Connection, Any] | None:
        item = next(messages, None)
        return None if item is None else (item[0], self._reader.deserialize(item[2], item[0].msgtype))

    def _guarded(self, read: Callable[[], Result]) -> Result:
        """Call into rosbags: whatever it and its decompressors raise, the bag's bytes are at fault."""
        try:
            return read()
        except OSError as error:
            raise BagError(f"{self.path} cannot be read: {error}; check the disk and the file's permissions") from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise BagError(f"{self.path} is cut off or damaged ({reason}); {_next_step(self.path)}") from error

    def _value(self, name: str, message: Any) -> Any:
        if name == IMAGE:
            return self._picture(message)
        if name == TWIN:
            return float(message.position[-1])
        if name == JOINTS:
            return self._in_order(name, message.name, message.position)
        if len(message.points) != 1:
            raise BagError(f"{self.path}: a message of {name} has {len(message.points)} points; vmail records one")
        return self._in_order(name, message.joint_names, message.points[0].positions)

    def _picture(self, message: Any) -> np.ndarray:
        try:
            return decode_image(message.data, message.height, message.width, message.encoding, message.step)
        except ValueError as error:
            raise BagError(f"{self.path}: {error}") from error

    def _in_order(self, topic: str, names: list[str], positions: np.ndarray) -> np.ndarray:
        """Positions in the robot's order; other joints in the message are left out."""
        missing = [name for name in self._robot.joint_names if name not in names]
        if missing or len(names) != len(positions):
            raise BagError(
                f"{self.path}: {topic} has {len(positions)} positions of joints {', '.join(names) or '(none)'}, but "
                f"robot {self._robot.name} needs {', '.join(missing or self._robot.joint_names)}; give the robot that "
                "the bag was recorded with"
            )
        return np.asarray(positions, np.float64)[[names.index(name) for name in self._robot.joint_names]]

    def _find_topics(self) -> dict[str, Connection]:
        recorded = self._reader.connections
        if not sum(connection.msgcount for connection in recorded):
            raise BagError(f"{self.path} holds no messages; delete it and record the take again")
        found = {}
        for name, message_type in _TYPES.items():
            connection = self._find(name, message_type)
            if connection is not None:
                found[name] = connection
        return found

    def _find(self, name: str, message_type: str) -> Connection | None:
        """The connection of a topic with this name, in whatever namespace."""
        matches = [c for c in self._reader.connections if f"/{c.topic}".endswith(f"/{name}") and c.msgcount]
        if len(matches) > 1:
            topics = ", ".join(sorted(c.topic for c in matches))
            raise BagError(f"{self.path} has more than one {name}: {topics}; record one robot and camera a bag")
        if not matches:
            if name not in REQUIRED or (name == SENT and self._was_led()):
                return None
            topics = ", ".join(sorted({c.topic for c in self._reader.connections if c.msgcount}))
            raise BagError(f"{self.path} has no messages on {name}; it has {topics}. Record with demo_recorder")
        if matches[0].msgtype != message_type:
            raise BagError(f"{self.path}: {matches[0].topic} is {matches[0].msgtype}, not {message_type}")
        return matches[0]

    def _was_led(self) -> bool:
        """Whether the hand was limp and led by hand, as the first request tells."""
        requests = [c for c in self._reader.connections if f"/{c.topic}".endswith(f"/{REQUEST}") and c.msgcount]
        messages = iter(self._reader.messages(connections=requests) if requests else ())
        first = self._guarded(lambda: self._next(messages))
        return first is not None and first[1].header.frame_id == KINESTHETIC

    def _read_info(self) -> dict[str, str]:
        """The recorder's notes: the bag's custom data, or the message that demo_recorder writes first."""
        reader: Any = self._reader.readers[0]
        info = dict(getattr(reader.storage.metadata, "custom", None) or {})
        notes = [c for c in self._reader.connections if c.msgtype == NOTES_TYPE and c.topic.endswith(f"/{NOTES}")]
        for connection, _, data in self._reader.messages(connections=notes) if notes else ():
            message: Any = self._reader.deserialize(data, connection.msgtype)
            return {**json.loads(message.data), **info}
        return info


def require_ended(path: Path) -> None:
    """Raise BagError where the bag at `path`, a folder, is still being recorded: it has no metadata, and it grows."""
    storage = [] if (path / "metadata.yaml").is_file() else list(path.glob("*.mcap"))
    age = time.time() - max((file.stat().st_mtime for file in storage), default=-math.inf)
    if age < _STILL_GROWS_S:
        raise BagError(
            f"{path} is being recorded: it grew {max(0.0, age):.0f} s ago. Wait until the take is ended; if its "
            f"recorder is gone, {_next_step(path)}"
        )


def _openable(path: Path) -> Path:
    """The path that rosbags can open."""
    if path.is_file() and path.suffix in _STORAGE:
        return path
    if not path.is_dir():
        raise BagError(f"no bag at {path}; give a rosbag2 folder or its .mcap or .db3 file")
    if (path / "metadata.yaml").is_file():
        return path
    if any(path.glob("*.mcap")):
        require_ended(path)
        raise BagError(f"{path} was cut off while it was recorded; {_next_step(path)}")
    if any(path.glob("*.db3")):
        raise BagError(f"{path} has no metadata.yaml; rebuild it with `ros2 bag reindex {shlex.quote(str(path))}`")
    if any((inner / "metadata.yaml").is_file() for inner in path.iterdir()):
        raise BagError(f"{path} is a folder of takes: give the takes in it, {shlex.quote(str(path))}/*")
    raise BagError(f"{path} is not a rosbag2 folder: it has neither metadata.yaml nor an .mcap or .db3 file")


def _next_step(path: Path) -> str:
    if not any(_begins_as_bag(file) for file in _content_files(path)):
        return "its first bytes are not those of a bag: copy it again from where it was recorded, or leave it out"
    new = f"{path.with_suffix('') if path.is_file() else path}_recovered"
    return f"run `{shlex.join(['vmail', 'recover', str(path), '--out', new])}`"


def _begins_as_bag(file: Path) -> bool:
    with contextlib.suppress(OSError), file.open("rb") as content:
        return content.read(max(map(len, _MAGIC))).startswith(_MAGIC)
    return True  # what is wrong is the disk


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def _content_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in _STORAGE)
