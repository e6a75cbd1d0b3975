"""Bags written anew: `vmail recover` makes those whole that were cut off, `trim_bag` leaves out their ends."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mcap.records import Channel, Chunk, Footer, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from vmail_core.episodes.bag_reading import NOTES, NOTES_TYPE, BagError
from vmail_core.episodes.bag_writing import open_writer
from vmail_core.episodes.staging import new_folder

__all__ = ["BagError", "RecoverReport", "recover_bag", "trim_bag"]

# Between the files of a definition in IDL, as rosbag2 writes it.
_IDL_SEPARATOR = "=" * 80 + "\n"


@dataclasses.dataclass
class RecoverReport:
    """What was saved.

    Attributes:
        bag, out: paths of the broken and the new bag.
        messages: topic to number of messages saved.
        seconds: from the first message saved to the last, by log time.
        whole_seconds: from the first message that could be read to the last, but for the recorder's notes.
        broken: why reading ended, file by file; empty when only the bag's metadata was missing.
        lost_bytes: bytes behind the breaks, which could not be read.
    """

    bag: str
    out: str
    messages: dict[str, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    whole_seconds: float = 0.0
    broken: list[str] = dataclasses.field(default_factory=list)
    lost_bytes: int = 0

    def __str__(self) -> str:
        """Say it in two or three lines."""
        saved = f"{sum(self.messages.values())} messages, {self.seconds:.1f} s, of {self.bag} are saved in {self.out}"
        return "\n".join([saved, *self.broken, f"next: vmail import {shlex.quote(self.out)} --out EPISODES"])


def recover_bag(bag: str | Path, out: str | Path) -> RecoverReport:
    """Write what can be read of an MCAP bag as a new, whole bag.

    Args:
        bag: folder of the broken bag, or its .mcap file. It is not changed.
        out: folder of the new bag; it appears only when it is complete.

    Raises:
        BagError: nothing can be saved, or nothing is broken; the message says which, and what to do.
        FileExistsError: `out` exists.
    """
    bag, out = Path(bag), Path(out)
    files = _storage_files(bag)
    report = RecoverReport(str(bag), str(out))
    with new_folder(out) as stage:
        # The writer makes the bag's folder and names its files after it: it has its final name inside the new one.
        inner = stage / out.name
        known = _custom_data(bag)
        _rewrite(files, inner, report, {**(known or {}), "recovered": ""})
        if not report.broken and known is not None:
            raise BagError(f"{bag} is whole, there is nothing to recover; import it as it is")
        _lift(inner)
    return report


def trim_bag(bag: str | Path, start_s: float, end_s: float, aside: Path) -> RecoverReport:
    """Keep of an MCAP bag what was logged between two times. It is replaced only when the new one is complete.

    Args:
        bag: folder of the bag.
        start_s, end_s: seconds after its first message, but for the recorder's notes, which stay.
        aside: where the bag goes as it was; nothing may be there. Its folder is made if it is missing.

    Raises:
        BagError: the bag is broken, or nothing of it lies between the times; the message says how long it is.
    """
    bag = Path(os.path.abspath(bag))  # "takes/." and the like have no name of their own
    if not (bag / "metadata.yaml").is_file():
        raise BagError(f"{bag} is no whole bag; `vmail recover` makes one of what was cut off")
    if aside.exists():
        raise FileExistsError(f"{aside} exists already; move it away")
    if bag.is_symlink():
        raise BagError(f"{bag} is a link to {bag.resolve()}: give that")
    report, custom = RecoverReport(str(bag), str(bag)), _custom_data(bag)
    if custom is None:
        raise BagError(f"{bag} has a damaged metadata.yaml; run `{_recover(bag)}` first")
    span = f"{start_s:g} to {end_s:g} s of "
    custom["trimmed"] = span + (f"({custom['trimmed']})" if "trimmed" in custom else "what was recorded")
    with new_folder(bag, replace=True, aside=aside) as stage:
        inner = stage / bag.name
        _rewrite(_storage_files(bag), inner, report, custom, (start_s, end_s))
        if report.broken:
            raise BagError(f"{bag} is damaged ({'; '.join(report.broken)}); run `{_recover(bag)}` first")
        _lift(inner)
    return report


def _lift(inner: Path) -> None:
    """Move a folder's files up into its parent, and remove it."""
    for file in list(inner.iterdir()):
        file.rename(inner.parent / file.name)
    inner.rmdir()


def _storage_files(bag: Path) -> list[Path]:
    files = [bag] if bag.is_file() and bag.suffix == ".mcap" else sorted(bag.glob("*.mcap"))
    if files:
        # ros2 bag record splits a long bag into name_0.mcap, name_1.mcap, ..., name_10.mcap.
        return sorted(files, key=lambda file: (len(file.name), file.name))
    if bag.suffix == ".db3" or any(bag.glob("*.db3")):
        raise BagError(f"{bag} is an SQLite bag; rebuild it with `ros2 bag reindex`. Only MCAP bags survive a kill -9")
    raise BagError(f"no .mcap file at {bag}; give the folder of a bag, or its .mcap file")


def _recover(bag: Path) -> str:
    return f"vmail recover {shlex.quote(str(bag))} --out NEW"


