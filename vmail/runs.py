"""Runs side by side: what `vmail runs` lists and `vmail compare` draws."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vmail.tables import Column, FittingTable
from vmail_core.learners.run_folder import RunFolder

NEUTRAL = tuple(f"train.{name}" for name in "seed eval_every checkpoint_minutes threads overlap device".split())
"""Settings that make two runs no different in kind."""
AXES = {"update": "updates", "env_steps": "steps of practice", "minutes": "minutes of learning"}


@dataclasses.dataclass(frozen=True)
class Curve:
    """A run's evaluations: arrays (N,) by name of axis, and the scores (N,)."""

    run: Path
    score: str
    axes: dict[str, np.ndarray]
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but NEUTRAL settings, at the updates that all of them have evaluated.

    Arrays (N,): mean, least and largest score over seeds, and the axes' means.
    """

    label: str
    seeds: int
    score: str
    axes: dict[str, np.ndarray]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def find_runs(folders: Sequence[str | Path]) -> list[RunFolder]:
    """Every run in or below the folders, sorted by path.

    Raises:
        FileNotFoundError: there is none in one of them; the message names it.
    """
    found: set[Path] = set()
    for folder in folders:
        here = {path.parent for path in Path(folder).rglob("run.json") if (path.parent / "config.yaml").is_file()}
        if not here:
            raise FileNotFoundError(f"no run in {folder}; `vmail train` makes one")
        found |= here
    return [RunFolder(path) for path in sorted(found)]


def evaluations(run: RunFolder) -> Curve:
    """The run's curve; empty while nothing was evaluated."""
    score = run.facts().get("main_score", "radians")  # the first runs, all of claws, did not note it
    rows = [row for row in run.metrics() if f"eval_{score}" in row]
    axes = {
        "update": np.array([row["update"] for row in rows]),
        "env_steps": np.array([row["env_steps"] for row in rows]),
        "minutes": np.array([row["seconds"] for row in rows]) / 60.0,
    }
    return Curve(run.path, score, axes, np.array([row[f"eval_{score}"] for row in rows]))


def group_runs(runs: Sequence[RunFolder]) -> list[Group]:
    """Pool runs over their seeds. A group is labelled by what tells it from the others: settings, demonstrations.

    Raises:
        ValueError: a run was never evaluated, two are the same but for their place, they are judged by different
            scores, or seeds of one kind were never evaluated at the same update.
    """
    settings = {run.path: _settings(run) for run in runs}
    curves = [evaluations(run) for run in runs]
    for curve in curves:
        if not len(curve.values):
            raise ValueError(f"{curve.run} has no evaluation yet; let `vmail train` run a little longer")
    if len({curve.score for curve in curves}) > 1:
        raise ValueError("these runs are judged by different scores: compare runs of one kind of task")
    counts = {(plain["demos"], plain["demo_set"]) for plain in settings.values()}
    if len(counts) == len({count for count, _ in counts}):  # how many they are tells them apart
        for plain in settings.values():
            del plain["demo_set"]
    # A setting that one version of vmail has and another has not cannot be compared.
    common = set.intersection(*(set(plain) for plain in settings.values())) - set(NEUTRAL)
    differing = sorted(name for name in common if len({str(plain[name]) for plain in settings.values()}) > 1)
    members: dict[str, dict[int, Curve]] = {}
    for curve in curves:
        plain = settings[curve.run]
        label = ", ".join(f"{name}={plain[name]}" for name in differing) or plain["task"]
        group, seed = members.setdefault(label, {}), plain["train.seed"]
        if seed in group:
            raise ValueError(f"{curve.run} and {group[seed].run} are the same run: {label}, seed {seed}; leave one out")
        group[seed] = curve
    return [_pool(label, list(group.values())) for label, group in members.items()]


