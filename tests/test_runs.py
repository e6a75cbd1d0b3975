"""`vmail runs` and `vmail compare`, on runs whose curves the test wrote."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from vmail.cli import main
from vmail.runs import find_runs, group_runs
from vmail_core.learners.config import load_config
from vmail_core.learners.run_folder import RunFolder


def make_run(path: Path, scores: list[float], score: str = "radians", first: int = 1, **settings: object) -> None:
    run = RunFolder(path)
    config = load_config("debug", {name.replace("__", "."): value for name, value in settings.items()})
    run.begin(config, ["a", "b"], score)
    for number, value in enumerate(scores, first):
        run.log(10 * number, {f"eval_{score}": value, "seconds": 60.0 * number, "env_steps": 5.0 * number})


def test_seeds_are_pooled_and_settings_kept_apart(tmp_path: Path) -> None:
    make_run(tmp_path / "a0", [1.0, 2.0, 3.0], train__seed=0)
    make_run(tmp_path / "a1", [3.0, 6.0], train__seed=1, train__eval_every=9)
    make_run(tmp_path / "b0", [0.0, 0.5], policy__imitation=0.0)
    plain, cloning = group_runs(find_runs([tmp_path]))
    assert (plain.label, plain.seeds, cloning.label) == ("policy.imitation=1.0", 2, "policy.imitation=0.0")
    assert plain.axes["update"].tolist() == [10, 20], "the third evaluation is one seed's alone"
    assert (plain.mean.tolist(), plain.low.tolist(), plain.high.tolist()) == ([2.0, 4.0], [1.0, 2.0], [3.0, 6.0])
    assert plain.axes["minutes"].tolist() == [1.0, 2.0]


def test_options_of_the_task_and_numbers_of_demonstrations_are_kept_apart(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [1.0])
    make_run(tmp_path / "b", [2.0], train__seed=1, task_options__look="classic")
    make_run(tmp_path / "c", [3.0], train__seed=2)
    facts = tmp_path / "c" / "run.json"
    facts.write_text(facts.read_text().replace('"b"', '"b", "third"'))
    labels = [group.label for group in group_runs(find_runs([tmp_path]))]
    assert labels == [
        "demos=2, task_options={}",
        "demos=2, task_options={'look': 'classic'}",
        "demos=3, task_options={}",
    ]


def test_runs_on_other_demonstrations_are_not_pooled(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [1.0])
    make_run(tmp_path / "b", [2.0], train__seed=1)
    facts = tmp_path / "b" / "run.json"
    facts.write_text(facts.read_text().replace('"b"', '"c"'))
    groups = group_runs(find_runs([tmp_path]))
    assert [group.seeds for group in groups] == [1, 1]
    assert all(group.label.startswith("demo_set=") for group in groups)


def test_compare_draws_and_writes_its_numbers(tmp_path: Path, capsys) -> None:
    make_run(tmp_path / "a0", [1.0, 2.0])
    assert main(["compare", str(tmp_path / "a0"), "--out", str(tmp_path / "out" / "curves.svg")]) == 0
    assert "<svg" in (tmp_path / "out" / "curves.svg").read_text()
    with (tmp_path / "out" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["update"], row["mean"]) for row in rows] == [("10", "1"), ("20", "2")]
    assert "last 2.0" in capsys.readouterr().out


def test_runs_lists_also_one_that_another_version_began(tmp_path: Path, capsys) -> None:
    make_run(tmp_path / "old", [7.0, 5.0], score="return")
    config = tmp_path / "old" / "config.yaml"
    config.write_text(config.read_text() + "a_setting_of_old: 1\n")
    make_run(tmp_path / "young", [])
    assert main(["runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "20/8" in text and "7.0" in text and "return" in text
    assert "0/8" in text


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: None, "no run in"),
        (lambda folder: make_run(folder / "young", []), "has no evaluation yet"),
        (
            lambda folder: (make_run(folder / "a", [1.0]), make_run(folder / "b", [1.0], score="return")),
            "judged by different scores",
        ),
        (lambda folder: (make_run(folder / "a", [1.0]), make_run(folder / "b", [2.0])), "are the same run"),
        (
            lambda folder: (make_run(folder / "a", [1.0]), make_run(folder / "b", [2.0], train__seed=1, first=3)),
            "were never evaluated at the same update",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys, make, reason: str) -> None:
    make(tmp_path)
    assert main(["compare", str(tmp_path), "--out", str(tmp_path / "x.png")]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
