"""Plots as SVG text to put into a page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Told apart by people who do not see red and green, and in grey.
POLICY, EXPERT, QUIET = "#1f6f8b", "#c0632b", "#8a8a85"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vmail",
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": "#33352f",
    "xtick.color": "#33352f",
    "ytick.color": "#33352f",
    "axes.grid": True,
    "grid.color": "#e4e2da",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
SIZE = (6.8, 3.5)  # inches; wide enough for a desk, its text still readable on a phone


def svg(draw: Callable[[Axes], None], description: str) -> str:
    """A figure as an <svg> element that scales with the page."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for size in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)
