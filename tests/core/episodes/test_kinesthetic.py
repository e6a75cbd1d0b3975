"""Takes of a limp hand: where it was led to becomes the action; and who commanded which part of a take."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from takes import ROBOT, Msg, make_take, stamps, write_bag

from vmail_core.episodes import load_episodes
from vmail_core.episodes.bag_import import BagError, import_bags
from vmail_core.episodes.bag_reading import IMAGE, JOINTS, KINESTHETIC, REQUEST, SENT


def led(messages: list[Msg]) -> list[Msg]:
    """The same motion as if somebody had led the hand: requests tell where it is, and nothing is sent."""
    joints: np.ndarray = ROBOT.rest
    made = []
    for message in messages:
        if message.topic == JOINTS:
            joints = message.value
        if message.topic == REQUEST:
            message = dataclasses.replace(message, value=joints, commander=KINESTHETIC)
        if message.topic != SENT:
            made.append(message)
    return made


def poses(messages: list[Msg]) -> dict[int, np.ndarray]:
    """Stamp to pose that was recorded for it."""
    return {message.stamp_ns: message.value for message in messages if message.topic == REQUEST}


def test_each_action_is_the_pose_that_the_hand_was_led_to_by_the_next_frame(tmp_path):
    messages = led(make_take(ticks=20, seed=3))
    report = import_bags([write_bag(tmp_path / "take", messages)], tmp_path / "out", ROBOT, image_size=16)
    (episode,) = load_episodes(tmp_path / "out")
    assert report.ok and len(episode) == 20
    found = poses(messages)
    np.testing.assert_array_equal(episode.action[1:], ROBOT.action_of(np.array(list(found.values())[1:])))
    pictures = {message.stamp_ns: message.value for message in messages if message.topic == IMAGE}
    np.testing.assert_array_equal(episode.image, [pictures[stamp] for stamp in found])
    # What the hand was led to is where its joints then are, to a control step or so of a joint state's age.
    then = ROBOT.desired_positions(episode.action[1:])
    np.testing.assert_allclose(then, episode.joint_positions[1:], atol=0.05)
    assert episode.provenance["commanders"] == [{"name": KINESTHETIC, "from_row": 1}]


def test_a_pause_of_the_recording_splits_the_take(tmp_path):
    messages = led(make_take(ticks=30, seed=3))
    middle = sorted(poses(messages))[15]
    pause = 3_000_000_000
    messages = [
        m if m.stamp_ns <= middle else dataclasses.replace(m, stamp_ns=m.stamp_ns + pause, log_ns=m.log_ns + pause)
        for m in messages
    ]
    report = import_bags([write_bag(tmp_path / "take", messages)], tmp_path / "out", ROBOT, image_size=16)
    first, second = load_episodes(tmp_path / "out")
    assert (len(first), len(second)) == (16, 14)
    assert report.sources[0].gaps


def test_without_sent_commands_only_a_led_hand_is_imported(tmp_path):
    messages = [message for message in make_take(ticks=10) if message.topic != SENT]
    with pytest.raises(BagError, match="no messages on joint_commands_sent"):
        import_bags([write_bag(tmp_path / "take", messages)], tmp_path / "out", ROBOT)


def test_a_handover_is_told_by_the_row_from_which_on_another_commands(tmp_path):
    messages = make_take(ticks=12, seed=5)
    handed_over = stamps(messages, SENT)[7]
    named = [
        dataclasses.replace(m, commander="policy" if m.stamp_ns < handed_over else "keyboard")
        if m.topic in (REQUEST, SENT)
        else m
        for m in messages
    ]
    import_bags([write_bag(tmp_path / "take", named)], tmp_path / "out", ROBOT, image_size=16)
    (episode,) = load_episodes(tmp_path / "out")
    assert episode.provenance["commanders"] == [
        {"name": "policy", "from_row": 1},
        {"name": "keyboard", "from_row": 8},
    ]


def test_takes_from_before_say_nothing_of_commanders(tmp_path):
    import_bags([write_bag(tmp_path / "take", make_take(ticks=8))], tmp_path / "out", ROBOT, image_size=16)
    (episode,) = load_episodes(tmp_path / "out")
    assert "commanders" not in episode.provenance
