"""Demonstrations of a robomimic dataset."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from vmail.cli import main
from vmail_core.episodes import load_episodes
from vmail_core.episodes.robomimic_import import read_robomimic

STEPS = 5


def write_dataset(
    path: Path, demos: int = 2, cameras: tuple[str, ...] = ("agentview_image",), last: bool = True, arms: int = 1
) -> None:
    """A small dataset as robomimic lays it out, with `next_obs` or without."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})
        for number in reversed(range(demos)):
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = random.uniform(-1, 1, (STEPS, 7))
            demo["rewards"] = np.arange(STEPS) + 10.0 * number
            for name in cameras:
                frames = random.integers(0, 256, (STEPS + 1, 12, 12, 3), np.uint8)
                demo[f"obs/{name}"] = frames[:-1]
                if last:
                    demo[f"next_obs/{name}"] = frames[1:]
            for arm in range(arms):
                joints = random.normal(size=(STEPS + 1, 7))
                demo[f"obs/robot{arm}_joint_pos"] = joints[:-1]
                demo[f"obs/robot{arm}_joint_pos_cos"] = np.cos(joints[:-1])
                if last:
                    demo[f"next_obs/robot{arm}_joint_pos"] = joints[1:]


def test_actions_move_to_the_frame_that_they_led_to(tmp_path: Path) -> None:
    write_dataset(tmp_path / "lift.hdf5", demos=11)
    episodes = list(read_robomimic(tmp_path / "lift.hdf5"))
    assert [episode.provenance["demonstration"] for episode in episodes] == [f"demo_{n}" for n in range(11)]
    with h5py.File(tmp_path / "lift.hdf5") as file:
        demo, episode = file["data/demo_1"], episodes[1]
        assert np.array_equal(episode.image[:-1], demo["obs/agentview_image"])
        assert np.array_equal(episode.image[-1], demo["next_obs/agentview_image"][-1])
        assert np.array_equal(episode.action[1:], demo["actions"][()].astype(np.float32))
    assert episode.reward.tolist() == [0.0, 10.0, 11.0, 12.0, 13.0, 14.0]
    assert episode.time == pytest.approx(np.arange(6) / 20)
    assert episode.provenance["task"] == "Lift"


def test_joint_angles_of_every_arm_come_along(tmp_path: Path) -> None:
    for arms in (0, 1, 2):
        write_dataset(tmp_path / f"{arms}.hdf5", arms=arms)
        episode = next(iter(read_robomimic(tmp_path / f"{arms}.hdf5")))
        if not arms:
            assert episode.joint_positions is None
            continue
        assert episode.joint_positions.shape == (STEPS + 1, 7 * arms)
        with h5py.File(tmp_path / f"{arms}.hdf5") as file:
            demo, last = file["data/demo_0"], episode.joint_positions[:, -7:]
            assert np.array_equal(last[:-1], demo[f"obs/robot{arms - 1}_joint_pos"][()].astype(np.float32))
            assert np.array_equal(last[-1], demo[f"next_obs/robot{arms - 1}_joint_pos"][-1].astype(np.float32))


def test_a_demonstration_whose_joint_angles_end_early_is_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path / "lift.hdf5")
    with h5py.File(tmp_path / "lift.hdf5", "a") as file:
        del file["data/demo_0/next_obs/robot0_joint_pos"]
    found = list(read_robomimic(tmp_path / "lift.hdf5"))
    assert "next_obs lack robot0_joint_pos" in found[0].reason and len(found[1]) == STEPS + 1


def test_without_next_obs_the_last_action_is_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path / "lift.hdf5", last=False)
    episode = next(iter(read_robomimic(tmp_path / "lift.hdf5", period=0.1)))
    assert len(episode) == STEPS and episode.time[-1] == pytest.approx(0.4)
    with h5py.File(tmp_path / "lift.hdf5") as file:
        assert np.array_equal(episode.action[1:], file["data/demo_0/actions"][:-1].astype(np.float32))


def test_import_chooses_a_camera_and_a_size(tmp_path: Path, capsys) -> None:
    write_dataset(tmp_path / "lift.hdf5", cameras=("agentview_image", "robot0_eye_in_hand_image"))
    command = ["import", str(tmp_path / "lift.hdf5"), "--out", str(tmp_path / "out"), "--image-size", "8"]
    assert main(command) == 2
    assert "several cameras, choose one: agentview_image, robot0_eye_in_hand_image" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--camera", "agentview_image"]) == 0
    episodes = load_episodes(tmp_path / "out")
    assert [episode.image.shape for episode in episodes] == [(STEPS + 1, 8, 8, 3)] * 2
    assert main([*command, "--camera", "sideview_image", "--out", str(tmp_path / "none")]) == 2
    assert "sideview_image" in capsys.readouterr().err


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path / "whole.hdf5")
    (tmp_path / "cut.hdf5").write_bytes((tmp_path / "whole.hdf5").read_bytes()[:400])
    with pytest.raises(ValueError, match=r"cut\.hdf5 is no robomimic dataset that can be read"):
        list(read_robomimic(tmp_path / "cut.hdf5"))


def replace(demo: h5py.Group, name: str, values: np.ndarray) -> None:
    del demo[name]
    demo[name] = values


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda demo: demo["actions"].__setitem__((2, 3), 1.5), r"actions reach 1\.5; normalise them"),
        (lambda demo: demo.__delitem__("obs"), "it holds no pictures: render them with robomimic's"),
        (lambda demo: replace(demo, "actions", np.zeros((1, 7))), r"actions \(1, 7\) do not fit 5 pictures"),
        (lambda demo: replace(demo, "actions", np.zeros(STEPS)), r"actions \(5,\) do not fit 5 pictures"),
    ],
)
def test_one_bad_demonstration_is_named_and_the_others_come_in(tmp_path: Path, spoil, reason: str) -> None:
    write_dataset(tmp_path / "lift.hdf5", demos=3)
    with h5py.File(tmp_path / "lift.hdf5", "a") as file:
        spoil(file["data/demo_1"])
    assert main(["import", str(tmp_path / "lift.hdf5"), "--out", str(tmp_path / "out")]) == 1
    assert len(load_episodes(tmp_path / "out")) == 2
    report = json.loads((tmp_path / "out" / "import_report.json").read_text())
    (rejected,) = report["sources"][0]["rejected"]
    assert rejected["what"] == "demo_1"
    assert re.search(rf"lift\.hdf5, demo_1: {reason}", rejected["reason"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--image-size", "2"], "--image-size 2 is not between 8 and 4096"),
        (["--image-size", "64"], "pictures of 12x12 px would be enlarged to 64 px"),
        (["--period", "0"], "--period 0.0"),
        (["--robot", "dclaw"], "--robot means nothing for .hdf5"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, capsys, options: list[str], reason: str) -> None:
    write_dataset(tmp_path / "lift.hdf5")
    assert main(["import", str(tmp_path / "lift.hdf5"), "--out", str(tmp_path / "out"), *options]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bags_and_files_are_not_mixed(tmp_path: Path, capsys) -> None:
    write_dataset(tmp_path / "lift.hdf5")
    assert main(["import", str(tmp_path / "lift.hdf5"), str(tmp_path / "take"), "--out", str(tmp_path / "out")]) == 2
    assert ".hdf5 and bag cannot be imported together" in capsys.readouterr().err
