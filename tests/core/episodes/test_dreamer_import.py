"""Demonstrations made by others, as .npz files of the Dreamer family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmail.cli import main
from vmail_core.episodes import load_episodes
from vmail_core.episodes.dreamer_import import read_dreamer
from vmail_core.episodes.file_import import import_files


def arrays(rows: int = 6) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    action = random.uniform(-1, 1, (rows, 3)).astype(np.float32)
    action[0] = 0.0
    return {
        "image": random.integers(0, 256, (rows, 8, 8, 3), np.uint8),
        "action": action,
        "reward": np.arange(rows, dtype=np.float32),
        "discount": np.ones(rows, np.float32),
        "velocity": np.zeros((rows, 2), np.float32),
    }


def test_frames_actions_and_rewards_are_kept(tmp_path: Path) -> None:
    given = arrays()
    np.savez(tmp_path / "one.npz", **given)
    code = main(
        [
            "import",
            str(tmp_path / "one.npz"),
            "--period",
            "0.05",
            "--task",
            "walker_walk",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert code == 0
    (episode,) = load_episodes(tmp_path / "out")
    for name in ("image", "action", "reward"):
        assert np.array_equal(getattr(episode, name), given[name])
    assert episode.time == pytest.approx(0.05 * np.arange(6))
    assert episode.provenance["source"] == "dreamer npz"
    assert episode.provenance["task"] == "walker_walk"
    assert episode.provenance["file"] == "one.npz"
    assert len(episode.provenance["sha256"]) == 64


def test_without_a_period_it_asks_for_one(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "one.npz", **arrays())
    assert main(["import", str(tmp_path / "one.npz"), "--out", str(tmp_path / "out")]) == 2
    assert "--period" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": None}, "it has no array action"),
        ({"image": np.zeros((6, 8, 8), np.uint8)}, "image must be uint8"),
        ({"action": np.full((6, 3), np.nan, np.float32)}, "action has a value that is not finite"),
    ],
)
def test_a_file_that_is_no_episode_is_named(tmp_path: Path, change: dict, reason: str) -> None:
    given = {name: array for name, array in (arrays() | change).items() if array is not None}
    np.savez(tmp_path / "odd.npz", **given)
    with pytest.raises(ValueError, match=f"odd.npz is no Dreamer-style episode: {reason}"):
        read_dreamer(tmp_path / "odd.npz", 0.05)


def test_a_damaged_file_does_not_keep_the_others_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", **arrays())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-200])
    report = import_files(
        [tmp_path / "cut.npz", tmp_path / "whole.npz"], tmp_path / "out", lambda path: [read_dreamer(path, 0.05)]
    )
    assert [len(source.episodes) for source in report.sources] == [0, 1]
    assert "cut.npz" in report.sources[0].rejected[0].reason
    assert len(load_episodes(tmp_path / "out")) == 1


def test_nothing_is_written_when_no_file_is_whole(tmp_path: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"cut\.npz"):
        import_files([tmp_path / "cut.npz"], tmp_path / "out", lambda path: [read_dreamer(path, 0.05)])
    assert not (tmp_path / "out").exists()


def test_copies_are_refused_and_a_file_twice_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", **arrays())
    (tmp_path / "same.npz").write_bytes((tmp_path / "one.npz").read_bytes())

    def read(path: Path) -> list:
        return [read_dreamer(path, 0.05)]

    report = import_files([tmp_path / "one.npz", tmp_path / "same.npz"], tmp_path / "out", read)
    assert len(report.episodes) == 1 and not report.ok
    assert "same.npz has the same content as" in report.sources[1].rejected[0].reason
    with pytest.raises(ValueError, match="the same file is given twice"):
        import_files([tmp_path / "one.npz", tmp_path / "one.npz"], tmp_path / "other", read)


def test_a_disk_that_is_full_is_no_fault_of_the_file(tmp_path: Path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    np.savez(tmp_path / "one.npz", **arrays())
    monkeypatch.setattr("vmail_core.episodes.file_import.write_episode", full)
    with pytest.raises(OSError, match="No space left on device"):
        import_files([tmp_path / "one.npz"], tmp_path / "out", lambda path: [read_dreamer(path, 0.05)])
    assert not (tmp_path / "out").exists()
