"""Tables in terminals of any width: whole columns go, and nothing is cut."""

from __future__ import annotations

import pytest
from rich.console import Console

from vmail.tables import Column, FittingTable

COLUMNS = [
    Column("run", ["a_run_with_a_long_name", "b"]),
    Column("minutes", ["12.5", "3.1"], 2, right=True),
    Column("task", ["walker_walk", "cheetah_run"], 1),
    Column("best", ["950.1", "-"], right=True),
]


def shown(width: int) -> list[str]:
    console = Console(width=width, soft_wrap=True)
    with console.capture() as captured:
        console.print(FittingTable(COLUMNS, "runs in /somewhere"))
    return captured.get().splitlines()


def test_all_columns_where_there_is_room() -> None:
    title, heads, _, first, second = shown(80)
    assert title == "runs in /somewhere"
    assert heads.split() == ["run", "minutes", "task", "best"]
    assert first.split() == ["a_run_with_a_long_name", "12.5", "walker_walk", "950.1"]
    assert second.split() == ["b", "3.1", "cheetah_run", "-"]


def test_the_least_important_column_goes_first_and_is_named() -> None:
    _, heads, *_, left_out = shown(45)
    assert heads.split() == ["run", "task", "best"]
    assert left_out == "a wider terminal also shows: minutes"


def test_a_line_becomes_a_paragraph_where_nothing_else_fits() -> None:
    _, name, *said, other, more, rest = shown(24)
    assert name == "a_run_with_a_long_name" and other == "b"
    assert " ".join(" ".join(said).split()) == "minutes 12.5, task walker_walk, best 950.1"
    assert more.startswith("  minutes 3.1") and rest == "  cheetah_run, best -"


@pytest.mark.parametrize("width", range(12, 90, 6))
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, shown(width))) <= max(width, 22), "a name has no place to break at"
