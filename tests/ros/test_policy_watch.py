"""PolicyWatch: what it calls old, frozen or missing, at any limit and at the runner's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from known_bundle import write_known_bundle
from rcl_interfaces.srv import GetParameters
from ros_harness import NodeProcess, Ros

from vmail_core.robot import load_robot
from vmail_nodes.policy_watch import Limits, PolicyWatch

NOW = 1_700_000_000_000_000_000
MS = 1_000_000
LIMITS = Limits(image_age_s=0.35, joint_states_age_s=0.25, freeze_frames=3, freeze_travel_rad=0.1, contrast=8)


def watch_at(image_ns: int, joints_ns: int = NOW, limits: Limits = LIMITS) -> PolicyWatch:
    watch = PolicyWatch(limits)
    watch.on_image(image_ns)
    watch.on_joint_states(joints_ns)
    return watch


def reason(watch: PolicyWatch, now_ns: int = NOW) -> str | None:
    trouble = watch.trouble(now_ns)
    return trouble and trouble.reason


def test_the_runners_own_limits_are_three_periods_and_some(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    robot = load_robot("dclaw")
    bundle = write_known_bundle(tmp_path / "bundle", robot).path
    start_node("vmail_nodes.policy_runner", {"bundle": str(bundle)})
    names = ["max_image_age_s", "max_joint_states_age_s"]
    answer = ros.call(GetParameters, "policy_runner/get_parameters", GetParameters.Request(names=names))
    image_age_s, joints_age_s = (value.double_value for value in answer.values)
    limits = Limits(image_age_s, joints_age_s, freeze_frames=3, freeze_travel_rad=0.1, contrast=8)
    period_ns = round(robot.control_period * 1e9)
    assert reason(watch_at(NOW - 3 * period_ns, NOW - 3 * period_ns, limits)) is None
    assert reason(watch_at(NOW - 4 * period_ns, NOW, limits)) == "camera_stale"
    assert reason(watch_at(NOW, NOW - 4 * period_ns, limits)) == "joint_states_missing"
    assert (image_age_s, joints_age_s) == (0.35, 0.35)


@pytest.mark.parametrize(
    ("image_ms", "joints_ms", "expected"),
    [
        (350, 250, None),
        (351, 0, "camera_stale"),
        (-350, 0, None),
        (-351, 0, "camera_clock_ahead"),
        (0, 251, "joint_states_missing"),
        (351, 251, "camera_stale"),
        (0, -250, None),
        (0, -251, "joint_states_clock_ahead"),
    ],
)
def test_ages_at_the_limits(image_ms: int, joints_ms: int, expected: str | None) -> None:
    assert reason(watch_at(NOW - image_ms * MS, NOW - joints_ms * MS)) == expected


@pytest.mark.parametrize(("since_ms", "expected"), [(None, None), (0, None), (250, None), (251, "joint_states_stale")])
def test_pictures_without_their_joints_are_borne_for_a_while(since_ms: int | None, expected: str | None) -> None:
    trouble = watch_at(NOW).unpaired(NOW, None if since_ms is None else NOW - since_ms * MS)
    assert (trouble and trouble.reason) == expected


def test_a_repeated_stamp_makes_nothing_fresh() -> None:
    watch = watch_at(NOW - 351 * MS)
    watch.on_image(NOW - 351 * MS)
    watch.on_image(NOW - 400 * MS)
    assert reason(watch) == "camera_frozen"
    watch.on_image(NOW)
    assert reason(watch) is None


def test_a_run_begins_also_after_the_clock_was_set_back() -> None:
    watch = watch_at(NOW + 3600 * 1000 * MS, NOW + 3600 * 1000 * MS)
    watch.on_image(NOW)
    assert watch.missing(NOW) == ["camera/image_raw", "joint_states"]
    watch.begin(NOW)
    watch.on_image(NOW)
    watch.on_joint_states(NOW)
    assert watch.missing(NOW) == []


def test_a_late_joint_state_makes_nothing_older() -> None:
    watch = watch_at(NOW)
    watch.on_joint_states(NOW - 1000 * MS)
    assert reason(watch) is None


def test_what_was_never_seen_or_is_old_is_missing() -> None:
    assert PolicyWatch(LIMITS).missing(NOW) == ["camera/image_raw", "joint_states"]
    assert watch_at(NOW).missing(NOW) == []
    assert watch_at(NOW - 351 * MS).missing(NOW) == ["camera/image_raw"]


def test_equal_pictures_are_frozen_only_while_joints_move() -> None:
    picture, still, moved = np.zeros((4, 4, 3), np.uint8), np.zeros(2), np.array([0.0, 0.1])
    watch = PolicyWatch(LIMITS)
    assert [watch.frozen(picture, still) for _ in range(5)] == [None] * 5
    trouble = watch.frozen(picture, moved)
    assert trouble is not None and trouble.reason == "camera_frozen"
    watch.forget_picture()
    assert [watch.frozen(picture, pose) for pose in (still, moved)] == [None, None]  # two are not yet three
    assert watch.frozen(picture, moved) is not None
    assert watch.frozen(picture + 1, moved) is None


@pytest.mark.parametrize(
    ("darkest", "brightest", "expected"), [(0, 7, "camera_dark"), (0, 8, None), (255, 255, "camera_dark")]
)
def test_a_picture_in_which_nothing_is_to_be_seen(darkest: int, brightest: int, expected: str | None) -> None:
    picture = np.full((4, 4, 3), darkest, np.uint8)
    picture[2, 2, 1] = brightest
    trouble = PolicyWatch(LIMITS).unseen(picture)
    assert (trouble and trouble.reason) == expected
