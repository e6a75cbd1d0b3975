"""Demonstrations of an expert in the bare simulator, as episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from vmail_core.episodes.commanders import EXPERT_SOURCE
from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import write_episode
from vmail_sim.experts.policy import ExpertPolicy, load_expert
from vmail_sim.visual import VisualTask


def demonstrate(expert: ExpertPolicy, env: VisualTask, seed: int) -> Episode:
    """One episode of the expert, its full states kept as `provenance["states"]` for state-cloning controls."""
    images, actions, rewards = [env.reset(seed)], [np.zeros(env.action_size, np.float32)], [0.0]
    states, joints = [env.state.tolist()], [env.joint_positions]
    last = False
    while not last:
        action = expert(env.state)
        step = env.step(action)
        images.append(step.image)
        actions.append(action)
        rewards.append(step.reward)
        states.append(env.state.tolist())
        joints.append(env.joint_positions)
        last = step.last
    known = [positions for positions in joints if positions is not None]
    provenance: dict[str, Any] = {
        "source": EXPERT_SOURCE,
        "task": env.task,
        "seed": seed,
        "simulator": f"mujoco {mujoco.__version__}",
        "score": env.score(),
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


def record_demonstrations(task: str, episodes: int, out: str | Path, seed: int = 0, image_size: int = 64) -> list[dict]:
    """Write `episodes` demonstrations of a task's shipped expert to `out`; returns their scores."""
    env, expert, scores = VisualTask(task, image_size), load_expert(task), []
    for index in range(episodes):
        episode = demonstrate(expert, env, seed + index)
        write_episode(out, episode, f"{task}_{seed + index:05d}")
        scores.append(episode.provenance["score"])
    return scores
