"""Distances between fingers: closed form against brute force, and the way to a goal that stops in time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vmail_core.robot import RobotSpec, load_robot, spec
from vmail_core.robot.fingers import fingers_from
from vmail_hardware.self_collision import SelfCollision, _segment_distance

SPEC = load_robot("dclaw")
RAW = yaml.safe_load((spec.Path(spec.__file__).with_name("dclaw.yaml")).read_text())["fingers"]
LEAST = 0.002


def hand(least: float = LEAST, robot: RobotSpec = SPEC) -> SelfCollision:
    assert robot.fingers is not None
    return SelfCollision(dataclasses.replace(robot.fingers, least_clearance=least), robot.joint_names)


def poses(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(SPEC.lower, SPEC.upper, (count, SPEC.action_size))


def test_distances_of_segments_are_those_of_their_points() -> None:
    a, b, c, d = np.random.default_rng(0).normal(size=(4, 50, 3))
    d[:5] = c[:5] + (b - a)[:5]  # parallel ones
    b[5] = a[5]  # a point
    share = np.linspace(0.0, 1.0, 401)
    one = a[:, None] + share[:, None] * (b - a)[:, None]
    other = c[:, None] + share[:, None] * (d - c)[:, None]
    brute = np.linalg.norm(one[:, :, None] - other[:, None], axis=-1).min((1, 2))
    found = _segment_distance(a, b, c, d)
    assert np.all(found <= brute + 1e-12) and np.abs(found - brute).max() < 0.01


def test_poses_are_looked_at_all_at_once_as_one_by_one() -> None:
    some = poses(0, 7)
    np.testing.assert_allclose(hand().clearance(some), [hand().clearance(pose) for pose in some])


def test_fingers_spread_are_far_apart_and_those_that_lean_together_touch() -> None:
    assert hand().clearance(SPEC.rest) > 0.02
    together = SPEC.rest.copy()
    together[[0, 3]] = (-0.48, 0.48)
    together[[1, 2, 4, 5, 7, 8]] = 0.0
    assert hand().clearance(together) < hand().clearance(np.where(together == 0.0, 0.0, -together))


@given(st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_on_the_way_fingers_never_come_nearer_than_allowed_or_than_they_are(seed: int) -> None:
    present, goals = poses(seed, 2)
    guarded = hand()
    reached = guarded.reach(present, goals)
    share = ((reached - present) / (goals - present)).reshape(3, 3)
    assert np.ptp(share, 1).max() < 1e-9 and share.min() >= -1e-12, "each finger on its straight way"
    assert share.max() <= 1.0 + 1e-12
    allowed = min(LEAST, float(guarded.clearance(present)))
    way = present + np.linspace(0.0, 1.0, 25)[:, None] * (reached - present)
    # Between the points that it looks at, a finger of 0.2 m turns on a little.
    assert guarded.clearance(way).min() >= allowed - 0.2 * np.abs(goals - present).max() / 12
    assert guarded.clearance(reached) >= allowed - 1e-9


def test_a_finger_that_meets_nobody_goes_on() -> None:
    present = SPEC.rest.copy()
    goals = present.copy()
    goals[[0, 3]] = (-0.48, 0.48)  # the first two lean together
    goals[7] += 0.2  # the third one's tip lifts
    guarded = hand(least=float(hand().clearance(present)) - 0.001)
    reached = guarded.reach(present, goals)
    assert np.abs(reached[:6] - goals[:6]).max() > 0.1
    np.testing.assert_array_equal(reached[6:], goals[6:])


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_goals_to_stay_with_are_kept_where_they_bring_nobody_nearer(seed: int) -> None:
    present, goals = poses(seed, 2)
    stay = np.clip(present + np.random.default_rng(seed).uniform(-0.05, 0.05, 9), SPEC.lower, SPEC.upper)
    guarded = hand()
    reached = guarded.reach(present, goals, stay)
    assert np.all(guarded._gaps(reached) >= np.minimum(LEAST, guarded._gaps(present)) - 1e-9 - 1e-12)
    if np.all(guarded._gaps(stay) >= np.minimum(LEAST, guarded._gaps(present))):
        np.testing.assert_allclose(guarded.reach(present, stay, stay), stay)


def test_fingers_that_are_too_near_may_part() -> None:
    near = next(pose for pose in poses(1, 500) if hand().clearance(pose) < 0.0)
    np.testing.assert_array_equal(hand(least=0.05).reach(SPEC.rest, SPEC.rest), SPEC.rest)
    way = near + np.linspace(0.0, 1.0, 13)[:, None] * (SPEC.rest - near)
    if np.all(hand()._gaps(way) >= np.minimum(LEAST, hand()._gaps(near)) - 1e-9):
        np.testing.assert_array_equal(hand().reach(near, SPEC.rest), SPEC.rest)
    assert hand().clearance(hand().reach(near, SPEC.rest)) >= hand().clearance(near) - 1e-9


def test_one_pair_that_touches_does_not_leave_the_others_alone() -> None:
    guarded, rng = hand(), np.random.default_rng(3)
    pairs = 0
    for _ in range(400):
        present, goals = rng.uniform(SPEC.lower, SPEC.upper, (2, 9))
        before = guarded._gaps(present)
        after = guarded._gaps(guarded.reach(present, goals))
        pairs += before.min() < LEAST
        assert np.all(after >= np.minimum(LEAST, before) - 1e-9)
    assert pairs > 50


def test_a_hand_whose_fingers_have_different_numbers_of_links() -> None:
    raw = {**RAW, "on_palm": [dict(finger) for finger in RAW["on_palm"]]}
    short = raw["on_palm"][2]
    short["joints"], short["links"] = short["joints"][:2], short["links"][:2]
    robot = dataclasses.replace(SPEC, fingers=fingers_from(raw, SPEC.joint_names))
    whole, cut = hand().capsules(SPEC.rest), hand(robot=robot).capsules(SPEC.rest)
    assert len(cut[0]) == len(whole[0]) - 3
    np.testing.assert_allclose(cut[0], whole[0][:-3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": ["FFJ10", "FFJ11"]}, "2 joints, but 3 links"),
        ({"joints": ["FFJ10", "FFJ11", "FFJ11"]}, "FFJ11"),
        ({"joints": ["FFJ10", "FFJ11", "thumb"]}, "thumb must be joints of the robot"),
        ({"position": [0.0, float("nan"), 0.0]}, "not a vector of three numbers"),
        (
            {"links": [{**RAW["on_palm"][0]["links"][0], "axis": [0, 2, 0]}, *RAW["on_palm"][0]["links"][1:]]},
            "length 1",
        ),
    ],
)
def test_a_hand_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="at least two with capsules"):
        fingers_from({**RAW, "on_palm": RAW["on_palm"][:1]}, SPEC.joint_names)
    with pytest.raises(ValueError, match=message):
        fingers_from({**RAW, "on_palm": [{**RAW["on_palm"][0], **change}, *RAW["on_palm"][1:]]}, SPEC.joint_names)
