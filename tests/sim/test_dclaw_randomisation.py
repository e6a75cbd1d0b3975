"""A claw that is another one in every episode, and the same one for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vmail_sim
from vmail_sim.dclaw import randomisation

TASK = "dclaw_valve3_ccw"
ALL = {"dynamics": "random", "look": "random", "lateness": "random"}
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (4, 9)).astype(np.float32)


def play(seed: int, pixels: int | None = None, task: str = TASK, **options: str) -> tuple[Any, list[dict[str, Any]]]:
    env = vmail_sim.load(task, seed=7, pixels=pixels, **options)
    env.reset()  # another episode first: nothing of it may stay
    env.reseed(seed)
    return env, [env.reset().observation, *(env.step(action).observation for action in ACTIONS)]


def states(seed: int, **options: str) -> np.ndarray:
    return np.stack([seen["state"] for seen in play(seed, **options)[1]])


@pytest.mark.parametrize("task", [TASK, "dclaw_turn4", "dclaw_pose"])
def test_the_same_seed_gives_the_same_claw_and_another_seed_another(task: str) -> None:
    def frames(seed: int) -> np.ndarray:
        return np.stack([seen["image"] for seen in play(seed, pixels=32, task=task, **ALL)[1]])

    first, second, other = frames(3), frames(3), frames(4)
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_episodes_begin_alike_whatever_is_random() -> None:
    plain, random = states(5), states(5, **ALL)
    assert np.array_equal(plain[0], random[0]) and not np.array_equal(plain[1:], random[1:])


def test_looks_change_pictures_and_nothing_else() -> None:
    (_, plain), (_, random) = play(5, pixels=32), play(5, pixels=32, look="random")
    for before, after in zip(plain, random, strict=True):
        assert np.array_equal(before["state"], after["state"])
        assert np.abs(before["image"].astype(int) - after["image"]).mean() > 5


def test_dynamics_are_drawn_from_robels_ranges_and_do_not_add_up() -> None:
    env, _ = play(0, dynamics="random", look="random")
    nominal = vmail_sim.load(TASK, pixels=None).physics.model
    camera = nominal.name2id("vmail", "camera")
    gains, mounts, cameras = [], [], []
    for _ in range(40):
        env.reset()
        claw = env.physics.model
        for drawn, (least, most) in (
            (claw.dof_damping, randomisation.DAMPING),
            (claw.dof_frictionloss, randomisation.FRICTION_LOSS),
            (claw.actuator_gainprm[:, 0], randomisation.SERVO_GAIN),
            *zip(claw.geom_friction.T, randomisation.FRICTION, strict=True),
        ):
            assert np.all((drawn >= least) & (drawn <= most))
        assert len(set(claw.dof_damping)) == 10 and len(set(claw.geom_friction[:, 0])) == 1
        assert np.array_equal(claw.actuator_biasprm[:, 1], -claw.actuator_gainprm[:, 0])
        gains.append(claw.actuator_gainprm[0, 0])
        mounts.append(claw.body_pos[claw.name2id("mount", "body")] - nominal.body_pos[nominal.name2id("mount", "body")])
        cameras.append(claw.cam_pos[camera] - nominal.cam_pos[camera])
        assert np.linalg.norm(claw.cam_quat[camera]) == pytest.approx(1.0)
        assert 0.0 < np.abs(claw.cam_quat[camera] - nominal.cam_quat[camera]).max() < 0.05
    assert np.ptp(gains) > 1.5
    assert 0.005 < np.abs(mounts).max() <= randomisation.MOUNT_M
    assert 0.008 < np.abs(cameras).max() <= randomisation.CAMERA_M + 1e-9


def test_goals_that_are_late_reach_the_servos_late() -> None:
    env, _ = play(0)
    moved = {}
    for late_by in (0, 16, 39):
        env.reset()
        env.physics.set_claw_and_valve(env.task.robot.rest, 0.0)
        before = env.physics.joint_positions()
        env.physics.command(before + 0.1, late_by)
        env.physics.step(40)
        moved[late_by] = float(np.abs(env.physics.joint_positions() - before).mean())
        assert env.physics.time() == pytest.approx(0.1)
    assert moved[0] > moved[16] > moved[39]
    drawn = set()
    env = vmail_sim.load(TASK, pixels=None, seed=0, lateness="random")
    for _ in range(60):
        env.reset()
        drawn.add(env.task._late_by)
    assert min(drawn) == 0 and max(drawn) <= 16 and len(drawn) > 10


def test_unknown_values_are_answered_with_the_choices() -> None:
    for name in ALL:
        with pytest.raises(ValueError, match=rf"{name}='wild'; choose one of \('[a-z]+', 'random'\)"):
            vmail_sim.load(TASK, **{name: "wild"})
