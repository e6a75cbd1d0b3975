"""The page's plots, as SVG text to put inline."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vmail.inline_plot import EXPERT, POLICY, svg


def valve_plot(valve: dict[str, list[dict[str, Any]]]) -> str:
    """Angle turned over time: a thin line a start, a thick one for the mean, for policy and expert."""

    def draw(axes: Axes) -> None:
        for name, color in (("expert", EXPERT), ("policy", POLICY)):
            curves = valve[name]
            for curve in curves:
                axes.plot(curve["seconds"], curve["radians"], color=color, alpha=0.3, linewidth=1.0)
            rows = min(len(curve["radians"]) for curve in curves)
            mean = np.mean([curve["radians"][:rows] for curve in curves], axis=0)
            axes.plot(curves[0]["seconds"][:rows], mean, color=color, linewidth=2.8, label=f"{name}, mean")
        axes.set_xlabel("seconds")
        axes.set_ylabel("turned, rad")
        axes.margins(x=0.01)
        axes.legend(loc="upper left")

    return svg(draw, "Angle that the valve turned over time, for policy and expert at every start")


def learning_plot(learning: dict[str, Any], expert_radians: float) -> str:
    """Evaluations while learning, against minutes of learning."""

    def draw(axes: Axes) -> None:
        curve = learning["curve"]
        minutes = [row["minutes"] for row in curve]
        axes.axhline(expert_radians, color=EXPERT, linewidth=1.6, linestyle=(0, (5, 3)), label="expert, through ROS")
        mean: dict[str, Any] = {"color": POLICY, "linewidth": 2.4, "marker": "o", "markersize": 4}
        axes.plot(minutes, [row["radians"] for row in curve], label="policy, mean", **mean)
        if all(row["radians_min"] is not None for row in curve):
            worst = [row["radians_min"] for row in curve]
            axes.plot(minutes, worst, color=POLICY, linewidth=1.2, alpha=0.6, label="policy, worst start")
        axes.set_xlim(left=0.0)
        axes.set_ylim(top=1.25 * max(expert_radians, *(row["radians"] for row in curve)))
        axes.legend(loc="upper left", ncols=3, fontsize=11, handlelength=1.4, columnspacing=1.2)
        axes.set_xlabel("minutes of learning")
        axes.set_ylabel("turned in 8 s, rad")

    return svg(draw, "Radians turned in evaluations, against minutes of learning")


def latency_plot(latency: dict[str, Any]) -> str:
    """How many commands reached the bus how long after their picture."""

    def draw(axes: Axes) -> None:
        values = np.array(latency["values"])
        axes.hist(values, bins=min(40, max(5, len(values) // 10)), color=POLICY, alpha=0.85)
        for name in ("p50", "p99"):
            axes.axvline(latency[name], color=EXPERT, linewidth=1.4)
            axes.annotate(
                name, (latency[name], 1.0), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                color=EXPERT, va="top",
            )  # fmt: skip
        axes.set_xlim(left=0.0)
        axes.set_xlabel("ms from camera stamp to bus write")
        axes.set_ylabel("commands")

    return svg(draw, "Histogram of the time from a camera picture's stamp to the bus write of its command")
