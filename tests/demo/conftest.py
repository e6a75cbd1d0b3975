"""Short episodes of the simulator, dressed as trials through ROS, and a small bundle: inputs of the demo's page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from vmail.demo.settings import TASK, Settings
from vmail.demo.trial import Trial, write_trials
from vmail_core.deploy.bundle import Bundle, Sizes
from vmail_core.episodes import Episode
from vmail_core.robot import RobotSpec, load_robot
from vmail_sim.experts import load_expert
from vmail_sim.experts.demos import demonstrate
from vmail_sim.visual import VisualTask

STEPS = 15
SIZE = 32
SMALL = {
    "task": TASK,
    "model": {"vision": "patch", "image_size": SIZE, "depth": 4, "deter": 16, "stoch": 4, "hidden": 16},
    "discriminator": {"units": 16},
    "policy": {"units": 16, "actor_layers": 2, "critic_layers": 1, "horizon": 3},
    "train": {
        "batch": 4,
        "length": 5,
        "demo_fraction": 0.5,
        "pretrain_updates": 10,
        "updates_per_episode": 10,
        "updates": 20,
        "eval_every": 20,
        "eval_episodes": 1,
    },
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small for two: on a busy machine the threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Settings of a run that learns nothing, quickly."""
    return SMALL


@pytest.fixture(scope="session")
def robot() -> RobotSpec:
    """The D'Claw."""
    return load_robot("dclaw")


@pytest.fixture(scope="session")
def environment() -> VisualTask:
    """The task with small pictures."""
    return VisualTask(TASK, SIZE)


@pytest.fixture(scope="session")
def make_trial(environment: VisualTask) -> Callable[..., Trial]:
    """`make_trial(seed, scale)`: the expert's first steps from a start, its actions scaled."""
    expert = load_expert(TASK)

    def make(seed: int, scale: float = 1.0, steps: int = STEPS) -> Trial:
        environment.reset(seed)
        physics = environment.env.physics
        rows = []
        for step in range(steps + 1):
            if step:
                environment.step((scale * expert(environment.state)).astype(np.float32))
            rows.append(
                (physics.joint_positions(), physics.joint_velocities(), physics.valve_angle(), physics.valve_velocity())
            )
        joints, velocities, angle, speed = (np.array(column) for column in zip(*rows, strict=True))
        time = np.arange(steps + 1) * environment.control_period
        return Trial(seed, time, joints, velocities, angle, speed, latency_ms=np.linspace(3.0, 9.0, steps))

    return make


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, robot: RobotSpec) -> Bundle:
    """What the page asks of a bundle; its graphs are tested elsewhere."""
    evaluations = [
        {"update": 10, "seconds": 60.0, "env_steps": 80.0, "eval_radians": 1.0, "eval_radians_min": -0.5},
        {"update": 20, "seconds": 120.0, "env_steps": 160.0, "eval_radians": 2.5, "eval_radians_min": 0.5},
    ]
    training = {
        "config": SMALL,
        "demos": ["take_0001", "take_0002"],
        "git_commit": "0123abc",
        "metrics": {"last": evaluations[-1], "evaluations": evaluations},
    }
    certificate = {"passed": True, "steps": 400, "differences": {"action": {"worst": 2.5e-6}}}
    sizes = Sizes(image=SIZE, embed=8, deter=16, stoch=4, action=9)
    return Bundle(tmp_path_factory.mktemp("bundle"), sizes, robot, training, certificate, digest="f00d" * 16)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, make_trial: Callable[..., Trial]) -> Settings:
    """The settings of a demo whose folder holds the trials and bare scores of two starts, and no page yet."""
    settings = Settings(out=tmp_path_factory.mktemp("demo"), episodes=2)
    for path, scale in ((settings.expert_trials, 1.0), (settings.policy_trials, 0.6)):
        write_trials(path, [make_trial(seed, scale) for seed in settings.trial_seeds], {"scale": scale})
    scores = {"radians": [1.0, 2.0], "return": [-10.0, 20.0]}
    still = {"radians": [0.0, 0.0], "return": [-5.0, -6.0]}
    bare = {"plain": {"policy": scores, "hold pose": still}, "kicked": {"policy": still}}
    settings.bare_scores.write_text(json.dumps(bare))
    return settings


@pytest.fixture(scope="session")
def demonstrations(environment: VisualTask) -> list[Episode]:
    """Two whole episodes of the expert."""
    return [demonstrate(load_expert(TASK), environment, seed) for seed in (0, 1)]
