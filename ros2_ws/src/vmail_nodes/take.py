"""One take on disk: a rosbag2 bag that grows message by message and survives its recorder's death."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
import shlex
import shutil
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import WriterError
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys import Stores, get_typestore

from vmail_core.durable import sync
from vmail_core.episodes.bag_writing import open_writer

NOTES_TYPE = "std_msgs/msg/String"
DISCARDED, UNTRIMMED = ".discarded", ".untrimmed"
"""Folders beside takes, of those that the operator did not want, and as they were before `vmail takes --trim`."""
_PREFIX = "take_"


class TakeError(OSError):
    """A take cannot be written; the message names the folder, the reason and the next step."""


@dataclasses.dataclass(frozen=True)
class TakeSummary:
    """What a finished take holds: messages by topic, and seconds from the first to the last."""

    path: Path
    counts: dict[str, int]
    seconds: float


class Take:
    """A bag that is being written.

    Messages lie in memory until `flush` ends their MCAP chunk and hands it to the kernel: call it twice a second, and
    a kill loses half a second. Only `close` writes metadata.yaml; a bag without it was cut off.
    """

    def __init__(self, path: Path, topics: dict[str, str], notes_topic: str, notes: dict[str, str], stamp_ns: int):
        """Create the bag.

        Args:
            path: folder of the bag; must not exist.
            topics: topic name to message type ("sensor_msgs/msg/Image") of what will be written.
            notes_topic, notes: where the take came from; custom data of the bag, and its first message, since a bag
                that is cut off has no custom data.
            stamp_ns: log time of that message.

        Raises:
            TakeError: the folder cannot be written or exists.
        """
        self.path = path
        self.counts: collections.Counter[str] = collections.Counter()
        self._types = {**topics, notes_topic: NOTES_TYPE}
        self._typestore = get_typestore(Stores.ROS2_KILTED)
        self._connections: dict[str, Connection] = {}
        self._last_ns = 0
        try:
            self._writer = open_writer(path, notes)
        except (OSError, WriterError) as error:
            raise TakeError(f"cannot create {path}: {error}; choose another output folder") from error
        text = self._typestore.types[NOTES_TYPE](data=json.dumps(notes))
        self.write(notes_topic, stamp_ns, bytes(self._typestore.serialize_cdr(text, NOTES_TYPE)))
        self.flush()

    def write(self, topic: str, log_ns: int, data: bytes) -> None:
        """Append a serialised message. Log times are made to increase, so that readers keep the order of arrival.

        Raises:
            TakeError: the disk does not take it.
        """
        self._last_ns = max(log_ns, self._last_ns + 1)
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, self._types[topic], typestore=self._typestore)
        try:
            self._writer.write(self._connections[topic], self._last_ns, data)
        except OSError as error:
            raise self._unwritable(error) from error
        self.counts[topic] += 1

    def flush(self) -> None:
        """End the chunk and hand it to the kernel.

        Raises:
            TakeError: the disk does not take it.
        """
        storage = self._writer.storage
        # An empty chunk would carry impossible times.
        if isinstance(storage, McapWriter) and storage.chunk.msgs:
            try:
                storage.close_chunk()
                storage.bio.flush()
            except OSError as error:
                raise self._unwritable(error) from error

    def close(self, notes: dict[str, str] | None = None) -> TakeSummary:
        """Finish the bag, down to the disk; `notes` are added to its custom data.

        Raises:
            TakeError: the disk does not take it; what was flushed can be recovered.
        """
        for key, value in (notes or {}).items():
            self._writer.set_custom_data(key, value)
        try:
            self._writer.close()
            for file in self.path.iterdir():
                sync(file)
            sync(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        seconds = (self._writer.max_timestamp - self._writer.min_timestamp) / 1e9
        return TakeSummary(self.path, dict(self.counts), seconds)

    def discard(self) -> None:
        """Delete the take."""
        self._writer.abort()
        delete_take(self.path)

    def _unwritable(self, error: OSError) -> TakeError:
        # The writer's buffer still holds what the disk refused: closing the file must not try again.
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            storage.bio.raw.close()
        recover = shlex.join(["vmail", "recover", str(self.path), "--out", f"{self.path}_recovered"])
        return TakeError(
            f"cannot write {self.path}: {error.strerror or error}; free some space, then save what was written with "
            f"`{recover}`, or delete it"
        )


def next_take(folder: Path) -> Path:
    """Path of the next take: one above the highest in the folder, and of discarded takes, which may come back."""
    found = itertools.chain(folder.glob(f"{_PREFIX}*"), (folder / DISCARDED).glob(f"{_PREFIX}*"))
    numbers = [path.name.removeprefix(_PREFIX) for path in found]
    return folder / f"{_PREFIX}{max((int(n) for n in numbers if n.isdecimal()), default=0) + 1:04d}"


def first_take(folder: Path) -> Path | None:
    """The finished take with the lowest number in the folder; None if there is none."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()]
    finished = [path for path in found if (path / "metadata.yaml").is_file()]
    return min(finished, key=lambda path: int(path.name.removeprefix(_PREFIX)), default=None)


def number_of(path: Path) -> str:
    """A take's name as people say it: "take 4" of take_0004."""
    return f"take {int(path.name.removeprefix(_PREFIX))}"


def set_aside(path: Path, folder: str) -> Path:
    """Put a take into REJECTED or DISCARDED beside it, out of the way of imports; returns its new place."""
    place = free_place(path.parent / folder, path.name)
    place.parent.mkdir(exist_ok=True)
    return path.rename(place)


def free_place(folder: Path, name: str) -> Path:
    """Where a take of that name can be put: with a number where there is one already."""
    places = itertools.chain([folder / name], (folder / f"{name}_{number}" for number in itertools.count(2)))
    return next(place for place in places if not place.exists())


def delete_take(path: Path) -> None:
    """Delete a take; it is gone at once even when deleting its files takes time or is interrupted.

    Raises:
        OSError: `path` is a link to a take, or the take cannot be deleted.
    """
    path = Path(os.path.abspath(path))  # "takes/." and the like have no name of their own
    if path.is_symlink():
        raise OSError(f"{path} is a link to {path.resolve()}: give that")
    doomed = path.with_name(f".discarded-{path.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed)
