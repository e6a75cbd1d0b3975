"""Demonstrations made by others, file by file, to episodes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.import_report import ImportReport, Rejection, SourceReport
from vmail_core.episodes.staging import publish, staged
from vmail_core.episodes.store import write_episode

Reader = Callable[[Path], Iterable[Episode]]


def import_files(files: Sequence[str | Path], out: str | Path, read: Reader) -> ImportReport:
    """Turn files into episodes; either all of them are in `out` at the end, or none.

    A file that cannot be used is rejected in the report, and the others are imported.

    Args:
        files: what to read.
        out: folder for the episodes and `import_report.json`; made if it is missing.
        read: gives the episodes of one file; raises OSError or ValueError with the reason when it cannot.

    Returns:
        What was read and rejected.

    Raises:
        ValueError: no file gave an episode; the message says why for each.
        FileExistsError: `out` already holds an episode of one of the files.
    """
    if not files:
        raise ValueError("no file to import")
    report = ImportReport(str(out))
    with staged(Path(out)) as stage:
        report.sources += [_import_file(Path(file), stage, read) for file in files]
        if not report.episodes:
            raise ValueError("\n".join(part.reason for source in report.sources for part in source.rejected))
        publish(stage, report)
    return report


def _import_file(file: Path, stage: Path, read: Reader) -> SourceReport:
    report = SourceReport(str(file))
    times = []
    try:
        with file.open("rb") as content:
            report.sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        origin = {"file": file.name, "sha256": report.sha256}
        for number, episode in enumerate(read(file), 1):
            name = f"{file.stem}-{report.sha256[:8]}-{number:04d}"
            noted = dataclasses.replace(episode, provenance=episode.provenance | origin)
            write_episode(stage, noted, name)
            report.episodes.append(f"{name}.npz")
            times.append(episode.time)
    except (OSError, ValueError) as error:
        report.rejected.append(Rejection("the file" if not times else f"what follows episode {len(times)}", str(error)))
    if times:
        report.add_times(times)
        report.frames = report.rows
    return report
