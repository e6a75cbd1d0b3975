"""Rows of LeRobot's data files, however these are divided into row groups: each is read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vmail_core.episodes.lerobot.rows import EpisodeRows

LENGTHS = (6, 1, 9, 4)
NAME = "observation.state"


def write(path: Path, first: int, rows_a_group: int) -> Path:
    episodes = np.repeat(np.arange(first, first + len(LENGTHS)), LENGTHS)
    values = [[float(row), 0.0] for row in range(len(episodes))]
    pq.write_table(pa.table({NAME: values, "episode_index": episodes}), path, row_group_size=rows_a_group)
    return path


@pytest.mark.parametrize("rows_a_group", [1, 4, 100])
def test_every_episode_gets_its_rows_and_no_file_is_opened_twice(tmp_path: Path, monkeypatch, rows_a_group) -> None:
    files = [write(tmp_path / f"{number}.parquet", 4 * number, rows_a_group) for number in range(2)]
    read_groups, opened, read = pq.ParquetFile.read_row_groups, [], []

    def noted(file: pq.ParquetFile, *options: Any) -> pa.Table:
        opened.append(file)
        read.append(options)
        return read_groups(file, *options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noted)
    with EpisodeRows([NAME]) as rows:
        for episode in range(8):
            table = rows.of(files[episode // 4], episode)
            end = sum(LENGTHS[: episode % 4 + 1])
            assert [row[0] for row in table.column(NAME).to_pylist()] == list(range(end - len(table), end))
            assert len(table) == LENGTHS[episode % 4]
    assert len(set(map(id, opened))) == 2
    assert len(read) == (2 if rows_a_group == 100 else 8)


def test_an_episode_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    with EpisodeRows([NAME]) as rows:
        assert len(rows.of(write(tmp_path / "a.parquet", 0, 4), 17)) == 0


def test_trouble_names_the_file_and_the_next_one_is_read(tmp_path: Path) -> None:
    good, damaged = write(tmp_path / "good.parquet", 0, 4), tmp_path / "damaged.parquet"
    content = good.read_bytes()
    damaged.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    with EpisodeRows([NAME]) as rows:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"damaged\.parquet cannot be read"):
                rows.of(damaged, 0)
        with pytest.raises(FileNotFoundError, match=r"no file .*none\.parquet; download"):
            rows.of(tmp_path / "none.parquet", 0)
        assert len(rows.of(good, 0)) == 6
    with EpisodeRows(["speed"]) as rows, pytest.raises(ValueError, match=r"good\.parquet has no column speed"):
        rows.of(good, 0)
