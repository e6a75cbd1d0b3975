"""A demonstration of an expert in the bare simulator, as an episode."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vmail_core.episodes.commanders import EXPERT_SOURCE
from vmail_core.episodes.episode import Episode
from vmail_core.episodes.hashing import sha256_of
from vmail_sim.experts.mpc import Planner
from vmail_sim.experts.policy import Expert
from vmail_sim.registry import TASKS
from vmail_sim.visual import VisualTask

# Packages that decide what a start leads to, by the beginning of a task's name.
BUILT_ON = {
    "baoding": ("mujoco", "gymnasium-robotics", "fast-simplification"),
    "car_racing": ("gymnasium", "box2d", "pygame"),
    "cheetah": ("mujoco", "dm_control"),
    "dclaw": ("mujoco", "robel", "fast-simplification"),
    "walker": ("mujoco", "dm_control"),
}
# Code that does, beside that in the task's own folder.
_SHARED = ("vmail_sim.hand", "vmail_sim.mjcf", "vmail_sim.rendering", "vmail_sim.visual", "vmail_sim.world")
_ROBOTS = "vmail_core.robot"  # joints and their limits, and what an action does


def demonstrate(
    expert: Expert, env: VisualTask, seed: int, watch: Callable[[VisualTask], None] | None = None
) -> Episode:
    """One episode of the expert, its full states kept as `provenance["states"]` for state-cloning controls.

    `watch` is called before every step.
    """
    first = env.reset(seed)
    if isinstance(expert, Planner):
        expert.begin(env.env, seed)
    images, actions, rewards = [first], [np.zeros(env.action_size, np.float32)], [0.0]
    states, joints = [env.state.tolist()], [env.joint_positions]
    last = ended = False
    while not last:
        if watch is not None:
            watch(env)
        action = expert(env.state)
        step = env.step(action)
        images.append(step.image)
        actions.append(action)
        rewards.append(step.reward)
        states.append(env.state.tolist())
        joints.append(env.joint_positions)
        last, ended = step.last, step.ended
    known = [positions for positions in joints if positions is not None]
    provenance: dict[str, Any] = {
        "source": EXPERT_SOURCE,
        "task": env.task,
        "seed": seed,
        "task_options": env.options,
        "simulator": simulator(env.task),
        "score": env.score(),
        "ended": ended,
        "states": states,
    }
    return Episode(
        image=np.stack(images),
        action=np.stack(actions),
        time=np.arange(len(images)) * env.control_period,
        joint_positions=np.stack(known) if known else None,
        reward=np.array(rewards, np.float32),
        provenance=provenance,
    )


def simulator(task: str) -> str:
    """What decides what a start of the task leads to: packages with versions, and the world's own code by its hash."""
    family = next(family for family in BUILT_ON if task.startswith(family))
    folder = _source(TASKS[task].split(":")[0]).parent
    code = [*folder.glob("*.py"), *map(_source, _SHARED)]
    code += [path for path in _source(_ROBOTS).parent.rglob("*") if path.suffix in (".py", ".yaml")]
    packages = ", ".join(f"{name} {version(name)}" for name in BUILT_ON[family])
    code.sort(key=lambda path: (path.parent.name, path.name))
    return f"{packages}, opencv {cv2.__version__}, {folder.name} {sha256_of(code)[:12]}"


def _source(module: str) -> Path:
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None, module
    return Path(found.origin)
