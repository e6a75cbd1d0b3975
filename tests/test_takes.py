"""`vmail takes` on copies of takes that ship: listed, filmed, trimmed and deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from rich.console import Console

from vmail.cli import main
from vmail.demo.settings import SHIPPED_TAKES
from vmail.takes import TakeFacts, read_take, table
from vmail_core.episodes.bag_import import import_bags
from vmail_core.robot import load_robot

ROBOT = load_robot("dclaw")


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    for name in ("take_0001", "take_0002"):
        shutil.copytree(SHIPPED_TAKES / name, tmp_path / "takes" / name)
    return tmp_path / "takes"


def facts(take: Path) -> TakeFacts:
    return read_take(take, ROBOT)


def cut_off(take: Path) -> None:
    (take / "metadata.yaml").unlink()


def test_takes_are_listed_with_what_they_hold(takes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["takes", str(takes)]) == 0
    said = capsys.readouterr().out
    assert "task: dclaw_valve3_ccw" in said and said.count("good") == 2 and "take_0002" in said
    found = facts(takes / "take_0001")
    assert found.commands == 80 and found.pictures >= 81 and found.seconds == pytest.approx(8.3, abs=0.5)
    assert not found.remarks and not found.trouble


def test_a_take_that_is_broken_is_listed_with_the_reason_and_the_others_too(
    takes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(takes / "take_0001")
    assert main(["takes", str(takes)]) == 1
    said = capsys.readouterr().out
    assert "vmail recover" in " ".join(said.replace("│", " ").split()) and "good" in said


def test_who_showed_it_and_who_commanded_is_listed_where_it_differs(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [
        TakeFacts(Path("take_0001"), "turn", "Ada", "gamepad", 1.0, 10, 9),
        TakeFacts(Path("take_0002"), "turn", "Ada", "policy 0a1b2c", 1.0, 10, 9),
    ]
    Console(width=120).print(table(shown))
    said = capsys.readouterr().out
    assert "task: turn, operator: Ada" in said and "operator: Ada" not in said.split("commander", 1)[1]
    assert "gamepad" in said and "policy 0a1b2c" in said


def test_trimming_keeps_what_lies_between_and_it_is_imported_as_before(takes: Path, tmp_path: Path) -> None:
    take = takes / "take_0001"
    whole = import_bags([take], tmp_path / "whole", ROBOT).sources[0]
    assert main(["takes", str(take), "--trim", "2", "6"]) == 0
    found = facts(take)
    assert found.task == "dclaw_valve3_ccw" and found.seconds == pytest.approx(4.0, abs=0.2) and not found.trouble
    part = import_bags([take], tmp_path / "part", ROBOT).sources[0]
    assert 35 <= part.rows < 42 < whole.rows and not part.gaps
    assert "trimmed: 2 to 6 s" in (take / "metadata.yaml").read_text()
    assert sorted(path.name for path in takes.iterdir()) == ["take_0001", "take_0002"], "nothing else is left behind"


def test_a_film_shows_the_take(takes: Path, tmp_path: Path) -> None:
    assert main(["takes", str(takes / "take_0002"), "--film", str(tmp_path / "deep" / "film.mp4")]) == 0
    frames = iio.imread(tmp_path / "deep" / "film.mp4", plugin="pyav")
    assert len(frames) == facts(takes / "take_0002").pictures and frames.shape[1:] == (320, 320, 3)
    assert np.ptp(frames[0]) > 50


def test_a_deleted_take_is_gone(takes: Path) -> None:
    assert main(["takes", str(takes / "take_0001"), "--delete"]) == 0
    assert [path.name for path in takes.iterdir()] == ["take_0002"]


@pytest.mark.parametrize(
    ("words", "break_it", "reason"),
    [
        (["takes/none"], None, "no take in"),
        (["takes", "--delete"], None, "is not a take"),
        (["takes/take_0001", "--trim", "5", "2"], None, "two times in seconds"),
        (["takes/take_0001", "--trim", "100", "200"], None, "nothing of"),
        (["takes/take_0001", "--trim", "1", "2"], cut_off, "vmail recover"),
        (["takes/take_0001", "--film", "film.mp4"], cut_off, "vmail recover"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error_and_changes_nothing(
    takes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, words: list[str], break_it, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if break_it:
        break_it(takes / "take_0001")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["takes", *words]) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
