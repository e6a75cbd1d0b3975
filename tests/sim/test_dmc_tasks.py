"""Tasks of the DeepMind Control suite: its own rewards, and pictures as others recorded them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dm_control import suite
from dm_control.suite import walker

import vmail_sim
from vmail_sim.dmc.tasks import SuiteTask
from vmail_sim.dmc.walker_pace import PlanarWalkerAtPace
from vmail_sim.visual import VisualTask

SUITE = ("cheetah_run", "walker_run", "walker_stand", "walker_walk")
DEMONSTRATIONS = Path(__file__).parents[3] / "shared" / "data" / "walker_walk_expert"
BODIES = ("torso", "right_thigh", "right_leg", "right_foot", "left_thigh", "left_leg", "left_foot")
PARENTS = (0, 1, 2, 0, 4, 5)
JOINTS = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")


def some_actions(env: VisualTask, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, env.action_size)).astype(np.float32)


@pytest.mark.parametrize("name", SUITE)
def test_rewards_are_the_suites_own_over_both_repeats(name: str) -> None:
    env = VisualTask(name, 64)
    env.reset(seed=3)
    reference = suite.load(*name.split("_"), task_kwargs={"random": 3})
    reference.reset()
    total = 0.0
    for action in some_actions(env, 20):
        expected = sum(reference.step(action).reward for _ in range(2))
        assert env.step(action).reward == pytest.approx(expected, abs=1e-12)
        total += expected
    assert env.score() == {"return": pytest.approx(total)}


@pytest.mark.parametrize(
    ("speed", "share"), [(0.0, 1 / 6), (1.0, 3.5 / 6), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0), (5.0, 3.5 / 6), (8.0, 1 / 6)]
)
def test_at_a_pace_the_reward_is_that_of_standing_and_of_the_speed(speed: float, share: float) -> None:
    physics = walker.Physics.from_xml_string(*walker.get_model_and_assets())
    with physics.reset_context():
        physics.named.data.qpos["rootz"] = 0.1
        physics.named.data.qvel["rootx"] = speed
    assert physics.horizontal_velocity() == pytest.approx(speed)
    standing = walker.PlanarWalker(move_speed=0).get_reward(physics)
    assert 0.9 < standing <= 1.0
    assert PlanarWalkerAtPace((2.0, 4.0)).get_reward(physics) == pytest.approx(standing * share)


def test_there_are_no_joints_to_read() -> None:
    env = VisualTask("walker_walk", 64)
    env.reset(seed=0)
    assert env.joint_count == 0 and env.joint_positions is None


@pytest.mark.parametrize("name", ["cheetah_run", "walker_walk"])
def test_the_classic_look_has_shadows_and_the_plain_one_has_not(name: str) -> None:
    plain, classic = (VisualTask(name, 64, look=look).reset(seed=0).astype(int) for look in ("plain", "classic"))
    floor = slice(48, 64)
    assert (classic[floor] - plain[floor]).min() < -20


def test_options_that_a_task_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="task walker_walk has no option 'kick'; its options: pixels, seed, look"):
        vmail_sim.load("walker_walk", kick="valve")
    with pytest.raises(ValueError, match="look 'nice' is not one of plain, classic"):
        vmail_sim.load("walker_walk", look="nice")
    with pytest.raises(ValueError, match="seed of task walker_walk is no option"):
        VisualTask("walker_walk", 64, seed=1)


def pose_as_recorded(env: SuiteTask, orientations: np.ndarray, height: float) -> None:
    """Put the walker where its observations (14,) and (1,) say that it was."""
    physics, angle = env.physics, np.arctan2(orientations[1::2], orientations[0::2])
    position = physics.named.data.qpos
    physics.data.qpos[:] = 0.0
    position["rooty"] = angle[0]
    for index, (joint, parent) in enumerate(zip(JOINTS, PARENTS, strict=True), 1):
        position[joint] = angle[parent] - angle[index]
    physics.forward()
    position["rootz"] += height - physics.named.data.xpos["torso", "z"]
    physics.forward()
    assert physics.orientations() == pytest.approx(orientations, abs=1e-5)


@pytest.mark.skipif(not DEMONSTRATIONS.is_dir(), reason="the ten walker demonstrations made by others are not here")
def test_the_classic_look_is_that_of_demonstrations_made_with_mujoco_2() -> None:
    def difference(look: str) -> float:
        env = SuiteTask("walker", "walk", look=look)
        env.reset()
        found = []
        for path in sorted(DEMONSTRATIONS.glob("*.npz")):
            with np.load(path) as demo:
                pose_as_recorded(env, demo["orientations"][0], float(demo["height"][0]))
                found.append(np.abs(env.picture(64, 64).astype(float) - demo["image"][0]).mean())
        return float(np.mean(found))

    # Of 255 grey levels; what is left is the sky's noise and the outlines' smoothing, both by the graphics driver.
    assert difference("classic") < 3.0
    assert difference("plain") > 8.0
