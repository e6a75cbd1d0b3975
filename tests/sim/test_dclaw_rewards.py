"""The rewards agree with robel's own definition, which is read from its installed source and run as it is."""

import ast
from types import SimpleNamespace

import numpy as np
import pytest

import vmail_sim
from vmail_sim.dclaw.model import robel_root

REST = np.array([0.0, -np.pi / 3, np.pi / 3] * 3)


def robels_reward_function():
    """`get_reward_dict` of robel's Turn and Screw tasks, compiled alone: its module wants mujoco-py."""
    source = (robel_root() / "dclaw" / "turn.py").read_text()
    tasks = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "BaseDClawTurn"]
    (function,) = [n for n in tasks[0].body if isinstance(n, ast.FunctionDef) and n.name == "get_reward_dict"]
    for argument in function.args.args:
        argument.annotation = None
    function.returns = None
    namespace: dict = {"np": np, "collections": __import__("collections")}
    exec(compile(ast.Module([function], []), "robel/dclaw/turn.py", "exec"), namespace)
    return namespace["get_reward_dict"]


def robels_rewards(joints, velocities, target_error) -> dict[str, float]:
    task = SimpleNamespace(_desired_claw_pos=REST)
    observation = {"target_error": np.array([target_error]), "claw_qpos": joints, "claw_qvel": velocities}
    rewards = robels_reward_function()(task, np.zeros(9), observation)
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


@pytest.mark.parametrize("name", ["dclaw_screw3", "dclaw_screw4"])
def test_screw_is_robels_reward(name):
    env = vmail_sim.load(name, seed=3, pixels=None)
    rng = np.random.default_rng(0)
    env.reset()
    for _ in range(60):
        timestep = env.step(rng.uniform(-1, 1, 9).astype(np.float32))
        physics = env.physics
        error = env.task.target_error(physics)
        robel = robels_rewards(physics.joint_positions(), physics.joint_velocities(), error)
        assert timestep.reward == pytest.approx(sum(robel.values()), abs=1e-6)


def test_robels_bonuses_are_met_when_the_valve_is_on_target():
    robel = robels_rewards(REST, np.zeros(9), 0.05)
    assert robel["bonus_small"] == 10 and robel["bonus_big"] == 50
