"""Experts for ROBEL's tasks, made of those of the valve tasks."""

from __future__ import annotations

import numpy as np
import pytest

import vmail_sim
from vmail_sim.experts import load_expert, policy

EPISODES = 3


def successes(task: str, goal: str, seed: int) -> list[float]:
    env, expert, found = vmail_sim.load(task, seed=seed, pixels=None, goal=goal), load_expert(task), []
    for _ in range(EPISODES):
        timestep = env.reset()
        while not timestep.last():
            timestep = env.step(expert(timestep.observation["state"]))
        found.append(env.score()["success"])
    return found


@pytest.mark.parametrize("prongs", [3, 4])
@pytest.mark.parametrize("goal", ["random", "fixed"])
def test_the_valve_is_turned_to_its_target_and_kept_there(prongs: int, goal: str) -> None:
    assert min(successes(f"dclaw_turn{prongs}", goal, 5)) >= 0.25  # half of the time it is on its way


@pytest.mark.parametrize("prongs", [3, 4])
@pytest.mark.parametrize("goal", ["random", "fixed"])
def test_the_valve_follows_its_target_either_way(prongs: int, goal: str) -> None:
    assert np.mean(successes(f"dclaw_screw{prongs}", goal, 5)) > 0.7


@pytest.mark.parametrize(("goal", "least"), [("random", 0.95), ("fixed", 0.7)])
def test_poses_are_taken_and_followed(goal: str, least: float) -> None:
    assert min(successes("dclaw_pose", goal, 5)) >= least


def test_a_turner_is_known_by_the_experts_that_it_uses(tmp_path, monkeypatch) -> None:
    before = policy.fingerprint("dclaw_turn3")
    assert before.startswith("vmail_sim.experts.claw:TurnerOfThree ")
    assert before.split()[1] != policy.fingerprint("dclaw_turn4").split()[1]
    for name in policy.RULES["dclaw_turn3"].uses:
        (tmp_path / f"{name}.safetensors").write_bytes(b"another one")
    monkeypatch.setattr(policy, "WEIGHTS", tmp_path)
    assert policy.fingerprint("dclaw_turn3") != before
