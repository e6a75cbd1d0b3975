import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from takes import arrays

from vmail_core.episodes import Episode, list_episodes, load_episodes, read_episode, write_episode
from vmail_core.episodes.store import read_outline


def test_an_episode_comes_back_as_it_was_written(tmp_path):
    episode = Episode(**arrays())
    path = write_episode(tmp_path / "new" / "folder", episode, "take_0001")
    again = read_episode(path)
    assert again.provenance == episode.provenance
    assert list(again.arrays()) == list(episode.arrays())
    for name, array in episode.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        assert again.arrays()[name].dtype == array.dtype


def test_more_joints_than_actions_come_back(tmp_path):
    joints = np.random.default_rng(0).normal(size=(4, 24)).astype(np.float32)
    path = write_episode(tmp_path, Episode(**arrays() | {"joint_positions": joints}), "hand")
    np.testing.assert_array_equal(read_episode(path).joint_positions, joints)


def test_what_was_not_recorded_stays_none(tmp_path):
    path = write_episode(tmp_path, Episode(**arrays() | {"reward": None, "joint_positions": None}), "a")
    assert read_episode(path).reward is None
    assert read_episode(path).joint_positions is None


def test_an_outline_lacks_only_the_pictures(tmp_path):
    episode = Episode(**arrays())
    outline = read_outline(write_episode(tmp_path, episode, "a"))
    assert outline.provenance == episode.provenance and list(outline.arrays()) == list(episode.arrays())
    for name, array in episode.arrays().items():
        np.testing.assert_array_equal(outline.arrays()[name], np.zeros_like(array) if name == "image" else array)
    (tmp_path / "b.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"b\.npz is no whole vmail episode"):
        read_outline(tmp_path / "b.npz")


def test_an_episode_is_never_overwritten(tmp_path):
    path = write_episode(tmp_path, Episode(**arrays()), "a")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"a\.npz exists already"):
        write_episode(tmp_path, Episode(**arrays(5)), "a")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", ".."])
def test_a_name_is_a_plain_file_name(tmp_path, name):
    with pytest.raises(ValueError, match="plain file name"):
        write_episode(tmp_path, Episode(**arrays()), name)


def test_episodes_are_listed_and_loaded_by_name(tmp_path):
    for name, steps in (("b", 5), ("a", 4), ("c", 6)):
        write_episode(tmp_path, Episode(**arrays(steps)), name)
    (tmp_path / "import_report.json").write_text("{}")
    (tmp_path / ".c.npz.tmp").write_bytes(b"half")
    assert [path.stem for path in list_episodes(tmp_path)] == ["a", "b", "c"]
    assert [len(episode) for episode in load_episodes(tmp_path, limit=2)] == [4, 5]
    with pytest.raises(ValueError, match="asked for 4 episodes, but .* holds 3"):
        load_episodes(tmp_path, limit=4)


def test_missing_and_empty_folders_name_the_next_step(tmp_path):
    with pytest.raises(FileNotFoundError, match="no episode folder .*vmail import"):
        list_episodes(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no episodes; `vmail import"):
        load_episodes(tmp_path)
    with pytest.raises(FileNotFoundError, match="no episode at .*vmail import"):
        read_episode(tmp_path / "none.npz")


def corrupt(content: bytes, kind: str) -> bytes:
    if kind == "cut":
        return content[: len(content) // 2]
    if kind == "empty":
        return b""
    if kind == "text":
        return b"not an archive"
    middle = len(content) // 3
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 40]) + content[middle + 40 :]


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "flipped"])
def test_a_damaged_file_is_one_clear_error(tmp_path, kind):
    path = write_episode(tmp_path, Episode(**arrays()), "a")
    path.write_bytes(corrupt(path.read_bytes(), kind))
    with pytest.raises(ValueError, match=r"a\.npz is no whole vmail episode .*import its bag again"):
        read_episode(path)


def test_foreign_archives_and_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "foreign.npz", image=np.zeros(3))
    with pytest.raises(ValueError, match="not written by vmail: it holds image"):
        read_episode(tmp_path / "foreign.npz")
    np.savez(tmp_path / "pickled.npz", vmail=np.array([{"format": "vmail-episode-1"}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_episode(tmp_path / "pickled.npz")


def _write_many(folder):
    episode = Episode(**arrays(200))
    for index in range(10_000):
        write_episode(folder, episode, f"e{index:05d}")


def test_a_writer_that_is_killed_leaves_only_whole_episodes(tmp_path):
    writer = multiprocessing.get_context("fork").Process(target=_write_many, args=(tmp_path,))
    writer.start()
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("e*.npz"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    paths = list_episodes(tmp_path)
    assert len(paths) >= 5
    assert all(len(read_episode(path)) == 200 for path in paths)
