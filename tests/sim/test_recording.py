"""Recorded demonstrations: the same ones with any number of processes, also after a stop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from vmail_core.episodes.store import read_episode, write_episode
from vmail_core.path_lock import PathLock
from vmail_sim.experts import policy, recording
from vmail_sim.experts.recording import LEAST_SCORE, REPORT, Least, Recorded, record_demonstrations

TASK, LEAST = "dclaw_valve3_ccw", Least("radians", 14.0)
STARTS = range(6)
FACTS = {"task": TASK, "image_size": 64, "options": {}, "expert": "somebody"}


@pytest.fixture(autouse=True)
def rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the starts fall short of."""
    monkeypatch.setitem(LEAST_SCORE, TASK, LEAST)


@pytest.fixture(scope="module")
def radians() -> dict[int, float]:
    """What the expert turns from each start."""
    stage = recording._Stage(FACTS)
    return {start: stage(start).provenance["score"]["radians"] for start in STARTS}


def record(out: Path, **options: object) -> Recorded:
    return record_demonstrations(TASK, 3, out, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.npz"))


def test_an_episode_that_falls_short_makes_way_for_the_next_start(tmp_path, radians):
    good = [start for start in STARTS if radians[start] > LEAST.value][:3]
    bad = [start for start in range(good[-1]) if radians[start] < LEAST.value]
    assert bad and len(good) == 3, "the rule decides nothing"
    found = record(tmp_path)
    assert list(found.kept) == good and list(found.left_out) == bad
    assert {start: score["radians"] for start, score in found.kept.items()} == {start: radians[start] for start in good}
    assert names(tmp_path) == [f"{TASK}_{start:05d}.npz" for start in good]


def test_two_processes_record_what_one_does(tmp_path):
    one, two = record(tmp_path / "one"), record(tmp_path / "two", workers=2)
    assert one == two and names(tmp_path / "one") == names(tmp_path / "two")
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / REPORT).read_text() == (tmp_path / "two" / REPORT).read_text()


def test_a_recording_goes_on_where_it_was_stopped(tmp_path):
    def stop(start: int, score: dict[str, float], kept: bool) -> None:
        if kept:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, tell=stop)
    (first,) = names(tmp_path)
    inode = (tmp_path / first).stat().st_ino
    played: list[int] = []
    found = record(tmp_path, tell=lambda start, score, kept: played.append(start))
    every = sorted(found.kept | found.left_out)
    assert len(found.kept) == 3 and played == [start for start in every if start > min(found.kept)]
    assert (tmp_path / first).stat().st_ino == inode
    played.clear()
    (tmp_path / names(tmp_path)[1]).unlink()
    assert record(tmp_path, tell=lambda start, score, kept: played.append(start)) == found
    assert played == [sorted(found.kept)[1]], "what was removed is played again, and nothing else"


def test_what_does_not_belong_together_is_not_put_together(tmp_path):
    record_demonstrations(TASK, 1, tmp_path)
    with pytest.raises(ValueError, match="with image_size 64, not 32: give another --out"):
        record_demonstrations(TASK, 1, tmp_path, image_size=32)
    facts = json.loads((tmp_path / REPORT).read_text())
    (tmp_path / REPORT).write_text(json.dumps({**facts, "expert": "another"}))
    with pytest.raises(ValueError, match="with expert another, not dclaw_valve3_ccw"):
        record_demonstrations(TASK, 1, tmp_path)
    (tmp_path / REPORT).write_text("{")
    with pytest.raises(ValueError, match=f"{REPORT} is damaged"):
        record_demonstrations(TASK, 1, tmp_path)


def test_a_file_that_no_report_tells_of_is_taken_away_only_if_it_is_its_own(tmp_path):
    record_demonstrations(TASK, 1, tmp_path)
    (name,), report = names(tmp_path), (tmp_path / REPORT).read_text()
    (tmp_path / f".{name}.1.tmp").touch()
    (tmp_path / REPORT).unlink()
    whole = (tmp_path / name).read_bytes()
    record_demonstrations(TASK, 1, tmp_path)
    assert (tmp_path / name).read_bytes() == whole and (tmp_path / REPORT).read_text() == report
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, REPORT]), "nothing is left of what stopped"
    (tmp_path / REPORT).unlink()
    episode = read_episode(tmp_path / name)
    (tmp_path / name).unlink()
    write_episode(tmp_path, dataclasses.replace(episode, provenance={"source": "somebody"}), Path(name).stem)
    with pytest.raises(ValueError, match=f"{name} is not of this recording, and no report tells what it is: give anot"):
        record_demonstrations(TASK, 1, tmp_path)
    assert read_episode(tmp_path / name).provenance == {"source": "somebody"}


def test_demonstrations_of_another_look_say_so_and_stay_by_themselves(tmp_path):
    plain, other = tmp_path / "plain", tmp_path / "other"
    record_demonstrations(TASK, 1, plain)
    record_demonstrations(TASK, 1, other, options={"look": "random", "kick": "claw"})
    first, second = (read_episode(folder / names(folder)[0]) for folder in (plain, other))
    assert first.provenance["task_options"] == {}
    assert second.provenance["task_options"] == {"look": "random", "kick": "claw"}
    assert not np.array_equal(first.image[0], second.image[0])
    with pytest.raises(ValueError, match=r"with options \{\}, not \{'look': 'random'\}: give another --out"):
        record_demonstrations(TASK, 1, plain, options={"look": "random"})
    with pytest.raises(ValueError, match=f"task {TASK} has no option 'colour'; its options: "):
        record_demonstrations(TASK, 1, tmp_path / "none", options={"colour": "red"})
    assert not (tmp_path / "none").exists()


def test_one_process_at_a_time_records_in_a_folder(tmp_path):
    with (
        PathLock(tmp_path / "demos", "mine"),
        pytest.raises(FileExistsError, match="another process records in .*demos"),
    ):
        record(tmp_path / "demos")
    assert not (tmp_path / "demos").exists()


def test_an_expert_that_never_does_well_is_an_error_and_so_is_none(tmp_path, monkeypatch):
    monkeypatch.setitem(LEAST_SCORE, TASK, Least("radians", 100.0))
    wrong = r"3 of 3 starts of dclaw_valve3_ccw are no demonstrations \(radians at least 100\), and 0 of 1 were written"
    with pytest.raises(RuntimeError, match=wrong):
        record_demonstrations(TASK, 1, tmp_path / "none")
    assert not names(tmp_path / "none")
    monkeypatch.setattr(policy, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train one with: python -m vmail_sim\.experts\.sac cheetah_run"):
        record_demonstrations("cheetah_run", 1, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_episode_in_which_something_was_dropped_is_no_demonstration(tmp_path):
    report = recording._Report(tmp_path, FACTS)
    episode = recording._Stage(FACTS)(0)
    report.add(0, dataclasses.replace(episode, provenance={**episode.provenance, "score": {"radians": 14.5}}))
    dropped = dataclasses.replace(
        episode, provenance={**episode.provenance, "score": {"radians": 14.5, "dropped": 1.0}}
    )
    report.add(1, dropped)
    assert (report.is_kept(0), report.is_kept(1)) == (True, False)


def test_a_world_that_breaks_in_every_process_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "none")
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match=f"{TASK}, seed 0, failed 3 times, at last with "):
        record(tmp_path, workers=2)
