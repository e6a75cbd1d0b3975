import numpy as np
import pytest
from takes import arrays

from vmail_core.episodes import Episode


def test_a_valid_episode_knows_its_length_and_cannot_be_changed():
    episode = Episode(**arrays())
    assert (len(episode), episode.steps) == (4, 3)
    assert episode.duration == pytest.approx(0.3)
    with pytest.raises(ValueError, match="read-only"):
        episode.action[1, 0] = 0


def test_joints_and_reward_may_be_missing():
    episode = Episode(**arrays() | {"joint_positions": None, "reward": None})
    assert set(episode.arrays()) == {"image", "action", "time"}


@pytest.mark.parametrize("count", [1, 24])
def test_there_may_be_more_or_fewer_joints_than_actions(count):
    joints = np.zeros((4, count), np.float32)
    assert Episode(**arrays() | {"joint_positions": joints}).joint_positions.shape == (4, count)


def changed(name: str, row: int, value: float) -> dict:
    fields = arrays()
    fields[name][row] = value
    return fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (arrays(1), "at least two frames"),
        (arrays() | {"image": np.zeros((4, 8, 8, 3), np.float32)}, r"image must be uint8 .*got float32 \(4, 8, 8, 3\)"),
        (arrays() | {"image": np.zeros((4, 8, 8), np.uint8)}, "image must be"),
        (arrays() | {"image": [0]}, "image must be a numpy array"),
        (arrays() | {"action": np.zeros((4, 9))}, "action must be float32"),
        (arrays() | {"action": np.zeros((3, 9), np.float32)}, "action must be"),
        (arrays() | {"time": np.arange(4, dtype=np.float32)}, "time must be float64"),
        (arrays() | {"joint_positions": np.zeros((3, 9), np.float32)}, r"joint_positions must be float32 \(4, \?\)"),
        (arrays() | {"reward": np.zeros((4, 1), np.float32)}, "reward must be"),
        (changed("action", 0, 0.1), "row 0 must be zero"),
        (changed("action", 2, 1.1), r"action row 2 lies outside"),
        (changed("action", 2, np.nan), "action has a value that is not finite in row 2"),
        (changed("reward", 1, np.inf), "reward has a value that is not finite in row 1"),
        (changed("time", 2, 0.1), "row 2 does not come after row 1"),
        (arrays() | {"provenance": {"a": np.zeros(2)}}, "plain JSON"),
        (arrays() | {"provenance": None}, "provenance must be a dict"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_name(fields, message):
    with pytest.raises(ValueError, match=message):
        Episode(**fields)
