"""demo.json and the page, from real short episodes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vmail.demo import figures as made
from vmail.demo import settings as fixed
from vmail.demo.figures import collect_figures
from vmail.demo.page import write_page
from vmail.demo.settings import Settings
from vmail.demo.study import read_study
from vmail.demo.trial import Trial, read_trials
from vmail.demo.video import PIXELS
from vmail_core.deploy.bundle import Bundle
from vmail_core.episodes import Episode, write_episode
from vmail_core.robot import RobotSpec

VOID = {"meta", "br", "img", "link"}


class Outline(HTMLParser):
    """Collects tags, sources and texts; fails on elements that are closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.headings: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href") and tag != "use"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Any] | None:
    """A longer study in results/, as benchmarks/claw_study.py writes it."""
    plain, kicked = {"radians": [9.0, 9.4], "return": [100.0, 120.0]}, {"radians": [7.0], "return": [50.0]}
    run = {"seed": 0, "minutes": 60.0, "commit": "77aa", "machine": "two cores", "plain": plain, "kicked": kicked}
    runs = [
        {**run, "method": "vmail", "demos": 1},
        {**run, "method": "latent_cloning", "demos": 2},
        {**run, "method": "vmail", "demos": 10},
    ]
    path = tmp_path / "claw_study.json"
    assert read_study(path) is None
    path.write_text(json.dumps({"starts": {"count": 20}, "runs": runs, "controls": {}}))
    return read_study(path)


@pytest.fixture(scope="module")
def figures(finished: Settings, bundle: Bundle, robot: RobotSpec) -> dict[str, Any]:
    """What a run without a longer study gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixed, "STUDY", finished.out / "missing.json")
        return collect_figures(finished, bundle, robot, 1)


def test_figures_are_those_of_the_trials(
    figures: dict[str, Any], finished: Settings, robot: RobotSpec, make_trial: Callable[..., Trial]
) -> None:
    assert json.loads(finished.figures.read_text()) == figures
    expert = [make_trial(seed) for seed in finished.trial_seeds]
    policy = [make_trial(seed, 0.6) for seed in finished.trial_seeds]
    ours, theirs = (np.mean([trial.radians(1) for trial in trials]) for trials in (policy, expert))
    assert figures["headline"]["percent"] == pytest.approx(100.0 * ours / theirs, abs=0.01)
    assert figures["chain"]["loss_percent"] == pytest.approx(100.0 * (1.5 - ours) / 1.5, abs=0.01)
    through_ros = figures["scores"][0]
    assert through_ros["name"] == "expert"
    assert through_ros["return"] == pytest.approx([trial.task_return(robot, 1) for trial in expert], abs=0.01)
    assert figures["latency"]["p50"] == pytest.approx(6.0) and figures["latency"]["commands"] == 30
    assert [row["minutes"] for row in figures["learning"]["curve"]] == [1.0, 2.0]


def test_videos_show_both_and_play_in_browsers(figures: dict[str, Any], finished: Settings) -> None:
    assert [video["which"] for video in figures["videos"]] == ["best", "median"]
    rows = len(read_trials(finished.policy_trials)[0].time)
    for video in figures["videos"]:
        with av.open(finished.out / video["file"]) as file:
            stream = file.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
        assert len(pictures) == rows
        first, last = pictures[0].astype(int), pictures[-1].astype(int)
        left, right = slice(0, PIXELS), slice(-PIXELS, None)
        assert np.abs(first[:, left] - first[:, right]).mean() < 2.0  # the same start ...
        assert np.abs(last[:, left] - last[:, right]).mean() > 2.0  # ... and another end


def test_page_is_whole_and_stands_alone(figures: dict[str, Any], finished: Settings, study: dict[str, Any]) -> None:
    figures = {**figures, "study": study}
    text = write_page(figures, finished.out).read_text()
    outline = Outline(text)
    assert "script" not in outline.tags and outline.tags.count("svg") == 3 and outline.tags.count("video") == 2
    assert all(source.startswith(("data:video/mp4;base64,", "#")) for source in outline.sources)
    assert not re.search(r"url\((?!#)", text)
    assert outline.headings[1:] == [
        "The same start, side by side", "Every start", "Learning", "Scores", "Kicked", "With fewer demonstrations",
        "Latency", "Where this comes from",
    ]  # fmt: skip
    percent = f"{figures['headline']['percent']:.0f}\u00a0%"
    for said in (percent, "hold pose", "claw_study.json", "77aa", "0123abc", "p99"):
        assert said in text, said
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower()


def test_page_names_the_demonstrations_and_who_commanded_them(
    figures: dict[str, Any], finished: Settings, bundle: Bundle, demonstrations: list[Episode], tmp_path: Path
) -> None:
    assert "commander not noted: take_0001, take_0002" in write_page(figures, finished.out).read_text()
    for number, demo in enumerate(demonstrations):
        write_episode(tmp_path, demo, f"demo_{number}")
    told = made.demonstrations(tmp_path, bundle)
    assert [demo["commanded_by"] for demo in told] == ["expert", "expert"]
    text = write_page({**figures, "demonstrations": told}, finished.out).read_text()
    assert "expert: expert in simulator, seed 0, expert in simulator, seed 1" in text


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "acts on pictures alone. Learning saw pictures and actions only"),
        ({"joint_scale": 1.0}, "acts on pictures alone. Learning saw pictures, actions and the joint angles"),
        (
            {"joint_scale": 1.0, "proprioception": True},
            "acts on pictures and the joint angles. Learning saw pictures, ",
        ),
    ],
)
def test_page_says_what_the_policy_observes(
    figures: dict[str, Any], finished: Settings, model: dict[str, Any], said: str
) -> None:
    training = {**figures["bundle"]["training"], "config": {"model": model}}
    text = write_page({**figures, "bundle": {**figures["bundle"], "training": training}}, finished.out).read_text()
    assert said in " ".join(text.split())


def test_page_says_nothing_about_what_was_not_measured(figures: dict[str, Any], finished: Settings) -> None:
    figures = {**figures, "pretrained": True, "kicks": [], "learning": {**figures["learning"], "curve": []}}
    text = write_page(figures, finished.out).read_text()
    assert "latent cloning" not in text and "pixel cloning" not in text
    assert Outline(text).headings[1:] == [
        "The same start, side by side", "Every start", "Scores", "Latency", "Where this comes from",
    ]  # fmt: skip


def test_large_videos_stay_beside_the_page(
    figures: dict[str, Any], finished: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmail.demo.page.MAX_INLINE_BYTES", 1000)
    sources = Outline(write_page(figures, finished.out).read_text()).sources
    files = [source for source in sources if source.endswith(".mp4")]
    assert len(files) == 2 and all((finished.out / file).is_file() for file in files)


def test_versions_name_the_parts_that_results_depend_on() -> None:
    found = made.versions(made.PACKAGES)
    assert {"python", "torch", "onnxruntime", "mujoco"} <= set(found)
