"""The rows of one episode after the other, out of data files that several share."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vmail_core.episodes.lerobot.layout import named, open_parquet

EPISODE = "episode_index"


class EpisodeRows:
    """Opens each file once, and reads each part of it (row group) once, where episodes are asked for in their order."""

    def __init__(self, columns: list[str]) -> None:
        """Read these columns."""
        self._columns = [*columns, EPISODE]
        self._path: Path | None = None
        self._file: pq.ParquetFile | None = None
        self._parts: list[np.ndarray] = []
        self._held: list[int] = []
        self._table: pa.Table | None = None

    def __enter__(self) -> EpisodeRows:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._close()

    def of(self, path: Path, episode: int) -> pa.Table:
        """The episode's rows, in the file's order; none where it has none.

        Raises:
            FileNotFoundError, ValueError: the file is missing, damaged, or lacks a column; the message names it.
        """
        if path != self._path:
            self._open(path)
        assert self._file is not None
        parts = [number for number, episodes in enumerate(self._parts) if episode in episodes]
        if self._table is None or parts != self._held:
            self._table = None  # the memory for the next one
            with named(path):
                self._table = self._file.read_row_groups(parts, self._columns)
            self._held = parts
        return self._table.filter(pc.equal(self._table.column(EPISODE), episode))

    def _open(self, path: Path) -> None:
        self._close()
        self._file = open_parquet(path, self._columns)
        with named(path):
            groups = range(self._file.num_row_groups)
            self._parts = [_episodes(self._file, group) for group in groups]
        self._path = path

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._path, self._table, self._held, self._parts = None, None, None, [], []


def _episodes(file: pq.ParquetFile, group: int) -> np.ndarray:
    """The episodes that have rows in a part of the file."""
    return pc.unique(file.read_row_group(group, [EPISODE]).column(EPISODE)).to_numpy()
