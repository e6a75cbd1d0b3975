"""`vmail demo`: choices that cannot work, and steps up to a chosen one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from vmail.cli import main
from vmail.demo.learning import DEMOS_NOTE, digest_episodes, learn
from vmail.demo.pipeline import Pipeline
from vmail.demo.settings import Settings
from vmail_core.episodes import Episode, write_episode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--takes", "nowhere"], "record some with `vmail demo --record`"),
        (["--pretrained", "--record"], "--pretrained learns nothing"),
        (["--until", "lunch"], "the steps are import, learn, export, policy, expert, controls, page"),
        (["--episodes", "1000"], "--episodes 1000"),
        (["--minutes", "0"], "--minutes 0"),
    ],
)
def test_what_cannot_work_is_one_clear_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


def test_steps_of_each_kind_of_demo(tmp_path: Path) -> None:
    def names(**choices: object) -> list[str]:
        return [step.name for step in Pipeline(Settings(out=tmp_path, **choices), Console(quiet=True)).steps()]  # type: ignore[arg-type]

    assert names(pretrained=True) == ["policy", "expert", "controls", "page"]
    assert names(record=True, until="learn") == ["record", "import", "learn"]


def test_starts_differ_between_seeds_and_from_those_of_learning(tmp_path: Path) -> None:
    zero, one = (set(Settings(out=tmp_path, seed=seed, episodes=100).trial_seeds) for seed in (0, 1))
    assert not zero & one
    assert min(zero) > 100_100 and max(Settings(out=tmp_path, seed=999, episodes=100).trial_seeds) < 1_000_000


def test_run_of_other_demonstrations_is_not_gone_on_with(tmp_path: Path, demonstrations: list[Episode]) -> None:
    write_episode(tmp_path / "episodes", demonstrations[0], "demo")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / DEMOS_NOTE).write_text(json.dumps({"episodes_sha256": digest_episodes(tmp_path)}))
    with pytest.raises(ValueError, match="learned from other demonstrations; remove it"):
        learn(tmp_path / "episodes", tmp_path / "run", "fast/dclaw_cpu", {}, Console(quiet=True))
