"""Demonstrations of an expert in the bare simulator, as episodes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vmail_core.episodes.commanders import EXPERT_SOURCE
from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import write_episode
from vmail_sim.experts.mpc import Planner
from vmail_sim.experts.policy import Expert, load_expert
from vmail_sim.visual import VisualTask

# The task's main score from which on an episode is a demonstration; the next start takes the place of one below it.
LEAST_SCORE = {"baoding": 8.0, "car_racing": 850.0}
MOST_STARTS = 3  # tried for each demonstration, before it is the expert that is wrong
# Whose versions decide what a start leads to, where it is not MuJoCo.
PHYSICS = {"car_racing": ("gymnasium", "box2d")}


class Recorded(NamedTuple):
    """Scores by seed: of the demonstrations that were written, and of the episodes that fell short."""

    kept: dict[int, dict[str, float]]
    left_out: dict[int, dict[str, float]]


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
        "simulator": ", ".join(f"{name} {version(name)}" for name in PHYSICS.get(env.task, ("mujoco",))),
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


def record_demonstrations(task: str, episodes: int, out: str | Path, seed: int = 0, image_size: int = 64) -> Recorded:
    """Write `episodes` demonstrations of a task's expert to `out`, of starts from `seed` on.

    Raises:
        RuntimeError: too many starts end below `LEAST_SCORE`.
    """
    env, expert, found = VisualTask(task, image_size), load_expert(task), Recorded({}, {})
    least = LEAST_SCORE.get(task, float("-inf"))
    for start in range(seed, seed + MOST_STARTS * episodes):
        if len(found.kept) == episodes:
            break
        episode = demonstrate(expert, env, start)
        score = episode.provenance["score"]
        if score[env.main_score] < least:
            found.left_out[start] = score
            continue
        write_episode(out, episode, f"{task}_{start:05d}")
        found.kept[start] = score
    if len(found.kept) < episodes:
        raise RuntimeError(
            f"{len(found.left_out)} of {MOST_STARTS * episodes} starts of {task} ended below {least:g} "
            f"({env.main_score}), and {len(found.kept)} demonstrations of {episodes} were written"
        )
    return found
