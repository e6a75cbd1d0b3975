"""`vmail train` and `vmail eval` on a tiny model: a run ends, is interrupted, goes on, and is scored."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import av
import pytest
import yaml
from rich.console import Console

from vmail.cli import main
from vmail.train import train
from vmail.training_display import TrainingDisplay
from vmail_core.episodes import Episode, write_episode
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.train import Progress


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory, demonstrations: list[Episode]) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    for index, demo in enumerate(demonstrations):
        write_episode(folder, demo, f"demo_{index}")
    return folder


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory, small: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp("preset") / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(file=(tmp_path / "console.txt").open("w"), width=200)


def interrupt_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the report of so many, once."""
    report, reports = TrainingDisplay.report, []

    def interrupting(display: TrainingDisplay, progress: Progress, metrics: dict[str, float]) -> None:
        report(display, progress, metrics)
        reports.append(progress)
        if len(reports) == number:
            monkeypatch.undo()
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingDisplay, "report", interrupting)


def test_interrupted_run_saves_says_so_and_goes_on(
    preset: Path,
    small: dict[str, Any],
    episodes: Path,
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupt_at(1, monkeypatch)
    run = tmp_path / "run"
    first = train(preset, episodes, run, console=console)
    assert not first.finished and 0 < first.progress.update < small["train"]["updates"]
    assert RunFolder(run).checkpoint() is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    second = train(preset, episodes, run, console=console)
    assert second.finished and second.progress.update == small["train"]["updates"]
    console.file.flush()
    said = (tmp_path / "console.txt").read_text()
    assert f"saved at update {first.progress.update}; the same command goes on" in said
    assert f"from update {first.progress.update}" in said and "rad (mean of 1 starts)" in said
    with av.open(next((run / "videos").glob("update_*.mp4"))) as video:
        assert video.streams.video[0].frames == 80


@pytest.mark.slow
def test_workers_in_any_number_and_after_an_interruption_make_the_same_run(
    preset: Path, episodes: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = {"train.updates": 50, "train.eval_every": 1000}
    train(preset, episodes, tmp_path / "one", updates | {"train.workers": 1}, console=console)
    interrupt_at(3, monkeypatch)
    two = updates | {"train.workers": 2}
    assert not train(preset, episodes, tmp_path / "two", two, console=console).finished
    assert train(preset, episodes, tmp_path / "two", two, console=console).finished
    first, second = (RunFolder(tmp_path / name).metrics() for name in ("one", "two"))
    assert [row | {"seconds": 0.0} for row in first] == [row | {"seconds": 0.0} for row in second]
    assert first[-1]["env_steps"] == 4 * 80


def test_command_line_trains_and_scores(
    preset: Path, episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["train", str(preset), "--demos", str(episodes), "--out", str(run), "--set", "train.updates=10"]
    assert main(words) == 0
    assert RunFolder(run).config().train.updates == 10
    assert json.loads((run / "run.json").read_text())["demos"] == [f"expert in simulator, seed {i}" for i in (0, 1)]
    capsys.readouterr()
    assert main([*words, "--set", "train.seed=1"]) == 2
    assert "holds a run with another config" in capsys.readouterr().err
    assert main(["eval", str(run), "--episodes", "2", "--out", str(tmp_path / "scores")]) == 0
    assert "start   1: turned" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())["scores"]
    assert len(scores["radians"]) == 2
    with av.open(tmp_path / "scores" / "episodes.mp4") as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (320, 160)


@pytest.mark.parametrize("word", ["train.seed", "=1"])
def test_setting_of_another_form_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--demos", "d", "--out", "r", "--set", word]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
