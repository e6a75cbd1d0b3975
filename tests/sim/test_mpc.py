"""The planning expert: it foresees what the world then does, improves on standing still, and repeats itself by seed."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

import vmail_sim
from vmail_sim.experts import load_expert
from vmail_sim.experts.demos import demonstrate
from vmail_sim.experts.mpc import Plan, Planner
from vmail_sim.visual import VisualTask

TINY = Plan(samples=8, horizon=3)


class Point:
    """A ball on a rail, pushed; it is to be at 0.5."""

    XML = """<mujoco><option timestep="0.01"/><worldbody><body><joint name="x" type="slide" axis="1 0 0" damping="1"/>
    <geom size="0.1" mass="1"/></body></worldbody><actuator><motor joint="x" gear="10"/></actuator></mujoco>"""
    action_size, substeps = 1, 10

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(self.XML)
        self.data = mujoco.MjData(self.model)

    def foresight(self) -> Point:
        return self

    def state(self) -> np.ndarray:
        return np.array([self.data.time, self.data.qpos[0], self.data.qvel[0]])

    def controls(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        return actions

    def rewards(self, states: np.ndarray, sensors: np.ndarray, step: int) -> np.ndarray:
        return -np.abs(states[:, 1] - 0.5)


def drive(planner: Planner, seed: int, steps: int = 25) -> np.ndarray:
    point, positions = Point(), []
    planner.begin(point, seed)
    for _ in range(steps):
        point.data.ctrl[:] = planner(point.state())
        mujoco.mj_step(point.model, point.data, point.substeps)
        positions.append(point.data.qpos[0])
    return np.array(positions)


def test_it_gets_where_the_reward_is() -> None:
    positions = drive(Planner(Plan(samples=64, horizon=8)), seed=0)
    assert positions[0] < 0.2 and np.abs(positions[-5:] - 0.5).max() < 0.05


def test_the_same_seed_gives_the_same_actions_with_any_number_of_threads() -> None:
    first, threaded = (drive(Planner(dataclasses.replace(TINY, threads=threads)), seed=3) for threads in (1, 2))
    again = Planner(TINY)
    drive(again, seed=4)
    assert np.array_equal(first, threaded)
    assert np.array_equal(first, drive(again, seed=3)), "an episode leaves nothing behind"
    assert not np.array_equal(first, drive(again, seed=4))


def test_foresight_is_what_then_happens() -> None:
    env = vmail_sim.load("baoding", seed=0, pixels=None)
    env.reset()
    planner = Planner(TINY)
    planner.begin(env, seed=0)
    actions = 0.2 * np.random.default_rng(0).standard_normal((3, 24))
    (foreseen,) = planner._returns(actions[None])
    happened = sum(env.step(action.astype(np.float32)).reward for action in actions)
    assert foreseen == pytest.approx(happened, abs=0.05)


def test_planning_leaves_the_world_as_it_was() -> None:
    env = vmail_sim.load("baoding", seed=0, pixels=None)
    env.reset()
    before, timestep = env.physics.get_state(), env.physics.model.opt.timestep
    planner = Planner(TINY)
    planner.begin(env, seed=0)
    action = planner(env.task.state(env.physics))
    assert action.shape == (24,) and action.dtype == np.float32 and np.abs(action).max() <= 1.0
    assert np.array_equal(env.physics.get_state(), before) and env.physics.model.opt.timestep == timestep


def test_a_plan_brings_the_balls_nearer_to_where_they_should_be() -> None:
    def earned(planner: Planner | None) -> float:
        env = VisualTask("baoding", 64)
        env.reset(seed=0)
        if planner:
            planner.begin(env.env, seed=0)
        return sum(env.step(planner(env.state) if planner else np.zeros(24, np.float32)).reward for _ in range(6))

    assert earned(Planner(Plan(samples=32, horizon=4))) > earned(None) + 0.5


def test_a_demonstration_replays_to_the_pixel(monkeypatch) -> None:
    env = VisualTask("baoding", 64)
    step = VisualTask.step
    monkeypatch.setattr(VisualTask, "step", lambda self, action: step(self, action)._replace(last=True))
    first, second = (demonstrate(Planner(TINY), env, seed=2) for _ in range(2))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.action, second.action)
    assert first.joint_positions is not None and first.joint_positions.shape == (2, 24)
    assert np.array_equal(env.reset(2), first.image[0])
    assert np.array_equal(env.step(first.action[1]).image, first.image[1])


def test_baoding_has_a_planner_and_other_worlds_say_that_they_cannot_be_planned_in() -> None:
    assert isinstance(load_expert("baoding"), Planner)
    with pytest.raises(ValueError, match="HandEnvironment has no `foresight`"):
        Planner(TINY).begin(vmail_sim.load("dclaw_valve3_ccw", pixels=None), seed=0)
