"""Baoding balls: PDDM's targets, rewards and ends, and balls that lie on the hand as balls do."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

import vmail_sim
from vmail_sim.baoding import model, rewards
from vmail_sim.baoding.servos import MAX_JOINT_STEP
from vmail_sim.baoding.tasks import EPISODE_STEPS
from vmail_sim.visual import VisualTask

STILL = np.zeros(24, np.float32)


def wild(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, 24)).astype(np.float32)


def test_what_is_observed_and_scored() -> None:
    env = VisualTask("baoding", 64)
    image = env.reset(seed=0)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert env.main_score == "radians"
    assert env.joint_positions is not None
    assert env.joint_positions.shape == (env.joint_count,) == (24,) and env.joint_positions.dtype == np.float32
    assert env.step(STILL).image.shape == (64, 64, 3)
    assert set(env.score()) == {"radians", "dropped", "return"}
    assert env.large_picture(96).shape == (96, 96, 3)


def test_fixed_starts_are_all_the_same_and_wide_ones_are_not() -> None:
    def starts(option: str) -> np.ndarray:
        env = vmail_sim.load("baoding", seed=0, pixels=None, starts=option)
        return np.stack([env.reset().observation["state"] for _ in range(4)])

    assert np.ptp(starts("fixed"), axis=0).max() == 0.0
    assert np.ptp(starts("wide"), axis=0)[:24].max() > 0.03
    with pytest.raises(ValueError, match="starts='narrow'.*choose.*wide"):
        vmail_sim.load("baoding", starts="narrow")


@pytest.mark.parametrize("seed", range(4))
def test_the_balls_lie_on_the_hand_and_stay_there_while_it_is_still(seed: int) -> None:
    env = vmail_sim.load("baoding", seed=seed, pixels=None)
    env.reset()
    physics = env.physics
    start, timestep, steps = physics.balls(), None, 0
    assert np.abs(physics.ball_velocities()).max() < 0.05, "at rest"
    while timestep is None or not timestep.last():
        timestep = env.step(STILL)
        steps += 1
        touching = [contact for contact in physics.data.contact if contact.dist < 0.001]
        names = [{physics.model.id2name(geom, "geom") for geom in (c.geom1, c.geom2)} for c in touching]
        for ball in model.BALLS:
            assert any(ball in pair and any(name.startswith("C_") for name in pair) for pair in names), "on the hand"
    assert steps == EPISODE_STEPS
    assert timestep.discount == 1.0, "time ran out: that is no terminal state"
    assert np.abs(physics.balls() - start).max() < 0.02
    assert env.score()["dropped"] == 0.0 and abs(env.score()["radians"]) < 0.5


@pytest.mark.parametrize("seed", range(6))
def test_a_dropped_ball_ends_the_episode_for_good_and_nothing_explodes_before(seed: int) -> None:
    env = vmail_sim.load("baoding", seed=seed, pixels=None)
    env.reset()
    deepest = 0.0
    for action in wild(EPISODE_STEPS, seed):
        timestep = env.step(action)
        if timestep.last():
            break
        contacts = env.physics.data.contact
        deepest = min([deepest, *(contact.dist for contact in contacts)])
        assert np.abs(env.physics.ball_velocities()).max() < 3.0, "nothing but gravity makes it fast"
    assert timestep.last() and timestep.discount == 0.0
    assert timestep.reward < -rewards.DROP_COST
    assert env.physics.balls()[:, 2].min() < rewards.DROPPED_BELOW
    assert env.score()["dropped"] == 1.0
    assert deepest > -0.005, "balls and fingers do not sink into each other"


def test_a_drop_is_an_end_of_the_task_and_time_is_not() -> None:
    env = VisualTask("baoding", 64)
    env.reset(seed=0)
    actions = iter(wild(EPISODE_STEPS))
    while not (step := env.step(next(actions))).last:
        assert not step.ended
    assert step.ended
    env.reset(seed=0)
    steps = [env.step(STILL) for _ in range(EPISODE_STEPS)]
    assert steps[-1].last and not steps[-1].ended and not any(step.last for step in steps[:-1])


def test_a_ball_dropped_in_the_last_step_is_an_end_too() -> None:
    env = vmail_sim.load("baoding", seed=0, pixels=None)
    env.reset()
    for _ in range(EPISODE_STEPS - 1):
        assert not env.step(STILL).last()
    env.physics.place(env.physics.joint_positions(), env.physics.balls() + (0.3, 0.0, -0.1))
    timestep = env.step(STILL)
    assert timestep.last() and timestep.discount == 0.0


def test_targets_go_round_pddms_ellipse_counter_clockwise_once_in_six_seconds() -> None:
    path = np.stack([rewards.targets_in_palm(step) for step in range(61)])[:, :, [0, 2]] - rewards.ELLIPSE_CENTRE
    assert np.allclose(np.linalg.norm(path / (0.02, 0.036), axis=-1), 1.0)
    assert np.allclose(path[0], path[60]) and np.allclose(path[:, 0], -path[:, 1])
    assert np.allclose(path[0, 0], (0.02 * np.cos(3 * np.pi / 4), 0.036 * np.sin(3 * np.pi / 4)))
    angles = np.unwrap(np.arctan2(path[:, 0, 1] / 0.036, path[:, 0, 0] / 0.02))
    assert np.allclose(np.diff(angles), 2 * np.pi / 60)


def test_markers_are_where_the_reward_wants_the_balls() -> None:
    env = vmail_sim.load("baoding", seed=0, pixels=None)
    env.reset()
    for _ in range(25):
        env.step(STILL)
    drawn = np.stack([env.physics.named.data.site_xpos[name] for name in model.MARKERS])
    assert np.allclose(drawn[:, :2], env.task.targets(env.physics), atol=1e-3)
    palm = env.physics.named.data.xpos["palm"]
    expected = rewards.targets_in_palm(24) @ env.physics.named.data.xmat["palm"].reshape(3, 3).T + palm
    assert np.allclose(env.task.targets(env.physics), expected[:, :2])


def test_rewards_are_pddms() -> None:
    wanted = np.array([[0.0, 0.0], [0.1, 0.0]])
    balls = np.array([[0.03, 0.04, 0.2], [0.1, 0.02, 0.2]])
    assert rewards.turning(balls, wanted, np.array(0.0)) == pytest.approx(-5 * (0.05 + 0.02))
    assert rewards.turning(balls, wanted, np.array(0.16)) == pytest.approx(-5 * 0.07 - 10)
    balls[1, 2] = 0.05
    assert rewards.turning(balls, wanted, np.array(0.0)) == pytest.approx(-5 * 0.07 - 500)
    many = rewards.turning(np.stack([balls] * 3), wanted, np.zeros(3))
    assert many.shape == (3,) and np.ptp(many) == 0.0


def test_radians_count_turns_counter_clockwise() -> None:
    env = vmail_sim.load("baoding", seed=0, pixels=None)
    env.reset()
    start = rewards.angle_between(env.physics.balls())
    for turned in np.arange(1, 13) * 0.9:
        offset = 0.03 * np.array([np.cos(start + turned), np.sin(start + turned), 0.0])
        env.physics.place(model.START_JOINTS, np.array([0.0, -0.02, 0.22]) + np.stack([-offset, offset]))
        env.task.after_step(env.physics)
    assert env.score()["radians"] == pytest.approx(12 * 0.9, abs=1e-6)


def test_an_action_of_zero_asks_for_the_start_pose_and_servos_keep_to_range_and_speed() -> None:
    env = vmail_sim.load("baoding", seed=0, pixels=None)
    env.reset()
    servos, (low, high) = env.task.servos, env.physics.model.actuator_ctrlrange.T
    start = np.clip(model.START_JOINTS, low, high)  # PDDM's pose has two joints a little beyond their ranges
    assert np.abs(start - model.START_JOINTS).max() < 0.14 and (start != model.START_JOINTS).sum() == 2
    assert np.allclose(servos.targets(np.zeros(24), model.START_JOINTS), start)
    for sign, end in ((1.0, high), (-1.0, low)):
        joints, reached = start, None
        for _ in range(20):
            reached = servos.targets(np.full(24, sign), joints)
            assert np.all(np.abs(reached - joints) <= MAX_JOINT_STEP + 1e-12)
            assert np.all((reached >= low) & (reached <= high))
            joints = reached
        expected = np.clip(model.START_JOINTS + 0.9 * np.abs(end - model.START_JOINTS) * sign, low, high)
        inside = start == model.START_JOINTS
        assert np.allclose(reached[inside], expected[inside])


def test_contacts_and_wrist_are_pddms_and_colliding_shapes_are_the_packages_own() -> None:
    ours = mujoco.MjModel.from_xml_string(*model.hand_xml())
    theirs = mujoco.MjModel.from_xml_path(str(model.adroit_folder() / "adroit_pen.xml"))
    for ball in model.BALLS:
        geom = ours.geom(ball)
        assert geom.size[0] == 0.028 and geom.condim == 4 and ours.body(ball).mass == pytest.approx(0.043)
    assert ours.actuator("A_WRJ0").gainprm[0] == 5.0 == -ours.actuator("A_WRJ0").biasprm[1]
    assert ours.actuator("A_FFJ2").gainprm[0] == 1.0
    names = [ours.geom(i).name for i in range(ours.ngeom) if ours.geom(i).name.startswith("C_")]
    assert len(names) > 15
    for name in names:
        mine, original = ours.geom(name), theirs.geom(name)
        assert np.array_equal(mine.size, original.size) and np.allclose(mine.pos, original.pos)
        assert mine.friction[0] == 1.0 and mine.friction[1] == 0.005


def test_palm_and_both_balls_are_seen() -> None:
    image = VisualTask("baoding", 64).reset(seed=0).astype(int)
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    yellow = (red > 120) & (green > 100) & (blue < 80)
    pink = (red > 110) & (green < 90) & (blue < 100)
    dark = image.max(-1) < 100
    assert yellow.sum() > 100 and pink.sum() > 100 and dark.sum() > 300


def test_missing_assets_say_how_to_get_them(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gymnasium-robotics==1.4.2"):
        model.adroit_folder()
