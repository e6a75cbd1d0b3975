"""Reads results/claw_study.json, which `benchmarks/claw_study.py` writes: what the page shows of longer studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("vmail", "latent_cloning", "pixel_cloning")


def read_study(path: Path) -> dict[str, Any] | None:
    """The study's runs summed up by method and number of demonstrations; None when there is no study.

    Returns:
        `starts`, how many a seed; `rows` with mean, least and largest radians over seeds and starts, without and with
        kicks; and where the figures come from.
    """
    if not path.is_file():
        return None
    study = json.loads(path.read_text())
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in study["runs"]:
        groups.setdefault((run["method"], run["demos"]), []).append(run)
    order = sorted(groups, key=lambda key: (METHODS.index(key[0]), -key[1]))
    return {
        "source": path.name,
        "starts": study["starts"]["count"],
        "commits": sorted({run["commit"] for run in study["runs"]}),
        "machines": sorted({run["machine"] for run in study["runs"]}),
        "rows": [_row(method, demos, groups[method, demos]) for method, demos in order],
    }


def _row(method: str, demos: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "method": method,
        "demos": demos,
        "seeds": len(runs),
        "minutes": float(np.mean([run["minutes"] for run in runs])),
        **_summary([run["plain"] for run in runs]),
        "kicked": _summary([run["kicked"] for run in runs]),
    }


def _summary(scores: list[dict[str, list[float]]]) -> dict[str, float]:
    radians = np.concatenate([part["radians"] for part in scores])
    returns = np.concatenate([part["return"] for part in scores])
    return {
        "radians": float(radians.mean()),
        "radians_min": float(radians.min()),
        "radians_max": float(radians.max()),
        "return": float(returns.mean()),
    }
