"""The rewards agree with robel's own definition, which is read from its installed source and run as it is."""

import ast
import collections
from types import SimpleNamespace

import numpy as np
import pytest

import vmail_sim
from vmail_sim.dclaw.model import robel_root
from vmail_sim.dclaw.rewards import pose

REST = np.array([0.0, -np.pi / 3, np.pi / 3] * 3)


def robels(module: str, class_name: str, method: str):
    """A method of robel's, compiled alone: its modules want mujoco-py."""
    source = (robel_root() / "dclaw" / f"{module}.py").read_text()
    (task,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == class_name]
    (function,) = [n for n in task.body if isinstance(n, ast.FunctionDef) and n.name == method]
    for argument in function.args.args:
        argument.annotation = None
    function.returns = None
    namespace: dict = {"np": np, "collections": collections, "DynamixelRobotState": ()}
    namespace["SUCCESS_THRESHOLD"] = 10 * np.pi / 180
    exec(compile(ast.Module([function], []), f"robel/dclaw/{module}.py", "exec"), namespace)
    return namespace[method]


def robels_rewards(joints, velocities, target_error) -> dict[str, float]:
    task = SimpleNamespace(_desired_claw_pos=REST)
    observation = {"target_error": np.array([target_error]), "claw_qpos": joints, "claw_qvel": velocities}
    rewards = robels("turn", "BaseDClawTurn", "get_reward_dict")(task, np.zeros(9), observation)
    return {name: float(np.squeeze(value)) for name, value in rewards.items()}


@pytest.mark.parametrize("name", [name for name in vmail_sim.task_names() if "valve" in name])
def test_valve_turning_is_robels_costs_plus_five_times_the_valve_speed(name):
    env = vmail_sim.load(name, seed=3, pixels=None)
    direction = 1 if name.endswith("ccw") else -1
    rng = np.random.default_rng(0)
    env.reset()
    for _ in range(60):
        timestep = env.step(rng.uniform(-1, 1, 9).astype(np.float32))
        physics = env.physics
        robel = robels_rewards(physics.joint_positions(), physics.joint_velocities(), 0.0)
        wanted = robel["pose_diff_cost"] + robel["joint_vel_cost"] + 5.0 * direction * float(physics.data.qvel[-1])
        assert timestep.reward == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", ["dclaw_screw3", "dclaw_screw4", "dclaw_turn3", "dclaw_turn4"])
def test_turn_and_screw_have_robels_reward(name):
    env = vmail_sim.load(name, seed=3, pixels=None)
    rng = np.random.default_rng(0)
    env.reset()
    for _ in range(40):
        timestep = env.step(rng.uniform(-1, 1, 9).astype(np.float32))
        physics = env.physics
        error = env.task.target_error(physics)
        robel = robels_rewards(physics.joint_positions(), physics.joint_velocities(), error)
        assert timestep.reward == pytest.approx(sum(robel.values()), abs=1e-6)


def test_robels_bonuses_are_met_when_the_valve_is_on_target():
    robel = robels_rewards(REST, np.zeros(9), 0.05)
    assert robel["bonus_small"] == 10 and robel["bonus_big"] == 50


def test_pose_has_robels_reward_and_points():
    env = vmail_sim.load("dclaw_pose", seed=3, pixels=None)
    rng = np.random.default_rng(0)
    env.reset()
    points, successes = [], []
    safety = SimpleNamespace(_get_safety_scores=lambda **given: {})
    for _ in range(40):
        timestep = env.step(rng.uniform(-1, 1, 9).astype(np.float32))
        error = env.task.pose_error(env.physics)
        seen = {"qpos": env.physics.joint_positions(), "qvel": 3.0 * env.physics.joint_velocities()}
        rewards = robels("pose", "BaseDClawPose", "get_reward_dict")(None, None, seen | {"qpos_error": error})
        assert pose(error, seen["qvel"]) == pytest.approx(sum(rewards.values()))
        assert timestep.reward == pytest.approx(pose(error, env.physics.joint_velocities()))
        batch = {name: value[None] for name, value in (seen | {"qpos_error": error}).items()}
        scores = robels("pose", "BaseDClawPose", "get_score_dict")(safety, batch, None)
        points.append(scores["points"].item())
        successes.append(scores["success"].item())
    assert env.score() == {"success": pytest.approx(np.mean(successes)), "points": pytest.approx(np.mean(points))}
    assert 0.0 < np.mean(points) < 1.0
