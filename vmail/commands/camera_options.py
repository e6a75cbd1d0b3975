"""What commands that open a camera let people ask it for."""

from __future__ import annotations

import argparse


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add --size."""
    parser.add_argument("--size", metavar="WxH", help="size of pictures to ask a device for [its default]")


def wanted_size(text: str | None) -> tuple[int | None, int | None]:
    """Width and height in pixels of what --size says. Raises ValueError for anything else."""
    if text is None:
        return None, None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size {text}: give width and height in pixels, like 640x480")
    return int(width), int(height)
