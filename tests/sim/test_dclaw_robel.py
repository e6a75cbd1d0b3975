"""ROBEL's tasks: what is drawn, what is shown, what counts. Their rewards are in test_dclaw_rewards.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vmail_sim
from vmail_core.robot import load_robot
from vmail_sim.dclaw import robel

ZERO = np.zeros(9, np.float32)


@pytest.mark.parametrize("name", ["dclaw_turn3", "dclaw_turn4", "dclaw_screw3", "dclaw_screw4", "dclaw_pose"])
def test_scores_of_an_episode_are_shares(name: str) -> None:
    env = vmail_sim.load(name, seed=0, pixels=None)
    assert env.main_score == "success"
    env.reset()
    while not env.step(ZERO).last():
        pass
    assert 0.0 <= env.score()["success"] <= 1.0 and 0.0 <= env.score()["points"] <= 1.0


def drawn(name: str, goal: str, episodes: int = 30) -> tuple[Any, np.ndarray]:
    """The environment, and (valve's angle, target, target's speed) at the start of each episode."""
    env = vmail_sim.load(name, seed=0, pixels=None, goal=goal)
    found = []
    for _ in range(episodes):
        env.reset()
        found.append((env.physics.valve_angle(), env.task._target, env.task._target_speed))
        assert np.array_equal(env.physics.joint_positions(), load_robot("dclaw").rest)
    return env, np.array(found)


def test_turn_begins_as_robels() -> None:
    _, fixed = drawn("dclaw_turn3", "fixed", 2)
    assert np.array_equal(fixed, [[0.0, np.pi, 0.0]] * 2)
    _, random = drawn("dclaw_turn4", "random")
    assert np.abs(random[:, 0]).max() <= np.pi / 3 and np.ptp(random[:, 0]) > 1.5
    assert np.abs(random[:, 1] - np.pi).max() <= np.pi / 3 and np.ptp(random[:, 1]) > 1.5
    assert np.abs(np.corrcoef(random[:, :2].T)[0, 1]) < 0.6, "start and target are drawn apart"


def test_screw_begins_as_robels_and_its_target_turns() -> None:
    _, fixed = drawn("dclaw_screw4", "fixed", 2)
    assert np.array_equal(fixed, [[0.0, 0.0, 0.5]] * 2)
    env, random = drawn("dclaw_screw3", "random")
    assert np.array_equal(random[:, 0], random[:, 1]) and np.ptp(random[:, 0]) > 4.0
    assert np.abs(random[:, 2]).max() <= 0.75 and random[:, 2].min() < -0.3 < 0.3 < random[:, 2].max()
    before = env.task._target
    for _ in range(10):
        env.step(ZERO)
    assert env.task._target - before == pytest.approx(env.task._target_speed)


@pytest.mark.parametrize("target", [0.0, 2.0, -2.5])
def test_the_mark_shows_where_the_valves_own_should_be(target: float) -> None:
    physics = vmail_sim.load("dclaw_screw3", pixels=None).physics
    physics.point_target(target)
    physics.set_claw_and_valve(load_robot("dclaw").rest, target)

    def bearing(site: str) -> float:
        x, y = physics.named.data.site_xpos[site][:2] - physics.named.data.xpos["valve"][:2]
        return float(np.arctan2(y, x))

    apart = bearing("tmark") - bearing("valve_mark")
    assert np.mod(apart + np.pi, 2 * np.pi) - np.pi == pytest.approx(0.0, abs=0.01)


def test_a_turned_valve_is_a_success() -> None:
    env = vmail_sim.load("dclaw_turn3", seed=1, pixels=None)
    rest = load_robot("dclaw").action_of(load_robot("dclaw").rest)
    env.reset()
    env.step(rest)
    assert env.score()["success"] == 0.0
    env.physics.data.qpos[-1] = env.task._target - 2 * np.pi + 0.09  # whole turns do not count
    timestep = env.step(rest)
    assert env.score()["success"] == 0.5 and timestep.reward > 55.0


def test_poses_are_drawn_and_move_as_robels() -> None:
    env = vmail_sim.load("dclaw_pose", seed=0, pixels=None)
    scale = load_robot("dclaw").scale
    for _ in range(10):
        env.reset()
        wanted = [env.task._wanted]
        assert np.array_equal(env.physics.joint_positions(), wanted[0]), "the claw begins where it is wanted"
        for _ in range(20):
            env.step(ZERO)
            wanted.append(env.task._wanted)
        assert np.all(np.abs(wanted) <= scale + 1e-9) and np.all(np.array(wanted)[:, list(robel.OUTWARD)] <= 0.0)
        speed = np.abs(np.diff(wanted, axis=0)) / 0.05
        assert 0.1 < speed.max() <= np.pi / 6 + 1e-9


def test_a_fixed_pose_is_another_than_the_first_and_stays() -> None:
    env = vmail_sim.load("dclaw_pose", seed=0, pixels=None, goal="fixed")
    env.reset()
    wanted = env.task._wanted.copy()
    assert np.abs(env.task.pose_error(env.physics)).max() > 0.3
    action = load_robot("dclaw").action_of(wanted)
    for _ in range(40):
        env.step(action)
    assert np.array_equal(env.task._wanted, wanted)
    assert env.score()["success"] > 0.3, "it is reached when it is asked for"


def test_the_wanted_pose_is_seen_and_touches_nothing() -> None:
    env = vmail_sim.load("dclaw_pose", seed=0, goal="fixed")
    first = env.reset().observation["image"]
    joints = env.physics.joint_positions()
    env.physics.show_pose(joints)
    assert np.abs(env.picture(64, 64).astype(int) - first).max() > 60
    green = (first[..., 1] > first[..., 0] + 40).mean()
    assert 0.02 < green < 0.4
    env.physics.forward()
    assert env.physics.data.ncon == 0


def test_an_unknown_goal_is_answered_with_the_choices() -> None:
    with pytest.raises(ValueError, match="goal='far'; choose one of"):
        vmail_sim.load("dclaw_turn3", goal="far")
    with pytest.raises(ValueError, match="dclaw_pose has no option 'kick'; its options: pixels, seed, goal, dynamics"):
        vmail_sim.load("dclaw_pose", kick="valve")