def _custom_data(bag: Path) -> dict[str, str] | None:
    """Custom data of metadata.yaml; None where that is missing, as in a bag that was cut off, or damaged."""
    try:
        # Texts, all of them: rosbags writes YAML 1.2, of which yaml would take "No" for false and "12:30" for 750.
        metadata = yaml.load((bag / "metadata.yaml").read_text(), Loader=yaml.BaseLoader)
        custom = metadata["rosbag2_bagfile_information"].get("custom_data")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return None
    return dict(custom) if isinstance(custom, dict) else {}


def _rewrite(
    files: list[Path],
    target: Path,
    report: RecoverReport,
    custom: dict[str, str],
    kept_s: tuple[float, float] = (-math.inf, math.inf),
) -> None:
    """Write a new bag at `target`; of the messages those between two times, in seconds after the first one."""
    counts: collections.Counter[str] = collections.Counter()
    connections: dict[tuple[str, str], Connection] = {}
    notes: dict[str, str] = {}
    with contextlib.closing(open_writer(target, {})) as writer:
        first_ns, noted = None, 0
        for schema, channel, message in _salvage(files, report):
            key, log_ns = (channel.topic, schema.name), message.log_time
            if schema.name == NOTES_TYPE and channel.topic.endswith(f"/{NOTES}"):
                notes, noted = notes or _notes(message.data), noted + 1
                log_ns += round(1e9 * max(0.0, kept_s[0]))
            else:
                first_ns = log_ns if first_ns is None else first_ns
                report.whole_seconds = max(report.whole_seconds, (log_ns - first_ns) * 1e-9)
                if not kept_s[0] <= (log_ns - first_ns) * 1e-9 <= kept_s[1]:
                    continue
            counts[channel.topic] += 1
            if key not in connections:
                try:
                    connections[key] = _connect(writer, schema, channel)
                except (TypesysError, UnicodeDecodeError, KeyError) as error:  # another language, bytes, or none at all
                    kind = f"{schema.name} ({schema.encoding or 'without a definition'})"
                    raise BagError(f"{report.bag} is no bag of ROS 2: {channel.topic} holds {kind}") from error
            writer.write(connections[key], log_ns, message.data)
        if counts.total() == noted:
            raise BagError(_nothing_kept(report, kept_s))
        if "recovered" in custom:
            custom["recovered"] = "; ".join(report.broken) or "metadata rebuilt"
        for name, value in {**notes, **custom}.items():
            writer.set_custom_data(name, str(value))
        report.seconds = (writer.max_timestamp - writer.min_timestamp) / 1e9
    report.messages = dict(counts)


def _nothing_kept(report: RecoverReport, kept_s: tuple[float, float]) -> str:
    """Why a new bag would hold nothing, and what to do."""
    if math.isfinite(kept_s[0]) and report.whole_seconds > 0.0 and not report.broken:
        start, end, whole = f"{kept_s[0]:g}", f"{kept_s[1]:g}", f"{report.whole_seconds:.1f}"
        return f"{report.bag} holds nothing from {start} to {end} s: it is {whole} s long, give times from 0 to {whole}"
    broken = "; ".join(report.broken) or "it holds no such messages"
    return f"nothing of {report.bag} can be saved: {broken}; delete it and record the take again"


def _salvage(files: list[Path], report: RecoverReport) -> Iterator[tuple[Schema, Channel, Message]]:
    """Messages with their schema and channel, up to the break of each file."""
    for file in files:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in _records(file, report):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels[record.channel_id]
                yield schemas.get(channel.schema_id) or Schema(0, b"", "", ""), channel, record


def _records(file: Path, report: RecoverReport) -> Iterator[Any]:
    """Whole records of an MCAP file, those in chunks included; the break goes into the report."""
    size, good = file.stat().st_size, 0
    with file.open("rb") as stream:
        # A torn length field must not ask for more memory than the file can fill.
        reader = iter(StreamReader(stream, emit_chunks=True, record_size_limit=max(size, 1)).records)
        while True:
            try:
                record = next(reader, None)
                inner = breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]
            # Torn bytes make mcap, zstd, lz4 and struct raise errors that share no base class.
            except Exception as error:
                reason = str(error) or type(error).__name__
                report.broken.append(f"{file.name} breaks off after {good} of {size} bytes ({reason})")
                report.lost_bytes += size - good
                return
            if record is None or isinstance(record, Footer):
                return
            good = stream.tell()
            yield from inner


def _connect(writer: Writer, schema: Schema, channel: Channel) -> Connection:
    """Add the channel to the new bag, with the type definition that the old one carries."""
    definition = schema.data.decode()
    typestore = get_typestore(Stores.EMPTY)
    if schema.encoding == "ros2msg":
        typestore.register(get_types_from_msg(definition, schema.name))
    else:
        for part in definition.split(_IDL_SEPARATOR):
            idl = part.partition("\n")[2] if part.startswith("IDL: ") else part
            typestore.register(get_types_from_idl(idl) if idl.strip() else {})
    return writer.add_connection(
        channel.topic,
        schema.name,
        msgdef=definition,
        rihs01=typestore.hash_rihs01(schema.name),
        serialization_format=channel.message_encoding,
    )


def _notes(data: bytes) -> dict[str, str]:
    message: Any = get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr(data, NOTES_TYPE)
    return dict(json.loads(message.data))
