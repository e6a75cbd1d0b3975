"""A bundle of random networks at the paper's size (64 px, depth 32, 200/30 latents, four actor layers of 400)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmail_core.deploy.bundle import Bundle
from vmail_core.deploy.export import write_bundle
from vmail_core.episodes import Episode
from vmail_core.learners.config import config_from_dict
from vmail_core.learners.vmail import VMAIL
from vmail_core.robot import load_robot


def random_learner(image_size: int, depth: int) -> VMAIL:
    """Networks as initialised, for the D'Claw's nine actions."""
    torch.manual_seed(0)
    return VMAIL(config_from_dict({"model": {"image_size": image_size, "depth": depth}}), 9)


def write_random_bundle(learner: VMAIL, out: Path) -> Bundle:
    """Export them, with a certificate over noise: enough for timing, not for a robot."""
    rng, rows, size = np.random.default_rng(0), 50, learner.model.image_size
    image = rng.integers(0, 256, (rows, size, size, 3), dtype=np.uint8)
    action = rng.uniform(-1.0, 1.0, (rows, 9)).astype(np.float32)
    action[0] = 0.0
    return write_bundle(
        learner.model,
        learner.actor,
        learner.discriminator,
        out=out,
        robot=load_robot("dclaw"),
        episodes=[Episode(image, action, np.arange(rows) * 0.1)],
        training={"config": {}, "demos": [], "git_commit": "random networks", "metrics": {}},
    )
