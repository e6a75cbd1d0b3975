"""Demonstrations made by others, file by file or dataset by dataset, to episodes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vmail_core.episodes.commanders import commands_by
from vmail_core.episodes.episode import VIA, Episode
from vmail_core.episodes.frames import at_size
from vmail_core.episodes.hashing import sha256_of
from vmail_core.episodes.import_report import ImportReport, Note, Rejection, SourceReport, copy_of
from vmail_core.episodes.staging import publish, staged
from vmail_core.episodes.store import write_episode

Found = Episode | Rejection | Note
Reader = Callable[[Path], Iterable[Found]]


def import_files(
    files: Sequence[str | Path], out: str | Path, read: Reader, image_size: int | None = None
) -> ImportReport:
    """Turn files into episodes; either all of them are in `out` at the end, or none.

    A file or demonstration that cannot be used is rejected in the report, and the others are imported.

    Args:
        files: what to read; one that is a folder is a dataset.
        out: folder for the episodes and `import_report.json`; made if it is missing.
        read: gives what is in one file; raises OSError or ValueError with the reason when it cannot be read.
        image_size: side of the square frames of the episodes; by default as they are.

    Returns:
        What was read and rejected.

    Raises:
        ValueError: no file gave an episode, and the message says why for each; or a file is given twice.
        FileExistsError: `out` already holds an episode of one of the files.
        OSError: an episode cannot be written; nothing was moved into `out`.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError("no file to import")
    if len({path.resolve() for path in paths}) != len(paths):
        raise ValueError("the same file is given twice")
    report = ImportReport(str(out))
    with staged(Path(out)) as stage:
        for path in paths:
            report.sources.append(_import_file(path, stage, read, image_size, report.sources))
        if not report.episodes:
            raise ValueError("\n".join(part.reason for source in report.sources for part in source.rejected))
        publish(stage, report)
    return report


def _import_file(
    file: Path, stage: Path, read: Reader, image_size: int | None, earlier: list[SourceReport]
) -> SourceReport:
    report = SourceReport(str(file))
    times = []
    number = 0
    for found in _contents(file, read, report, earlier):
        if isinstance(found, Note):
            report.notes.append(found.text)
            continue
        number += 1
        if isinstance(found, Rejection):
            report.rejected.append(found)
            continue
        try:
            episode = at_size(found, image_size) if image_size else found
        except ValueError as error:
            report.rejected.append(Rejection(f"demonstration {number}", f"{file}: {error}"))
            continue
        provenance = _with_origin(episode.provenance, {"file": file.name, "sha256": report.sha256})
        name = f"{file.resolve().stem.lstrip('.')}-{report.sha256[:8]}-{number:04d}"
        write_episode(stage, dataclasses.replace(episode, provenance=provenance), name)
        report.add_commands(commands_by(provenance, len(episode)))
        report.episodes.append(f"{name}.npz")
        times.append(episode.time)
    if times:
        report.add_times(times)
        report.frames = report.rows
    return report


def _with_origin(notes: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
    """The provenance with the file in it; where the episode only went through that, with the last dataset's notes."""
    if VIA not in notes:
        return notes | origin
    *before, last = notes[VIA]
    return notes | {VIA: [*before, last | origin]}


def _contents(file: Path, read: Reader, report: SourceReport, earlier: list[SourceReport]) -> Iterator[Found]:
    """What is in the file; trouble with reading it ends as a rejection. Trouble with writing is not caught here."""
    try:
        if not file.exists():
            raise FileNotFoundError(f"no file {file}; check the path")
        report.sha256 = _digest(file)
        copied = copy_of(report.sha256, earlier)
        if copied:
            raise ValueError(f"{file} has the same content as {copied}; give one of them")
        yield from read(file)
    except (OSError, ValueError) as error:
        yield Rejection("the file", str(error))


def _digest(path: Path) -> str:
    """SHA-256 of a file's content; of a folder's, the names and contents of its files, hidden ones left out."""
    if not path.is_dir():
        return sha256_of([path])
    names = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    seen = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    return hashlib.sha256("".join(f"{name} {_digest(path / name)}\n" for name in seen).encode()).hexdigest()
