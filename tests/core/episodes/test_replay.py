"""Replay: chunks of the right rows, and joint angles only where every episode has them."""

import numpy as np
import pytest

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.replay import Replay, joint_batch


def episode(first: int, joints: int) -> Episode:
    rows = np.arange(first, first + 10)
    image = np.broadcast_to(rows[:, None, None, None], (10, 4, 4, 3)).astype(np.uint8)
    action = np.zeros((10, 2), np.float32)
    positions = np.stack([rows] * joints, 1).astype(np.float32) if joints else None
    return Episode(image, action, np.arange(10.0), positions)


def replay(first: int, joints: int) -> Replay:
    buffer = Replay(length=4)
    buffer.add(episode(first, joints))
    return buffer


def test_joint_angles_belong_to_their_pictures():
    chunks = joint_batch(replay(0, 3), replay(100, 3), 6, 2, np.random.default_rng(0))
    assert chunks.image.shape == (4, 6, 4, 4, 3) and chunks.joint_positions.shape == (4, 6, 3)
    np.testing.assert_array_equal(chunks.joint_positions[..., 0], chunks.image[..., 0, 0, 0])
    assert (chunks.image[:, :2] < 100).all() and (chunks.image[:, 2:] >= 100).all()


def test_one_side_without_joint_angles_leaves_the_batch_without():
    chunks = joint_batch(replay(0, 2), replay(100, 0), 6, 2, np.random.default_rng(0))
    assert chunks.joint_positions is None


def test_episodes_with_other_joints_leave_the_batch_without():
    """Only who learns without joint angles gets as far as this: `demonstrations.usable` refuses the others."""
    mixed = replay(0, 3)
    mixed.add(episode(50, 4))
    rng = np.random.default_rng(0)
    assert mixed.sample(20, rng).joint_positions is None
    assert joint_batch(replay(0, 3), replay(100, 4), 6, 2, rng).joint_positions is None


def test_the_oldest_episodes_give_the_same_chunks_however_many_follow():
    buffer = replay(0, 3)
    buffer.add(episode(100, 3))
    before = buffer.oldest(2, np.random.default_rng(7))
    buffer.add(episode(200, 0))
    after = buffer.oldest(2, np.random.default_rng(7))
    assert before.image.shape == (4, 2, 4, 4, 3) and after.joint_positions is not None
    np.testing.assert_array_equal(before.image, after.image)
    assert (after.image[:, 0] < 100).all() and (after.image[:, 1] >= 100).all()
    assert buffer.oldest(9, np.random.default_rng(7)).action.shape[1] == 3


def test_a_task_that_ended_early_stands_still_until_a_chunk_is_full():
    buffer = Replay(length=12)
    buffer.add(episode(0, 3), ended=True)
    chunk = buffer.sample(1, np.random.default_rng(0))
    np.testing.assert_array_equal(chunk.image[:, 0, 0, 0, 0], [*range(10), 9, 9])
    np.testing.assert_array_equal(chunk.joint_positions[:, 0, 0], chunk.image[:, 0, 0, 0, 0])
    assert chunk.action.shape == (12, 1, 2) and buffer.rows == 12
    np.testing.assert_array_equal(chunk.action[:10], episode(0, 3).action[:, None])
    after = chunk.action[10:]
    assert np.abs(after).max() <= 1.0 and len(np.unique(after)) == after.size, "whatever is done, nothing happens"
    again = Replay(length=12)
    again.add(episode(0, 3), ended=True)
    np.testing.assert_array_equal(again.sample(1, np.random.default_rng(0)).action, chunk.action)


def test_an_end_that_comes_after_a_whole_chunk_adds_nothing():
    buffer = Replay(length=4)
    buffer.add(episode(0, 3), ended=True)
    assert buffer.rows == 10


def test_time_that_is_out_before_a_chunk_is_full_is_refused():
    with pytest.raises(ValueError, match="episode has 10 rows, chunks need 12"):
        Replay(length=12).add(episode(0, 3))
