"""Writes the demo's page: one HTML file with its plots and videos inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmail.demo import page_sections as sections
from vmail.page import data_uri, write_html

MAX_INLINE_BYTES = 20_000_000


def write_page(figures: dict[str, Any], out: Path) -> Path:
    """Write `out/index.html` from what demo.json holds; returns its path.

    Args:
        figures: what `figures.collect_figures` returns.
        out: the demo's folder; the videos' files are relative to it.
    """
    parts = [
        sections.opening(figures),
        sections.videos(figures, _sources(figures, out)),
        sections.valve(figures),
        sections.learning(figures),
        sections.scores(figures),
        sections.kicks(figures),
        sections.fewer_demos(figures),
        sections.latency(figures),
        sections.origin(figures),
    ]
    return write_html(out / "index.html", f"vmail: {sections.summary(figures)}", parts)


def _sources(figures: dict[str, Any], out: Path) -> dict[str, str]:
    """What each video's src is: the file itself, unless the page would grow too large; then the file beside it."""
    files = [video["file"] for video in figures["videos"]]
    if sum((out / file).stat().st_size for file in files) > MAX_INLINE_BYTES:
        return {file: file for file in files}
    return {file: data_uri("video/mp4", (out / file).read_bytes()) for file in files}
