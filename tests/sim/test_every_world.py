"""Every task as one table has it: its specs, when its episodes end, and the same frames for the same seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import dm_env
import numpy as np
import pytest

import vmail_sim
from vmail_sim.world import World


class Facts(NamedTuple):
    """What is known of a task beside its code."""

    steps: int  # of an episode whose time runs out
    period: float  # s, of a control step
    actions: int
    state: int
    joints: int  # that an observation tells
    ends_early: bool = False  # whether there is an end of the task itself


SCREW = Facts(steps=80, period=0.1, actions=9, state=33, joints=9)
TURN = Facts(steps=40, period=0.1, actions=9, state=33, joints=9)
VALVE = Facts(steps=80, period=0.1, actions=9, state=30, joints=9)
WALKER = Facts(steps=500, period=0.05, actions=6, state=24, joints=0)
WORLDS = {
    "baoding": Facts(steps=100, period=0.1, actions=24, state=40, joints=24, ends_early=True),  # a dropped ball
    "car_racing": Facts(steps=500, period=0.04, actions=3, state=48, joints=0, ends_early=True),  # a lap, off the field
    "cheetah_run": Facts(steps=500, period=0.02, actions=6, state=17, joints=0),
    "dclaw_pose": Facts(steps=80, period=0.05, actions=9, state=36, joints=9),
    "dclaw_screw3": SCREW,
    "dclaw_screw4": SCREW,
    "dclaw_turn3": TURN,
    "dclaw_turn4": TURN,
    "dclaw_valve3_ccw": VALVE,
    "dclaw_valve3_cw": VALVE,
    "dclaw_valve4_ccw": VALVE,
    "dclaw_valve4_cw": VALVE,
    "walker_pace": WALKER,
    "walker_run": WALKER,
    "walker_stand": WALKER,
    "walker_walk": WALKER,
}
BRAKING = np.array([0.0, -1.0, 1.0], np.float32)
STRAIGHT_ON = np.array([0.0, -0.6, -1.0], np.float32)  # full gas would make the car spin

every_task = pytest.mark.parametrize("task", vmail_sim.task_names())


def calm(task: str) -> Iterable[np.ndarray]:
    """Actions without end that neither drop a ball nor leave the field."""
    return itertools.repeat(BRAKING if task == "car_racing" else np.zeros(WORLDS[task].actions, np.float32))


def wild(task: str, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, WORLDS[task].actions)).astype(np.float32)


def reckless(task: str) -> Iterable[np.ndarray]:
    """Actions that end what can be ended."""
    return itertools.repeat(STRAIGHT_ON) if task == "car_racing" else wild(task, WORLDS[task].steps)


def play(env: World, actions: Iterable[np.ndarray]) -> list[dm_env.TimeStep]:
    """What an episode's steps bring, to its end or that of the actions."""
    env.reset()
    found = []
    for action in actions:
        found.append(env.step(action))
        if found[-1].last():
            break
    return found


def test_the_table_has_every_task() -> None:
    assert sorted(WORLDS) == vmail_sim.task_names()


@every_task
def test_what_comes_is_what_the_specs_say_before_the_first_reset(task: str) -> None:
    env, facts = vmail_sim.load(task, seed=0), WORLDS[task]
    actions, specs = env.action_spec(), env.observation_spec()
    assert actions.shape == (facts.actions,) and actions.dtype == np.float32
    assert np.all(actions.minimum == -1.0) and np.all(actions.maximum == 1.0)
    assert specs["image"].shape == (64, 64, 3) and specs["image"].dtype == np.uint8
    assert specs["state"].shape == (facts.state,) and specs["state"].dtype == np.float32
    assert env.joint_count == facts.joints and env.control_timestep() == pytest.approx(facts.period)
    assert ("joint_positions" in specs) == (facts.joints > 0)
    assert facts.joints == 0 or specs["joint_positions"].shape == (facts.joints,)
    start = env.reset()
    assert start.first() and start.reward is None
    for timestep in (start, *(env.step(action) for action in wild(task, 2))):
        assert set(timestep.observation) == set(specs)
        for name, spec in specs.items():
            spec.validate(timestep.observation[name])
        assert np.isfinite(timestep.observation["state"]).all()
    assert timestep.mid() and np.isfinite(timestep.reward)


@every_task
def test_an_episode_ends_when_its_time_runs_out_which_is_no_terminal_state(task: str) -> None:
    env, steps = vmail_sim.load(task, seed=0, pixels=None), WORLDS[task].steps
    timesteps = play(env, itertools.islice(calm(task), steps + 1))
    assert len(timesteps) == steps and timesteps[-1].last()
    assert {timestep.discount for timestep in timesteps} == {1.0}
    assert all(np.isfinite(timestep.observation["state"]).all() for timestep in timesteps)
    assert set(timesteps[-1].observation) == set(env.observation_spec()) and "image" not in timesteps[-1].observation
    following = env.step(next(iter(calm(task))))
    assert following.first() and following.reward is None, "the next episode begins"
    assert not env.step(next(iter(calm(task)))).last()


@every_task
def test_an_episode_ends_early_where_the_task_itself_can_end_and_nowhere_else(task: str) -> None:
    facts = WORLDS[task]
    *before, end = play(vmail_sim.load(task, seed=0, pixels=None), reckless(task))
    assert end.last() and {timestep.discount for timestep in before} == {1.0}
    if facts.ends_early:
        assert len(before) + 1 < facts.steps and end.discount == 0.0
    else:
        assert len(before) + 1 == facts.steps and end.discount == 1.0


@every_task
def test_the_same_seed_gives_the_same_episodes_whatever_was_played_before(task: str) -> None:
    actions = wild(task, 4)

    def two_episodes(env: World) -> dict[str, np.ndarray]:
        seen, rewards = [], []
        for _ in range(2):
            seen.append(env.reset().observation)
            for action in actions:
                timestep = env.step(action)
                assert timestep.mid()
                seen.append(timestep.observation)
                rewards.append(timestep.reward)
        return {name: np.stack([each[name] for each in seen]) for name in seen[0]} | {"reward": np.array(rewards)}

    first = two_episodes(vmail_sim.load(task, seed=4))
    used = vmail_sim.load(task, seed=9)
    play(used, actions)
    used.reseed(4)
    again = two_episodes(used)
    used.reseed(5)
    other = two_episodes(used)
    assert first["image"].shape == (10, 64, 64, 3)
    for name, expected in first.items():
        assert np.array_equal(expected, again[name]), name
    for name in ("image", "state", "reward"):
        assert not np.array_equal(first[name], other[name]), name
    assert not np.array_equal(first["state"][0], first["state"][5]), "episodes of a seed differ"