def _settings(run: RunFolder) -> dict[str, Any]:
    """Dotted settings, how many demonstrations the run had, and which, told by a few letters of a digest."""
    plain = run.settings()
    sections = {
        name: section for name, section in plain.items() if isinstance(section, dict) and name != "task_options"
    }
    flat = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    facts = run.facts()
    which = "".join(sorted(facts.get("demo_actions") or facts["demos"]))  # the first runs noted names alone
    return flat | {
        "task": plain["task"],
        "task_options": plain.get("task_options") or {},
        "demos": len(facts["demos"]),
        "demo_set": hashlib.sha256(which.encode()).hexdigest()[:6],
    }


def _pool(label: str, curves: list[Curve]) -> Group:
    updates = sorted(set.intersection(*(set(curve.axes["update"].tolist()) for curve in curves)))
    if not updates:
        places = ", ".join(str(curve.run) for curve in curves)
        raise ValueError(f"{places} were never evaluated at the same update: compare them one by one")
    picked = [np.isin(curve.axes["update"], updates) for curve in curves]
    values = np.stack([curve.values[rows] for curve, rows in zip(curves, picked, strict=True)])
    axes = {
        name: np.stack([curve.axes[name][rows] for curve, rows in zip(curves, picked, strict=True)]).mean(0)
        for name in AXES
    }
    return Group(label, len(curves), curves[0].score, axes, values.mean(0), values.min(0), values.max(0))


def draw(groups: Sequence[Group], axis: str, out: str | Path) -> None:
    """A curve a group with its spread over seeds, as a picture, and the numbers beside it as .csv.

    Args:
        groups: of `group_runs`.
        axis: one of AXES.
        out: the picture's path; its ending chooses the format (.png, .svg, .pdf).
    """
    out = Path(out)
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    plot = figure.add_subplot()
    for group in groups:
        label = f"{group.label} ({group.seeds} seed{'s' if group.seeds > 1 else ''})"
        (line,) = plot.plot(group.axes[axis], group.mean, marker="o", markersize=3, label=label)
        plot.fill_between(group.axes[axis], group.low, group.high, color=line.get_color(), alpha=0.2, linewidth=0)
    plot.set_xlabel(AXES[axis])
    plot.set_ylabel(f"{groups[0].score}\nmean; band: least to largest seed")
    plot.grid(alpha=0.3)
    plot.legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)
    with out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "seeds", *AXES, "mean", "least", "largest"])
        for group in groups:
            for row in zip(*(group.axes[name] for name in AXES), group.mean, group.low, group.high, strict=True):
                writer.writerow([group.label, group.seeds, *(f"{value:.6g}" for value in row)])


def table(runs: Sequence[RunFolder]) -> FittingTable:
    """A line a run with its task, how far it came, and its last and best score."""
    lines = []
    for run in runs:
        settings, rows, curve = run.settings(), run.metrics(), evaluations(run)
        last = rows[-1] if rows else {"update": 0, "seconds": 0.0}
        scores = (f"{curve.values[-1]:.1f}", f"{curve.values.max():.1f}") if len(curve.values) else ("-", "-")
        progress = f"{last['update']:.0f}/{settings['train']['updates']}"
        lines.append((settings["task"], progress, f"{last['seconds'] / 60.0:.1f}", curve.score, *scores))
    within, names = _shortened([run.path for run in runs])
    tasks, updates, minutes, scores, lasts, bests = zip(*lines)
    columns = [
        Column("run", names),
        Column("task", tasks, 2),
        Column("update", updates, 1, right=True),
        Column("minutes", minutes, 4, right=True),
        Column("score", scores, 3),
        Column("last", lasts, right=True),
        Column("best", bests, right=True),
    ]
    return FittingTable(columns, f"runs in {within}" if within else "")


def _shortened(paths: Sequence[Path]) -> tuple[str, list[str]]:
    """The folder that all paths are in, if that makes them shorter, and what is left of each."""
    within = (
        os.path.commonpath([path.parent for path in paths]) if len({path.is_absolute() for path in paths}) == 1 else ""
    )
    return within, [os.path.relpath(path, within) if within else str(path) for path in paths]
