"""Collects everything that a demo measured into one JSON document; the page is made from it alone."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmail.demo import settings as fixed
from vmail.demo.settings import Settings
from vmail.demo.steps import StepBook
from vmail.demo.study import read_study
from vmail.demo.trial import Trial, read_trials
from vmail.demo.video import write_pair
from vmail_core.deploy.bundle import Bundle
from vmail_core.episodes.commanders import commands_by, in_words
from vmail_core.episodes.store import list_episodes, read_outline
from vmail_core.learners.demonstrations import demo_name
from vmail_core.provenance import git_commit, machine, versions
from vmail_core.robot import RobotSpec

PACKAGES = ("vmail", "torch", "onnxruntime", "mujoco", "dm_control", "dynamixel-sdk", "ros-rclpy", "rosbags")
ROS, BARE = "through ROS", "bare simulator"


def collect_figures(settings: Settings, bundle: Bundle, robot: RobotSpec, direction: int) -> dict[str, Any]:
    """Render the videos, gather all figures, and write them to the demo's demo.json.

    Returns:
        What demo.json holds.
    """
    policy, expert = read_trials(settings.policy_trials), read_trials(settings.expert_trials)
    bare = json.loads(settings.bare_scores.read_text())
    figures = {
        "task": fixed.TASK,
        "pretrained": settings.pretrained,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "headline": headline(policy, expert, direction),
        "scores": [
            _through_ros("expert", expert, robot, direction),
            _through_ros("policy", policy, robot, direction),
            *[_score(name, BARE, scores) for name, scores in bare["plain"].items()],
        ],
        "chain": chain(policy, bare["plain"]["policy"], direction),
        "kicks": [_score(name, BARE, scores) for name, scores in bare["kicked"].items()],
        "study": read_study(fixed.STUDY),
        "latency": latency(policy),
        "learning": learning(bundle),
        "demonstrations": demonstrations(settings.episodes_dir, bundle),
        "valve": {"policy": _turned(policy, direction), "expert": _turned(expert, direction)},
        "videos": _videos(settings, policy, expert, direction),
        "bundle": {"digest": bundle.digest, "certificate": bundle.certificate, "training": _training(bundle)},
        "pixel_cloning": bare.get("pixel_cloning"),
        "starts": {"first_seed": settings.first_trial_seed, "count": settings.episodes, "steps": fixed.STEPS},
        "commit": git_commit(),
        "machine": machine(),
        "versions": versions(PACKAGES),
        "seconds": StepBook(settings.out / "steps").seconds(),
    }
    settings.figures.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n")
    return figures


def headline(policy: Sequence[Trial], expert: Sequence[Trial], direction: int) -> dict[str, float]:
    """Mean radians of both, and how far the policy came, in percent."""
    ours = float(np.mean([trial.radians(direction) for trial in policy]))
    theirs = float(np.mean([trial.radians(direction) for trial in expert]))
    return {"policy_radians": ours, "expert_radians": theirs, "percent": 100.0 * ours / theirs}


def chain(policy: Sequence[Trial], bare: dict[str, list[float]], direction: int) -> dict[str, float]:
    """What ROS and the bus cost against the bare simulator on the same starts, in percent of radians."""
    through, alone = float(np.mean([t.radians(direction) for t in policy])), float(np.mean(bare["radians"]))
    loss = 100.0 * (alone - through) / abs(alone) if alone else 0.0
    return {"through_ros_radians": through, "bare_radians": alone, "loss_percent": loss}


def latency(policy: Sequence[Trial]) -> dict[str, Any]:
    """Camera stamp to bus write over all commands of the policy, in ms."""
    values = np.concatenate([trial.latency_ms for trial in policy])
    names = ("p50", "p90", "p99", "max")
    percentiles = np.percentile(values, (50, 90, 99, 100))
    return {
        **{name: float(value) for name, value in zip(names, percentiles, strict=True)},
        "commands": len(values),
        "missed_ticks": sum(trial.missed for trial in policy),
        "repeated_episodes": [line for trial in policy for line in trial.repeated],
        "values": np.round(values, 3).tolist(),
    }


def learning(bundle: Bundle) -> dict[str, Any]:
    """The learning curve that the bundle carries: each evaluation, with the time and practice that it took."""
    metrics = bundle.training["metrics"]
    curve = [
        {
            "update": row["update"],
            "minutes": row.get("seconds", 0.0) / 60.0,
            "env_steps": row.get("env_steps"),
            "radians": row["eval_radians"],
            "radians_min": row.get("eval_radians_min"),
        }
        for row in metrics.get("evaluations", [])
        if row.get("eval_radians") is not None
    ]
    last = metrics.get("last", {})
    return {
        "curve": curve,
        "updates": last.get("update"),
        "minutes": last["seconds"] / 60.0 if last.get("seconds") is not None else None,
        "env_steps": last.get("env_steps"),
        "demos": len(bundle.training["demos"]),
    }


def demonstrations(episodes: Path, bundle: Bundle) -> list[dict[str, str]]:
    """Name of each demonstration, and who commanded it; that is known only where the episodes are, and say so."""
    if not episodes.is_dir():
        return [{"name": name, "commanded_by": ""} for name in bundle.training["demos"]]
    return [
        {"name": demo_name(demo), "commanded_by": in_words(commands_by(demo.provenance, len(demo)))}
        for demo in map(read_outline, list_episodes(episodes))
    ]


def _training(bundle: Bundle) -> dict[str, Any]:
    return {key: bundle.training[key] for key in ("config", "git_commit", "demos")}


def _through_ros(name: str, trials: Sequence[Trial], robot: RobotSpec, direction: int) -> dict[str, Any]:
    scores = {
        "radians": [trial.radians(direction) for trial in trials],
        "return": [trial.task_return(robot, direction) for trial in trials],
    }
    return _score(name, ROS, scores)


def _score(name: str, where: str, scores: dict[str, list[float]]) -> dict[str, Any]:
    return {"name": name, "where": where, "radians": scores["radians"], "return": scores["return"]}


def _turned(trials: Sequence[Trial], direction: int) -> list[dict[str, Any]]:
    """Angle turned the wanted way over time, a curve a start."""
    return [
        {
            "seed": trial.seed,
            "seconds": np.round(trial.time, 3).tolist(),
            "radians": np.round(direction * (trial.valve - trial.valve[0]), 3).tolist(),
        }
        for trial in trials
    ]


def _videos(
    settings: Settings, policy: Sequence[Trial], expert: Sequence[Trial], direction: int
) -> list[dict[str, Any]]:
    """Videos of the policy's best, median and worst start beside the expert's."""
    by_seed = {trial.seed: trial for trial in expert}
    ranked = sorted(policy, key=lambda trial: trial.radians(direction), reverse=True)
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    chosen: dict[int, str] = {}
    for name, place in places.items():
        chosen.setdefault(place, name)
    videos = []
    for place, name in sorted(chosen.items()):
        ours, theirs = ranked[place], by_seed[ranked[place].seed]
        path = Path("videos") / f"start_{ours.seed}.mp4"
        write_pair(settings.out / path, fixed.TASK, theirs, ours)
        videos.append(
            {
                "file": path.as_posix(),
                "which": name if len(ranked) > 1 else "only",
                "seed": ours.seed,
                "policy_radians": ours.radians(direction),
                "expert_radians": theirs.radians(direction),
            }
        )
    return videos
