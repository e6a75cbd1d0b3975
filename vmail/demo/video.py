"""Videos for people, rendered again from what the twin's state recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np

from vmail.demo.trial import Trial
from vmail_sim.dclaw import model
from vmail_sim.dclaw.physics import make_physics
from vmail_sim.dclaw.valve import parse_task

PIXELS = 320
RENDERED = 480  # drawn larger and scaled down: the scene is rendered without smooth edges, for speed
GAP = 8


def write_pair(path: Path, task: str, left: Trial, right: Trial) -> None:
    """Two trials side by side at their own pace, as an H.264 MP4 that browsers play."""
    physics = make_physics(parse_task(task)[0])
    pictures = [_beside(a, b) for a, b in zip(*(_pictures(physics, t) for t in (left, right)), strict=False)]
    rate = (len(left.time) - 1) / float(left.time[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, np.stack(pictures), fps=round(rate), codec="libx264", plugin="pyav")


def _pictures(physics: Any, trial: Trial) -> list[np.ndarray]:
    """(PIXELS, PIXELS, 3) uint8 of every frame."""
    pictures = []
    for joints, valve in zip(trial.joints, trial.valve, strict=True):
        physics.set_claw_and_valve(joints, float(valve))
        large = physics.render(RENDERED, RENDERED, camera_id=model.CAMERA)
        pictures.append(cv2.resize(large, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA))
    return pictures


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    gap = np.full((PIXELS, GAP, 3), 255, np.uint8)
    return np.hstack([left, gap, right])
