"""A run folder with small random networks, the episodes it practised, and the bundle exported from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmail_core.episodes import Episode, write_episode
from vmail_core.robot import load_robot

SIZE = 32


def random_episodes(count: int, steps: int, size: int = SIZE) -> list[Episode]:
    """Episodes of noise: every picture differs from the last, which is hardest on the filter."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(count):
        action = rng.uniform(-1.0, 1.0, (steps, 9)).astype(np.float32)
        action[0] = 0.0
        image = rng.integers(0, 256, (steps, size, size, 3), dtype=np.uint8)
        episodes.append(Episode(image, action, np.arange(steps) * 0.1))
    return episodes


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint, metrics and two episodes of practice."""
    torch = pytest.importorskip("torch", reason="torch (the extra `train`) is not installed")
    from vmail_core.learners.config import config_from_dict
    from vmail_core.learners.run_folder import RunFolder
    from vmail_core.learners.vmail import VMAIL

    torch.manual_seed(0)
    config = config_from_dict(
        {
            "model": {"vision": "patch", "image_size": SIZE, "depth": 4, "deter": 32, "stoch": 8, "hidden": 32},
            "policy": {"units": 32, "actor_layers": 2, "critic_layers": 1},
            "discriminator": {"units": 32},
        }
    )
    learner = VMAIL(config, 9)
    with torch.no_grad():
        learner.actor.network[-1].weight.mul_(5.0)  # a fresh actor hardly moves: make its actions worth comparing
    folder = RunFolder(tmp_path_factory.mktemp("run") / "run")
    folder.begin(config, ["demo_0", "demo_1"], "radians")
    folder.log(1, {"model_loss": 2.0, "eval_radians": 0.5})
    folder.log(2, {"model_loss": float("nan")})
    folder.save_checkpoint(learner, {"update": 2}, np.random.default_rng(0))
    for index, episode in enumerate(random_episodes(2, 81)):
        write_episode(folder.practice, episode, f"practice_{index}")
    return folder.path


@pytest.fixture(scope="session")
def bundle_folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that run. Tests copy it before they change it."""
    from vmail_core.deploy.export import export_bundle

    return export_bundle(run_folder, tmp_path_factory.mktemp("bundle") / "bundle").path


@pytest.fixture(scope="session")
def robot():
    """The D'Claw."""
    return load_robot("dclaw")
