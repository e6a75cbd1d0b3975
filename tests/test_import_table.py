"""What `vmail import` prints: who commanded, and a table that can be read in a narrow terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console
from takes import ROBOT, Msg, make_take, stamps, without, write_bag

from vmail.cli import main
from vmail.import_table import import_table
from vmail_core.episodes import load_episodes
from vmail_core.episodes.bag_import import import_bags
from vmail_core.episodes.bag_reading import IMAGE, REQUEST, SENT
from vmail_core.episodes.commanders import commands_by, in_words
from vmail_core.episodes.import_report import ImportReport, SourceReport


def shown(report: ImportReport, width: int) -> str:
    console = Console(width=width, soft_wrap=True)
    with console.capture() as captured:
        console.print(import_table(report))
    return captured.get()


def test_who_commanded_is_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = make_take(ticks=12, seed=5)
    handed_over = stamps(messages, SENT)[8]

    def named(message: Msg, late: str) -> Msg:
        who = "policy" if message.stamp_ns < handed_over else late
        return dataclasses.replace(message, commander=who) if message.topic in (REQUEST, SENT) else message

    bags = [
        write_bag(tmp_path / late, [named(message, late) for message in messages]) for late in ("keyboard", "policy")
    ]
    assert main(["import", *map(str, bags), "--out", str(tmp_path / "out"), "--image-size", "16"]) == 0
    said = capsys.readouterr().out
    assert "commanded by" in said and "policy 67 %, keyboard 33 %" in said
    for episode in load_episodes(tmp_path / "out"):
        assert in_words(commands_by(episode.provenance, len(episode))) in ("policy", "policy 67 %, keyboard 33 %")


def test_takes_that_do_not_tell_get_no_such_column(tmp_path: Path) -> None:
    report = import_bags([write_bag(tmp_path / "bag", make_take(ticks=8))], tmp_path / "out", ROBOT)
    assert "commanded" not in shown(report, 140)


def test_what_was_split_and_rejected_is_below_the_table(tmp_path: Path) -> None:
    messages = make_take(ticks=30)
    lost = without(messages, IMAGE, stamps(messages, IMAGE)[10])
    text = shown(import_bags([write_bag(tmp_path / "bag", lost)], tmp_path / "out", ROBOT), 140)
    assert "2 episodes" in text
    assert "bag: split after 1.10 s: gap of 0.20 s" in text


@pytest.mark.parametrize("width", [30, 60, 80, 160])
def test_columns_go_the_least_important_first(width: int) -> None:
    numbers = {"rows": 81, "seconds": 8.0, "rate_mean": 10.0, "rate_min": 8.25, "rate_max": 12.71}
    sources = [
        SourceReport(f"takes/take_{n:04d}", episodes=["a"], radians_turned=[13.0], commands={"expert": 80}, **numbers)
        for n in range(3)
    ]
    text = shown(ImportReport("episodes", "dclaw", sources), width)
    assert max(map(len, text.splitlines())) <= width and "take_0002" in text
    assert ("expert" in text) == (width >= 60) and ("8.25-12.71" in text) == (width >= 80)
    assert ("a wider terminal also shows" in text) == (width < 160)


def test_provenance_says_who_commanded() -> None:
    by_turns = {"commanders": [{"name": "policy", "from_row": 1}, {"name": "", "from_row": 5}]}
    assert commands_by(by_turns, 11) == {"policy": 4, "": 6}
    assert in_words(commands_by(by_turns, 11)) == "unknown 60 %, policy 40 %"
    assert commands_by({"commander": "leader"}, 11) == {"leader": 10}
    assert commands_by({"source": "expert in simulator"}, 11) == {"expert": 10}
    assert commands_by({}, 11) == {} and in_words({}) == in_words({"": 3}) == ""
