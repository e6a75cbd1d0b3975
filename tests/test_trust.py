"""`vmail trust` on a run that learned nothing: what it writes, what it leaves out, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vmail.cli import main
from vmail.trust_page import verdict
from vmail_core.episodes import Episode, write_episode
from vmail_core.learners.config import load_config
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.trust import open_loop_errors
from vmail_core.learners.vmail import VMAIL

ACTIONS = 2


def make_run(path: Path, joint_scale: float = 0.0, checkpoint: bool = True) -> VMAIL:
    torch.manual_seed(0)
    config = load_config("debug", {"model.joint_scale": joint_scale, "policy.horizon": 3})
    run, learner = RunFolder(path), VMAIL(config, ACTIONS, joint_count=ACTIONS)
    run.begin(config, ["take_0001"], "radians")
    if checkpoint:
        run.save_checkpoint(learner, {"update": 7}, np.random.default_rng(0))
    return learner


def write_take(
    folder: Path, name: str, rows: int = 16, actions: int = ACTIONS, pixels: int = 32, **notes: str
) -> Episode:
    rng = np.random.default_rng(len(name) + rows)
    action = rng.uniform(-1, 1, (rows, actions)).astype(np.float32)
    action[0] = 0.0
    image = rng.integers(0, 256, (rows, pixels, pixels, 3), dtype=np.uint8)
    angles = rng.normal(size=(rows, actions)).astype(np.float32)
    take = Episode(image, action, 0.1 * np.arange(rows), angles, provenance={"bag": name, **notes})
    write_episode(folder, take, name)
    return take


def trust(folder: Path, *words: str) -> int:
    return main(["trust", str(folder / "run"), "--episodes", str(folder / "takes"), *words])


def test_the_report_holds_what_was_measured_and_its_page_stands_alone(tmp_path: Path, capsys) -> None:
    learner = make_run(tmp_path / "run", joint_scale=1.0)
    write_take(tmp_path / "takes", "take_0001")
    take = write_take(tmp_path / "takes", "take_0002", pixels=32, commander="gamepad")
    assert trust(tmp_path) == 0
    found = json.loads((tmp_path / "run" / "trust" / "trust.json").read_text())
    errors = open_loop_errors(learner.model, take, steps=6)
    assert (found["steps"], found["starts"], found["policy_horizon"], found["update"]) == (6, 6, 3, 7)
    assert found["pixels"]["predicted"] == pytest.approx(errors.pixels.predicted)
    assert found["joints"]["floor"] == pytest.approx(errors.joints.floor)
    assert found["kl"] == pytest.approx(errors.kl)
    assert found["trust_horizon"] == min(found["trust_horizons"].values())
    assert found["left_out"] == ["left out: take_0001, the run learned from it"]
    assert [(entry["name"], entry["commanded_by"]) for entry in found["takes"]] == [("take_0002", "gamepad")]
    page = (tmp_path / "run" / "trust" / "index.html").read_text()
    assert page.count("<svg") == 3 and page.count("<img") == 1 and "<script" not in page
    assert all(
        source.startswith(("data:image/png;base64,", "#")) for source in re.findall(r'(?:src|href)="([^"]*)', page)
    )
    assert "<th>commanded by</th>" in page and "<td>gamepad</td>" in page
    assert "take_0001, the run learned from it" in page and found["run_commit"] in page
    said = capsys.readouterr().out
    assert "left out: take_0001" in said and verdict(found) in said


def test_a_short_take_is_left_out_and_episodes_of_one_bag_are_filmed_each(tmp_path: Path, capsys) -> None:
    make_run(tmp_path / "run")
    write_take(tmp_path / "takes", "a")
    write_take(tmp_path / "takes", "b", bag="a")
    write_take(tmp_path / "takes", "cut", rows=7)
    assert trust(tmp_path) == 0
    found = json.loads((tmp_path / "run" / "trust" / "trust.json").read_text())
    assert (found["steps"], len(found["takes"])) == (6, 2)
    assert found["left_out"] == ["left out: cut has 7 rows, 11 are needed"]
    assert (tmp_path / "run" / "trust" / "index.html").read_text().count("<img") == 2


def test_a_model_without_joint_head_says_so_by_name(tmp_path: Path, capsys) -> None:
    make_run(tmp_path / "run")
    write_take(tmp_path / "takes", "take_0002")
    assert trust(tmp_path, "--out", str(tmp_path / "report"), "--steps", "2") == 0
    found = json.loads((tmp_path / "report" / "trust.json").read_text())
    assert found["joints"] is None and found["steps"] == 2 and list(found["trust_horizons"]) == ["pixels"]
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Not measured: this model has no joint head: it learned with model.joint_scale=0" in page
    assert "no joint head" in capsys.readouterr().out
    assert not (tmp_path / "run" / "trust").exists()


@pytest.mark.parametrize(
    ("make", "words", "reason"),
    [
        (lambda folder: None, [], "no run at"),
        (lambda folder: make_run(folder / "run", checkpoint=False), [], "has no checkpoint yet"),
        (
            lambda folder: write_take(folder / "few", "short", rows=5),
            ["--episodes", "{folder}/few"],
            "short has 5 rows, but 5 are seen and 1 foretold: give longer takes",
        ),
        (
            lambda folder: None,
            ["--steps", "12"],
            "take_0002 has 16 rows, but 5 are seen and 12 foretold: give longer takes, or fewer --steps",
        ),
        (
            lambda folder: write_take(folder / "takes", "odd", actions=3),
            [],
            "odd has 3 actions, dclaw_valve3_ccw has 2",
        ),
        (lambda folder: write_take(folder / "takes", "small", pixels=16), [], "small has pictures of 16 px"),
        (lambda folder: write_take(folder / "takes", "walk", task="walker_walk"), [], "walk shows walker_walk"),
        (lambda folder: None, ["--steps", "0"], "--steps 0"),
        (lambda folder: None, ["--episodes", "{folder}/demos"], "learned from every take that was given (take_0001)"),
        (lambda folder: None, ["--episodes", "{folder}/run/practice"], "learned from its own practice"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_error(
    tmp_path: Path, capsys, make: Callable[[Path], object], words: list[str], reason: str
) -> None:
    write_take(tmp_path / "takes", "take_0002")
    write_take(tmp_path / "demos", "take_0001")
    if reason not in ("no run at", "has no checkpoint yet"):
        make_run(tmp_path / "run")
    make(tmp_path)
    assert trust(tmp_path, *(word.format(folder=tmp_path) for word in words)) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1
    assert not (tmp_path / "run" / "trust").exists()


@pytest.mark.parametrize(
    ("horizon", "imagined", "sentence"),
    [
        (5, 4, "believed for 5 steps (0.5 s); the policy's imagination, 4 steps, stays within that"),
        (5, 5, "5 steps, stays within that"),
        (9, 15, "9 steps or more (0.9 s); the policy imagines 15 steps, more than was measured"),
        (1, 4, "1 step (0.1 s); the policy imagines 4 steps: shorten policy.horizon"),
        (0, 4, "may not be believed for a single step"),
    ],
)
def test_the_verdict_compares_with_what_the_policy_imagines(horizon: int, imagined: int, sentence: str) -> None:
    result = {"trust_horizon": horizon, "steps": 9, "policy_horizon": imagined, "period_s": 0.1}
    assert sentence in verdict(result)
