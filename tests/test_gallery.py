"""`vmail tasks` and its gallery."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import pytest

from vmail import cli
from vmail_sim.experts import policy

WITH, WITHOUT = "dclaw_pose", "cheetah_run"  # an expert, where trained ones do not ship


@pytest.fixture(autouse=True)
def _without_trained_experts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "WEIGHTS", tmp_path)


def test_the_gallery_shows_every_task_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tasks", "--gallery", str(tmp_path), "--task", WITH, WITHOUT]
    assert cli.main(command) == 0
    assert str(tmp_path / "index.html") in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text()
    assert f"<b>{WITH}</b>" in page and f"<b>{WITHOUT}</b>" in page
    assert page.count("<video") == 1 and f"vmail_sim.experts.sac {WITHOUT}" in page
    known = json.loads((tmp_path / f"{WITH}.json").read_text())
    assert known["scores"]["expert"]["success"] > 0.9 > 0.2 > known["scores"]["random actions"]["success"]
    film = iio.imread(tmp_path / f"{WITH}.mp4", plugin="pyav")
    assert film.shape == (known["steps"], 240, 240, 3)
    assert film[0].std() > 10.0 and abs(film[0].astype(int) - film[-1]).mean() > 1.0

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert cli.main(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}, "what is there is kept"
    known["made_by"]["expert"] = "another"
    (tmp_path / f"{WITH}.json").write_text(json.dumps(known))
    assert cli.main(command[:-1]) == 0
    assert json.loads((tmp_path / f"{WITH}.json").read_text())["made_by"]["expert"] != "another"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert cli.main([*command[:-1], "--again"]) == 0
    assert (tmp_path / f"{WITH}.json").stat().st_mtime_ns > before[tmp_path / f"{WITH}.json"]
    assert f"<b>{WITHOUT}</b>" not in (tmp_path / "index.html").read_text()


def test_only_known_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks", "--task", WITH, WITHOUT]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == [WITH, *f"expert ships vmail train fast/dclaw_cpu --set task={WITH}".split()]
    assert second.split()[:6] == [WITHOUT, *"no expert vmail train fast/walker_cpu".split()]
    assert cli.main(["tasks", "--task", "juggling"]) == 2
    assert "no task 'juggling'; known tasks:" in capsys.readouterr().err
