"""benchmarks/claw_study.py end to end, as small as it goes: every method once, then nothing left to do."""

from __future__ import annotations

import csv
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmail.demo.settings import ROOT
from vmail.demo.study import METHODS, read_study
from vmail_core.episodes import Episode, write_episode
from vmail_core.learners import bc


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, demonstrations: list[Episode]) -> Any:
    """The benchmark's module with one start, short demonstrations and hardly any cloning."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import claw_study
    import state_clone

    monkeypatch.setattr(claw_study, "STARTS", 1)
    monkeypatch.setattr(claw_study, "CloningConfig", functools.partial(bc.CloningConfig, updates=2, depth=4))
    monkeypatch.setattr(claw_study, "expert_episodes", lambda task, count: demonstrations)
    monkeypatch.setattr(state_clone, "UPDATES", 300)
    return claw_study


@pytest.fixture
def command(
    small: dict[str, Any], demonstrations: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Sets the command line of a study of one seed and demonstration, with more words; returns its results' file."""

    def build(*words: str) -> Path:
        preset, work, out = tmp_path / "small.yaml", tmp_path / "work", tmp_path / "study.json"
        preset.write_text(yaml.safe_dump(small))
        write_episode(work / "episodes", demonstrations[0], "demo")
        common = ["--counts", "1", "--seeds", "0", "--preset", str(preset), "--work", str(work), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["claw_study.py", *common, *words])
        return out

    return build


def test_every_cell_is_measured_once(study: Any, command: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out = command("--updates", "10")
    assert study.main() == 0
    found = json.loads(out.read_text())
    assert [run["method"] for run in found["runs"]] == list(METHODS)
    assert [run["config"].get("policy", {}).get("imitation") for run in found["runs"]] == [1.0, 0.0, None]
    assert set(found["controls"]) == {"expert", "full-state clone", "hold pose", "zero action", "random"}
    expert, clone = (found["controls"][name]["plain"]["radians"][0] for name in ("expert", "full-state clone"))
    assert expert > 10.0 and clone > 1.0
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    assert float(rows[0]["radians"]) == pytest.approx(found["runs"][0]["plain"]["radians"][0], abs=0.01)
    assert "| pixel_cloning | 1 | 0 |" in out.with_suffix(".md").read_text()
    shown = read_study(out)
    assert shown is not None and [row["method"] for row in shown["rows"]] == list(METHODS)
    monkeypatch.setattr(study, "train_latent", None)  # nothing may be trained again
    monkeypatch.setattr(study, "train_pixels", None)
    assert study.main() == 0


def test_a_training_with_a_time_limit_is_a_cell_of_its_own(
    study: Any, command: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = command("--minutes", "0.02", "--methods", "vmail")
    score = {"radians": [14.0], "return": [300.0]}
    held = {"runs": [], "controls": {"expert": {"plain": score, "kicked": score}}}
    out.write_text(json.dumps(held))
    with pytest.raises(ValueError, match="was made with starts=None.*move it away first"):
        study.main()
    starts = {"first_seed": study.TEST_SEED, "count": study.STARTS, "kick": study.KICK}
    out.write_text(json.dumps(held | {"starts": starts}))
    assert study.main() == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert run["minutes_allowed"] == 0.02 <= run["minutes"] and run["updates"] < study.NO_LIMIT
    assert run["evaluations"]
    monkeypatch.setattr(study, "train_latent", None)  # nothing may be trained again
    assert study.main() == 0


def test_late_evaluations_are_set_against_the_best_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from lateness import late_share

    steady, fallen = [1.0, 4.0, 4.0, 4.0, 4.0, 4.0], [1.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert (late_share([steady]), late_share([steady, fallen])) == ("100%", "50%")
    assert late_share([steady, [1.0, 2.0]]) == late_share([[0.0] * 9]) == ""
