"""`vmail takes` on copies of takes that ship: listed, filmed, trimmed and deleted."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import yaml
from rich.console import Console
from takes import Msg, make_take, write_bag

from vmail.cli import main
from vmail.demo.settings import SHIPPED_TAKES
from vmail.takes import TakeFacts, read_take, table
from vmail_core.episodes.bag_import import import_bags
from vmail_core.episodes.bag_reading import REQUEST, SENT
from vmail_core.episodes.quality import REJECTED, Remark, Verdict
from vmail_core.robot import load_robot
from vmail_nodes.take import DISCARDED, set_aside

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
    assert f"run `vmail recover {takes}/take_0001 --out" in said and "broken" in said and "good" in said


def test_who_showed_it_and_who_commanded_is_listed_where_it_differs(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [
        TakeFacts(Path("take_0001"), "turn", "Ada", "gamepad", 1.0, 10, 9),
        TakeFacts(Path("take_0002"), "turn", "Ada", "policy 0a1b2c", 1.0, 10, 9),
    ]
    Console(width=120).print(table(shown))
    said = capsys.readouterr().out
    assert "task: turn, operator: Ada" in said and "operator: Ada" not in said.split("commander", 1)[1]
    assert "gamepad" in said and "policy 0a1b2c" in said


def test_who_commanded_is_told_by_the_commands_themselves(tmp_path: Path) -> None:
    def by_turns(message: Msg) -> Msg:
        return dataclasses.replace(message, commander="policy" if message.stamp_ns < handed_over else "keyboard")

    messages = make_take(ticks=40)
    handed_over = [message.stamp_ns for message in messages if message.topic == SENT][10]
    bag = write_bag(tmp_path / "take_0001", [by_turns(m) if m.topic in (REQUEST, SENT) else m for m in messages])
    assert facts(bag).commander == "keyboard 75 %, policy 25 %"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_list_fits_its_terminal(capsys: pytest.CaptureFixture[str], width: int) -> None:
    remark = Remark(Verdict.WARN, "nothing moves in the last 3.2 s: trim it")
    shown = [
        TakeFacts(Path(f"take_{number:04d}"), "dclaw_valve3_ccw", f"Ada {number}", commander, 8.3, 84, 80, (remark,))
        for number, commander in enumerate(("keyboard", "policy 0a1b2c 60 %, keyboard 40 %"))
    ]
    Console(width=width, soft_wrap=True).print(table(shown))
    said = capsys.readouterr().out
    assert "take_0000: nothing moves in the last 3.2 s: trim it\n" in said
    rows = said.partition("take_0000: ")[0].splitlines()
    assert max(map(len, rows)) <= width
    assert "take_0001" in said and "usable" in said and ("policy 0a1b2c 60 %, keyboard 40 %" in said) == (width > 60)


def test_trimming_keeps_what_lies_between_and_it_is_imported_as_before(takes: Path, tmp_path: Path) -> None:
    take = takes / "take_0001"
    whole = import_bags([take], tmp_path / "whole", ROBOT).sources[0]
    assert main(["takes", str(take), "--trim", "2", "6"]) == 0
    found = facts(take)
    assert found.task == "dclaw_valve3_ccw" and found.seconds == pytest.approx(4.0, abs=0.2) and not found.trouble
    part = import_bags([take], tmp_path / "part", ROBOT).sources[0]
    assert 35 <= part.rows < 42 < whole.rows and not part.gaps
    assert "trimmed: 2 to 6 s" in (take / "metadata.yaml").read_text()
    there = [".untrimmed", "take_0001", "take_0002"]
    assert sorted(path.name for path in takes.iterdir()) == there, "nothing else is left behind"


def test_trimming_says_what_it_kept_and_loses_nothing(takes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take, first, second = takes / "take_0001", takes / ".untrimmed" / "take_0001", takes / ".untrimmed" / "take_0001_2"
    before = {path.name: path.read_bytes() for path in take.iterdir()}
    assert main(["takes", str(take), "--trim", "2", "100"]) == 0
    said = capsys.readouterr().out
    assert "2.0 to 8.6 s of 8.6 s are kept" in said and f"the whole take is now {first}" in said
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert main(["takes", str(take), "--trim", "1", "3"]) == 0
    assert f"1.0 to 3.0 s of 6.6 s are kept, {sum_messages(take)} messages" in capsys.readouterr().out
    assert second.is_dir() and "1 to 3 s of (2 to 100 s of" in (take / "metadata.yaml").read_text()
    assert main(["takes", str(takes)]) == 0
    said = capsys.readouterr().out
    assert f"2 takes kept as before trimming: `vmail takes {takes}/.untrimmed` lists them, `rm -r {takes}" in said


def test_a_take_may_be_named_from_inside(takes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(takes / "take_0001")
    assert main(["takes", ".", "--trim", "1", "3"]) == 0
    assert facts(takes / "take_0001").seconds < 3.0 and (takes / ".untrimmed" / "take_0001").is_dir()


def test_rejected_takes_are_told_of(takes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_aside(takes / "take_0001", REJECTED)
    assert main(["takes", str(takes)]) == 0
    said = capsys.readouterr().out
    assert f"1 take rejected: `vmail takes {takes}/.rejected` says why, `rm -r {takes}/.rejected` deletes them" in said
    set_aside(takes / "take_0002", REJECTED)
    assert main(["takes", str(takes)]) == 2
    assert "no take in" in (said := capsys.readouterr().err) and "2 takes rejected" in said and said.count("\n") == 1
    assert main(["takes", str(takes / ".rejected")]) == 0
    assert capsys.readouterr().out.count("good") == 2


def test_discarded_takes_are_told_of_and_come_back_as_is_said(takes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_aside(takes / "take_0002", DISCARDED)
    assert main(["takes", str(takes)]) == 0
    told = f"1 take discarded after being kept: `mv {takes}/.discarded/TAKE {takes}/` brings one back"
    assert told in capsys.readouterr().out
    subprocess.run(["mv", takes / ".discarded" / "take_0002", f"{takes}/"], check=True)
    assert main(["takes", str(takes)]) == 0 and "discarded" not in capsys.readouterr().out


def sum_messages(take: Path) -> int:
    return yaml.safe_load((take / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["message_count"]


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
        (["takes/take_0001", "--trim", "100", "200"], None, "it is 8.6 s long, give times from 0 to 8.6"),
        (["takes/take_0001", "--trim", "2.001", "2.002"], None, "it is 8.6 s long"),
        (["takes/take_0001", "--trim", "nan", "2"], None, "two times in seconds"),
        (["takes/take_0001/metadata.yaml"], None, "is a file; give a folder of takes"),
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


def test_a_stray_file_hides_no_take_but_keeps_it_from_being_deleted(
    takes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (takes / "take_0001" / "notes.txt").write_text("the good one")
    (takes / "take_0002" / "metadata.yaml.tmp").write_text("")  # as a full disk leaves it
    assert main(["takes", str(takes)]) == 0
    said = capsys.readouterr().out
    assert "take_0001" in said and "take_0002" in said
    assert main(["takes", str(takes / "take_0001"), "--delete"]) == 2
    assert "notes.txt" in capsys.readouterr().err and (takes / "take_0001").is_dir()
    assert main(["takes", str(takes / "take_0002"), "--delete"]) == 0
    assert not (takes / "take_0002").exists()


def test_what_is_to_be_typed_can_be_copied_as_it_is(takes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spaced = takes.rename(takes.parent / "my takes")
    set_aside(spaced / "take_0001", REJECTED)
    assert main(["takes", str(spaced)]) == 0
    assert f"`rm -r '{spaced}/{REJECTED}'`" in capsys.readouterr().out
    cut_off(spaced / "take_0002")
    assert main(["takes", str(spaced)]) == 1
    assert f"`vmail recover '{spaced}/take_0002' --out" in capsys.readouterr().out


def test_links_to_takes_are_left_alone(takes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = takes / "best"
    link.symlink_to("take_0001")
    for act in (["--delete"], ["--trim", "0", "3"]):
        assert main(["takes", str(link), *act]) == 2
        assert "is a link to" in capsys.readouterr().err
    assert link.is_symlink() and facts(takes / "take_0001").trouble == ""


def test_deleting_the_take_that_one_stands_in(takes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(takes / "take_0001")
    assert main(["takes", ".", "--delete"]) == 0
    assert not (takes / "take_0001").exists() and (takes / "take_0002").is_dir()


def test_trimming_keeps_labels_as_they_are_and_checksums(tmp_path: Path) -> None:
    labels = {"operator": "No", "task": "12:30", "take": "on"}
    bag = write_bag(tmp_path / "take_0001", make_take(ticks=40), notes=labels)
    assert main(["takes", str(bag), "--trim", "0", "2"]) == 0
    found = facts(bag)
    assert (found.operator, found.task) == ("No", "12:30")
    (file,) = bag.glob("*.mcap")
    whole = file.read_bytes()
    random, noticed, silent = np.random.default_rng(0), 0, 0
    told = [(take.pictures, take.commands, take.seconds) for take in [facts(bag)]]
    for place in random.integers(len(whole) // 4, len(whole) // 2, 8):  # among the pictures
        file.write_bytes(whole[:place] + bytes((whole[place] ^ 8,)) + whole[place + 1 :])
        spoilt = facts(bag)
        noticed += bool(spoilt.trouble)
        silent += not spoilt.trouble and [(spoilt.pictures, spoilt.commands, spoilt.seconds)] != told
    assert noticed >= 6 and not silent
