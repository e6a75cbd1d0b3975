"""Experts by SAC: the plumbing of a training, which starts, is stopped, and goes on. What they learn is in results/."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vmail_sim.experts import load_expert, sac


@pytest.mark.parametrize(
    ("task", "state", "actions", "score"),
    [
        ("walker_walk", 24, 6, "return"),
        ("dclaw_valve3_cw", 30, 9, "radians"),
    ],
)
def test_a_training_goes_on_where_it_was(
    task: str, state: int, actions: int, score: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sac, "EVERY", 100)
    monkeypatch.setattr(sac, "EVALUATED", 1)
    out, work = tmp_path / "expert.safetensors", tmp_path / "work"
    for steps in ("200", "300"):
        sac.main([task, "--steps", steps, "--out", str(out), "--work", str(work)])
    rows = [json.loads(line) for line in sac.curve_of(out).read_text().splitlines()]
    assert [row["steps"] for row in rows] == [100, 200, 300]
    best = max(rows, key=lambda row: row["merit"])
    assert best["merit"] == best[f"{score}_mean"] + best[f"{score}_min"]
    expert = load_expert(out)
    assert expert.metadata["steps"] == best["steps"]
    assert expert(np.zeros(state, np.float32)).shape == (actions,)
    sac.main([task, "--steps", "100", "--out", str(out)])
    assert len(sac.curve_of(out).read_text().splitlines()) == 1, "a new training has a curve of its own"


def test_a_training_begins_with_the_networks_of_a_kindred_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sac, "EVERY", 100)
    monkeypatch.setattr(sac, "EVALUATED", 1)
    walk, stand, work = tmp_path / "walk.safetensors", tmp_path / "stand.safetensors", tmp_path / "work"
    given = ["walker_stand", "--steps", "100", "--seed", "1", "--out", str(stand), "--start-from", str(work)]
    with pytest.raises(SystemExit):
        sac.main(given)
    assert f"{work} holds no sac.zip: train that one first, with --work" in capsys.readouterr().err

    sac.main(["walker_walk", "--steps", "100", "--out", str(walk), "--work", str(work)])
    sac.main(given)
    with pytest.raises(SystemExit):
        sac.main(["walker_stand", "--steps", "200", "--out", str(stand), "--work", str(work)])
    assert f"{work} holds a training with task walker_walk, not walker_stand: give another" in capsys.readouterr().err
    before, after = load_expert(walk), load_expert(stand)
    state = np.ones(24, np.float32)
    np.testing.assert_array_equal(before(state), after(state), "nothing is learned in the first 1000 steps")
    assert after.metadata["command"].endswith(f"walker_stand --steps 100 --seed 1 --start-from {work}")


def test_tasks_without_a_recipe_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        ValueError, match="no recipe for the expert of chess; there are some for: cheetah, dclaw_valve, "
    ):
        sac.recipe_of("chess")
    with pytest.raises(SystemExit):
        sac.main(["chess"])
    assert "invalid choice: 'chess'" in capsys.readouterr().err
