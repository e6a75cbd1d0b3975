"""Replay: chunks of the right rows, and joint angles only where every episode has them."""

import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.replay import Replay, joint_batch


def episode(first: int, joints: bool) -> Episode:
    rows = np.arange(first, first + 10)
    image = np.broadcast_to(rows[:, None, None, None], (10, 4, 4, 3)).astype(np.uint8)
    action = np.zeros((10, 2), np.float32)
    positions = np.stack([rows, rows], 1).astype(np.float32) if joints else None
    return Episode(image, action, np.arange(10.0), positions)


def replay(first: int, joints: bool) -> Replay:
    buffer = Replay(length=4)
    buffer.add(episode(first, joints))
    return buffer


def test_joint_angles_belong_to_their_pictures():
    chunks = joint_batch(replay(0, True), replay(100, True), 6, 2, np.random.default_rng(0))
    assert chunks.image.shape == (4, 6, 4, 4, 3) and chunks.joint_positions.shape == (4, 6, 2)
    np.testing.assert_array_equal(chunks.joint_positions[..., 0], chunks.image[..., 0, 0, 0])
    assert (chunks.image[:, :2] < 100).all() and (chunks.image[:, 2:] >= 100).all()


def test_one_side_without_joint_angles_leaves_the_batch_without():
    chunks = joint_batch(replay(0, True), replay(100, False), 6, 2, np.random.default_rng(0))
    assert chunks.joint_positions is None


def test_the_oldest_episodes_give_the_same_chunks_however_many_follow():
    buffer = replay(0, True)
    buffer.add(episode(100, True))
    before = buffer.oldest(2, np.random.default_rng(7))
    buffer.add(episode(200, False))
    after = buffer.oldest(2, np.random.default_rng(7))
    assert before.image.shape == (4, 2, 4, 4, 3) and after.joint_positions is not None
    np.testing.assert_array_equal(before.image, after.image)
    assert (after.image[:, 0] < 100).all() and (after.image[:, 1] >= 100).all()
    assert buffer.oldest(9, np.random.default_rng(7)).action.shape[1] == 3
