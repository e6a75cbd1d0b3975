"""Which demonstrations a run can learn from, and what it says of the others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vmail_core.episodes.episode import Episode
from vmail_core.learners.config import load_config
from vmail_core.learners.demonstrations import actions_digest, demo_name, held_out, usable


def demo(rows: int = 9, actions: int = 2, pixels: int = 32, joints: int = 0, **notes: object) -> Episode:
    image, action = np.zeros((rows, pixels, pixels, 3), np.uint8), np.zeros((rows, actions), np.float32)
    angles = np.zeros((rows, joints), np.float32) if joints else None
    return Episode(image, action, np.arange(float(rows)), angles, provenance=notes)


PROPRIOCEPTION = {"model.proprioception": True, "model.joint_scale": 1.0}


def test_what_is_too_short_for_a_chunk_is_left_out_by_name() -> None:
    config, whole = load_config("debug"), demo()
    kept, remarks = usable([demo(rows=5, bag="take_0003"), whole], config, 2, 0)
    assert kept == [whole]
    assert remarks == ["left out: take_0003 has 5 rows, chunks need 6"]
    with pytest.raises(ValueError, match=r"chunks need 6 rows, but take_0003 has 5 rows: lower train\.length"):
        usable([demo(rows=5, bag="take_0003")], config, 2, 0)


def test_simulated_demonstrations_that_look_unlike_practice_are_remarked() -> None:
    random, plain, real = demo(task_options={"look": "random"}), demo(task_options={}), demo(bag="of a real hand")
    config = load_config("debug", {"task_options.look": "random"})
    (remark,) = usable([random, plain, real], config, 2, 0)[1]
    assert remark.startswith("1 of 3 demonstrations were made with look=plain, practice has look=random")
    assert f"vmail expert {config.task} --set look=random" in remark
    assert not usable([random, real], config, 2, 0)[1] and not usable([plain, real], load_config("debug"), 2, 0)[1]


@pytest.mark.parametrize(
    ("given", "settings", "reason"),
    [
        (demo(actions=7, file="lift.hdf5"), {}, r"lift\.hdf5 has 7 actions, dclaw_valve3_ccw has 2"),
        (demo(task="walker_walk", bag="odd"), {}, "odd shows walker_walk, not dclaw_valve3_ccw: set task=walker_walk"),
        (demo(bag="small"), {"model.image_size": 64}, r"small has pictures of 32 px, model\.image_size=64 needs"),
        (demo(bag="blind"), {"model.joint_scale": 1.0}, r"has no joint angles.*model\.joint_scale=0"),
        (
            demo(bag="blind"),
            PROPRIOCEPTION,
            r"blind has no joint angles; model\.proprioception wants.*_scale=0 and model",
        ),
        (
            demo(joints=9, bag="claw"),
            PROPRIOCEPTION,
            "claw has 9 joint angles, dclaw_valve3_ccw has 24; model.proprioc",
        ),
        (demo(joints=9, bag="claw"), {"model.joint_scale": 1.0}, "claw has 9 joint angles, dclaw_valve3_ccw has 24"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: Episode, settings: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        usable([given], load_config("debug", settings), 2, joint_count=24)


def test_more_joints_than_actions_are_learned_from_where_the_task_has_as_many() -> None:
    hand = demo(actions=2, joints=24)
    assert usable([hand], load_config("debug", PROPRIOCEPTION), 2, joint_count=24)[0] == [hand]


def test_joint_angles_that_nobody_wants_may_be_any() -> None:
    strange = [demo(joints=3), demo()]
    assert usable(strange, load_config("debug"), 2, joint_count=24)[0] == strange


def test_names_say_where_a_demonstration_came_from() -> None:
    assert demo_name(demo(bag="take_0001", source="bag")) == "take_0001"
    assert demo_name(demo(file="lift.hdf5", demonstration="demo_3")) == "lift.hdf5/demo_3"
    assert demo_name(demo(source="expert in simulator", seed=4)) == "expert in simulator, seed 4"


def test_takes_that_the_run_learned_from_are_left_out_by_name() -> None:
    config, fresh = load_config("debug"), demo(bag="take_0009")
    kept, remarks = held_out([demo(bag="take_0001"), fresh], {"demos": ["take_0001", "take_0002"]}, config, 2, 0)
    assert kept == [fresh]
    assert remarks == ["left out: take_0001, the run learned from it"]
    with pytest.raises(
        ValueError, match=r"learned from every take that was given \(take_0001\): give takes that it has not seen"
    ):
        held_out([demo(bag="take_0001")], {"demos": ["take_0001"]}, config, 2, 0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (demo(actions=7, bag="odd"), "odd has 7 actions, dclaw_valve3_ccw has 2"),
        (demo(task="walker_walk", bag="odd"), "odd shows walker_walk, the run learned dclaw_valve3_ccw"),
        (demo(pixels=16, bag="small"), r"small has pictures of 16 px, model\.image_size=32"),
    ],
)
def test_takes_that_do_not_fit_the_run_are_refused_by_name(given: Episode, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        held_out([demo(), given], {"demos": []}, load_config("debug"), 2, 0)


def test_takes_without_the_joints_that_a_policy_observes_are_refused():
    config = load_config("debug", {"model.proprioception": True, "model.joint_scale": 1.0})
    with pytest.raises(ValueError, match="no joint angles, the run's policy observes 3"):
        held_out([demo()], {"demos": []}, config, 2, 3)


def test_takes_are_known_by_what_they_did_and_not_by_their_names():
    learned, fresh = demo(bag="take_0001"), demo(bag="take_0001")
    action = fresh.action.copy()
    action[3] = 0.25
    fresh = dataclasses.replace(fresh, action=action)
    facts = {"demos": ["take_0001"], "demo_actions": [actions_digest(learned)]}
    renamed = dataclasses.replace(learned, provenance={"bag": "another"})
    kept, remarks = held_out([renamed, fresh], facts, load_config("debug"), 2, 0)
    assert kept == [fresh] and remarks == ["left out: another, the run learned from it"]


def test_takes_with_other_joints_than_the_run_learned_of_are_refused():
    config = load_config("debug", {"model.joint_scale": 1.0})
    take = dataclasses.replace(demo(), joint_positions=np.zeros((len(demo()), 1), np.float32))
    with pytest.raises(ValueError, match="1 joint angles, the run learned of 3"):
        held_out([take], {"demos": []}, config, 2, 3)
