"""Episodes as a LeRobot dataset: what lies there, and that nothing is lost on the way there and back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from vmail.cli import main
from vmail_core.episodes import Episode, load_episodes, write_episode
from vmail_core.episodes.lerobot import layout, read_lerobot, write_lerobot
from vmail_core.episodes.lerobot.files import DataFiles
from vmail_core.learners.demonstrations import demo_name

CAMERA = "observation.images.camera"
PSNR = 30.0
"""dB that pictures of 64 px keep as video, even where colours change from pixel to pixel."""


def episode(seed: int = 0, rows: int = 12, side: int = 16, smooth: bool = False, **changes: Any) -> Episode:
    """As recorded at about 10 Hz: stamps waver. Pictures are noise, unless `smooth`."""
    random = np.random.default_rng(seed)
    action = random.uniform(-1, 1, (rows, 9)).astype(np.float32)
    action[0] = 0
    reward = random.normal(size=rows).astype(np.float32)
    reward[0] = 0
    image = random.integers(0, 256, (rows, side, side, 3), np.uint8)
    if smooth:
        grid = np.arange(side)
        waves = [np.sin(grid / 9 + shift + np.arange(rows)[:, None] / 5) for shift in range(3)]
        image = np.stack([127 + 90 * wave[:, None, :] * wave[:, :, None] for wave in waves], -1).astype(np.uint8)
    arrays = {
        "image": image,
        "action": action,
        "time": np.arange(rows) * 0.1003 + random.uniform(-0.005, 0.005, rows),
        "joint_positions": random.normal(size=(rows, 9)).astype(np.float32),
        "reward": reward,
        "provenance": {"source": "bag", "task": "turn", "robot": "dclaw", "operator": "Ann", "radians_turned": 1.5},
    }
    return Episode(**arrays | changes)


def store(folder: Path, *episodes: Episode) -> list[Path]:
    return [write_episode(folder, made, f"take-{number:02d}") for number, made in enumerate(episodes)]


def assert_same(found: Episode, wanted: Episode, pictures: bool = True) -> None:
    for name in wanted.arrays().keys() - ({"image"} if not pictures else set()):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    assert found.arrays().keys() == wanted.arrays().keys()
    assert found.provenance.items() >= wanted.provenance.items()


def rows_of(dataset: Path) -> dict[str, list]:
    return pq.read_table(dataset / "data" / "chunk-000" / "file-000.parquet").to_pydict()


def test_there_and_back_by_the_command_line_nothing_is_lost(tmp_path: Path, capsys) -> None:
    made = [episode(seed, rows) for seed, rows in enumerate((12, 7, 20))]
    store(tmp_path / "takes", *made)
    assert main(["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset")]) == 0
    assert "3 episodes, 39 frames at 10 a second" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "dataset"), "--out", str(tmp_path / "back")]) == 0
    for found, wanted in zip(load_episodes(tmp_path / "back"), made, strict=True):
        assert_same(found, wanted)


def as_lerobot_rewrites(dataset: Path) -> None:
    (dataset / "meta" / "vmail.json").unlink()


def test_more_joints_than_actions_are_kept(tmp_path: Path) -> None:
    joints = np.random.default_rng(3).normal(size=(12, 24)).astype(np.float32) * 20
    wanted = episode(joint_positions=joints)
    store(tmp_path / "takes", wanted)
    assert main(["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset"), "--robot", "dclaw"]) == 0
    features = json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())["features"]
    assert features["observation.state"]["names"] == [f"joint_{number}" for number in range(24)]
    assert features["action"]["names"][0] == "FFJ10"
    (found,) = read_lerobot(tmp_path / "dataset")
    assert_same(found, wanted)
    as_lerobot_rewrites(tmp_path / "dataset")
    (found,) = read_lerobot(tmp_path / "dataset")
    assert np.array_equal(found.joint_positions, joints)


def test_the_origin_stays_and_each_dataset_on_the_way_is_noted(tmp_path: Path) -> None:
    folder, wanted = tmp_path / "0", episode()
    store(folder, wanted)
    for number in (1, 2):
        dataset = tmp_path / f"dataset-{number}"
        assert main(["convert", str(folder), "--out", str(dataset)]) == 0
        folder = tmp_path / str(number)
        assert main(["import", str(dataset), "--out", str(folder)]) == 0
    (found,) = load_episodes(folder)
    assert_same(found, wanted)
    assert "file" not in found.provenance and demo_name(found) == demo_name(wanted)
    assert [step["file"] for step in found.provenance["via"]] == ["dataset-1", "dataset-2"]
    assert found.provenance["via"][1]["demonstration"] == "episode 0"
    assert len(found.provenance["via"][1]["sha256"]) == 64


def test_every_scale_on_the_way_is_kept_so_that_all_can_be_undone(tmp_path: Path) -> None:
    degrees = np.random.default_rng(4).uniform(-80, 170, (12, 9))
    low, high = degrees.min(0), degrees.max(0)
    action = np.zeros((12, 9), np.float32)
    action[1:] = (2 * (degrees - low) / (high - low) - 1)[1:] * 0.5
    scale = {"camera": "side", "action_minimum": low.tolist(), "action_maximum": high.tolist()}
    notes = {"source": "LeRobot dataset", "file": "push", "demonstration": "episode 3", "task": "t", "lerobot": scale}
    folder, wanted = tmp_path / "0", episode(action=action, provenance=notes)
    store(folder, wanted)
    for number, options in enumerate(([], ["--normalise"]), 1):
        dataset = tmp_path / f"dataset-{number}"
        assert main(["convert", str(folder), "--out", str(dataset)]) == 0
        folder = tmp_path / str(number)
        assert main(["import", str(dataset), "--out", str(folder), *options]) == 0
    (found,) = load_episodes(folder)
    assert found.provenance.items() >= notes.items()
    first, second = (step["lerobot"] for step in found.provenance["via"])
    assert "action_minimum" not in first
    least, most = np.array(second["action_minimum"]), np.array(second["action_maximum"])
    assert np.abs(found.action[1:]).max() == pytest.approx(1.0)
    assert least + (found.action[1:] + 1) / 2 * (most - least) == pytest.approx(wanted.action[1:], abs=1e-6)


@pytest.mark.parametrize(
    ("notes", "task", "robot"),
    [
        ({}, "turn the valve", "dclaw"),
        ({"source": "expert in simulator", "seed": 3, "task": ""}, "turn the valve", "dclaw"),
        ({"source": "bag", "bag": "take_7", "task": "turn", "robot": "dclaw"}, "turn", "dclaw"),
    ],
)
def test_what_convert_was_told_fills_in_what_an_episode_does_not_tell(tmp_path: Path, notes, task, robot) -> None:
    store(tmp_path / "takes", episode(provenance=notes))
    command = ["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset"), "--task", "turn the valve"]
    assert main([*command, "--robot", "dclaw"]) == 0
    assert main(["import", str(tmp_path / "dataset"), "--out", str(tmp_path / "back")]) == 0
    (found,) = load_episodes(tmp_path / "back")
    assert (found.provenance["task"], found.provenance["robot"]) == (task, robot)
    assert demo_name(found) == (demo_name(episode(provenance=notes)) if notes else "dataset/episode 0")


def test_measured_times_are_not_called_nominal(tmp_path: Path) -> None:
    wanted = episode()
    write_lerobot(store(tmp_path / "takes", wanted), tmp_path / "dataset")
    as_lerobot_rewrites(tmp_path / "dataset")
    (found,) = read_lerobot(tmp_path / "dataset")
    assert np.array_equal(found.time, wanted.time) and "times" not in found.provenance


def test_the_shortest_episodes_make_a_video_too(tmp_path: Path) -> None:
    made = [episode(seed, 2, 64, smooth=True) for seed in range(4)]
    write_lerobot(store(tmp_path / "takes", *made), tmp_path / "dataset", video=True)
    for found, wanted in zip(read_lerobot(tmp_path / "dataset"), made, strict=True):
        assert_same(found, wanted, pictures=False)


@pytest.mark.parametrize("absent", ["joint_positions", "reward"])
def test_what_was_not_recorded_is_not_made_up(tmp_path: Path, absent: str) -> None:
    wanted = episode(**{absent: None})
    write_lerobot(store(tmp_path / "takes", wanted), tmp_path / "dataset")
    (found,) = read_lerobot(tmp_path / "dataset")
    assert_same(found, wanted)


def test_pictures_as_video_keep_their_place_and_most_of_themselves(tmp_path: Path) -> None:
    made = [episode(seed, rows, 64, smooth=True) for seed, rows in enumerate((12, 7, 20))]
    write_lerobot(store(tmp_path / "takes", *made), tmp_path / "dataset", video=True)
    for found, wanted in zip(read_lerobot(tmp_path / "dataset"), made, strict=True):
        assert_same(found, wanted, pictures=False)
        errors = np.mean((found.image.astype(float) - wanted.image) ** 2, axis=(1, 2, 3))
        assert 10 * np.log10(255**2 / errors.max()) > PSNR
    assert CAMERA not in rows_of(tmp_path / "dataset")


@pytest.mark.parametrize("video", [True, False])
def test_a_new_file_begins_where_the_last_has_grown_large(tmp_path: Path, monkeypatch, video: bool) -> None:
    monkeypatch.setattr(layout, "FILES_A_CHUNK", 1)
    made = [episode(seed, 60, 96 if video else 64) for seed in range(4)]
    write_lerobot(
        store(tmp_path / "takes", *made), tmp_path / "dataset", video=video, data_megabytes=1, video_megabytes=1
    )
    files = sorted((tmp_path / "dataset").glob(f"videos/{CAMERA}/*/*" if video else "data/*/*"))
    names = [f"{file.parent.name}/{file.stem}" for file in files]
    assert len(files) > 1 and names == [f"chunk-{chunk:03d}/file-000" for chunk in range(len(files))]
    for found, wanted in zip(read_lerobot(tmp_path / "dataset"), made, strict=True):
        assert_same(found, wanted, pictures=not video)
        if video:  # noise compresses badly, but a frame is still nearest to itself
            away = [np.abs(found.image.astype(int) - np.roll(wanted.image, by, 0)).mean() for by in (-1, 0, 1)]
            assert np.argmin(away) == 1


@pytest.mark.parametrize(("number", "chunk", "file"), [(0, 0, 0), (999, 0, 999), (1000, 1, 0), (2001, 2, 1)])
def test_a_chunk_has_a_thousand_files(number: int, chunk: int, file: int) -> None:
    assert layout.place(number) == {"chunk_index": chunk, "file_index": file}


def test_rows_say_what_was_done_at_each_frame(tmp_path: Path) -> None:
    made = [episode(seed, rows) for seed, rows in enumerate((12, 7))]
    write_lerobot(store(tmp_path / "takes", *made), tmp_path / "dataset", task="turn the valve")
    rows = rows_of(tmp_path / "dataset")
    first, second = made
    taken = [*first.action[1:], first.action[-1], *second.action[1:], second.action[-1]]
    assert np.array_equal(rows["action"], taken)
    assert rows["next.reward"] == [*first.reward[1:], 0.0, *second.reward[1:], 0.0]
    assert rows["next.done"] == [row in (11, 18) for row in range(19)]
    assert rows["vmail.time"] == [*first.time, *second.time]
    assert rows["timestamp"] == pytest.approx([*np.arange(12) / 10, *np.arange(7) / 10])
    assert rows["frame_index"] == [*range(12), *range(7)] and rows["index"] == list(range(19))
    assert rows["episode_index"] == [0] * 12 + [1] * 7 and rows["task_index"] == [0] * 19
    pictures = [cv2.imdecode(np.frombuffer(cell["bytes"], np.uint8), cv2.IMREAD_COLOR) for cell in rows[CAMERA]]
    assert np.array_equal(np.array(pictures)[..., ::-1], np.concatenate([first.image, second.image]))


def test_the_metadata_is_lerobots(tmp_path: Path) -> None:
    made = [episode(0, 12), episode(1, 7, provenance={"task": "push", "robot": "dclaw"})]
    takes, dataset = store(tmp_path / "takes", *made), tmp_path / "dataset"
    write_lerobot(takes, dataset)
    info = json.loads((dataset / "meta" / "info.json").read_text())
    counts = ("total_episodes", "total_frames", "total_tasks", "fps", "robot_type", "codebase_version", "video_path")
    assert [info[name] for name in counts] == [2, 19, 2, 10, "dclaw", "v3.0", None]
    assert info["splits"] == {"train": "0:2"}
    assert info["features"][CAMERA] == {
        "dtype": "image",
        "shape": [16, 16, 3],
        "names": ["height", "width", "channels"],
    }
    assert info["features"]["action"]["names"] == [f"joint_{number}" for number in range(9)]
    tasks = pq.read_table(dataset / "meta" / "tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["turn", "push"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    episodes = pq.read_table(dataset / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    assert [row["tasks"] for row in episodes] == [["turn"], ["push"]]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in episodes] == [(0, 12), (12, 19)]
    joints = np.concatenate([made.joint_positions for made in made])
    stats = json.loads((dataset / "meta" / "stats.json").read_text())
    assert stats.keys() == info["features"].keys()
    assert stats["observation.state"]["mean"] == pytest.approx(joints.mean(0), abs=1e-6)
    assert stats["observation.state"]["q90"] == pytest.approx(np.quantile(joints, 0.9, axis=0), abs=1e-6)
    assert episodes[0]["stats/observation.state/std"] == pytest.approx(joints[:12].std(0), abs=1e-6)
    assert stats["observation.state"]["count"] == [19]


def test_statistics_of_pictures_count_every_pixel(tmp_path: Path) -> None:
    made = [episode(seed, 12, smooth=True) for seed in range(2)]
    write_lerobot(store(tmp_path / "takes", *made), tmp_path / "dataset")
    pixels = np.concatenate([each.image for each in made]).reshape(-1, 3) / 255
    stats = json.loads((tmp_path / "dataset" / "meta" / "stats.json").read_text())[CAMERA]
    found = {name: np.array(value) for name, value in stats.items()}
    assert found["mean"].shape == (3, 1, 1) and found["count"].tolist() == [24]
    for name, wanted in {
        "min": pixels.min(0),
        "max": pixels.max(0),
        "mean": pixels.mean(0),
        "std": pixels.std(0),
    }.items():
        assert found[name].ravel() == pytest.approx(wanted), name
    for name, share in {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}.items():
        assert found[name].ravel() == pytest.approx(np.quantile(pixels, share, axis=0), abs=1 / 255), name


def test_a_robot_names_its_joints(tmp_path: Path) -> None:
    store(tmp_path / "takes", episode(provenance={}))
    command = ["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset"), "--robot", "dclaw"]
    assert main([*command, "--task", "turn the valve"]) == 0
    info = json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())
    assert info["robot_type"] == "dclaw" and info["features"]["observation.state"]["names"][0] == "FFJ10"


def test_an_episode_that_others_changed_does_not_keep_our_notes(tmp_path: Path) -> None:
    write_lerobot(store(tmp_path / "takes", episode(0), episode(1)), tmp_path / "dataset")
    path = tmp_path / "dataset" / "meta" / "vmail.json"
    notes = json.loads(path.read_text())
    notes["episodes"].reverse()
    path.write_text(json.dumps(notes))
    for found in read_lerobot(tmp_path / "dataset"):
        assert found.provenance["source"] == "LeRobot dataset" and "operator" not in found.provenance


def test_notes_of_another_format_are_not_guessed_at(tmp_path: Path) -> None:
    write_lerobot(store(tmp_path / "takes", episode()), tmp_path / "dataset")
    (tmp_path / "dataset" / "meta" / "vmail.json").write_text('{"format": "vmail-lerobot-2"}')
    with pytest.raises(ValueError, match=r"meta/vmail\.json has format 'vmail-lerobot-2', .*: remove that file"):
        list(read_lerobot(tmp_path / "dataset"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"format": "vmail-lerobot-1", "epi', r"cannot be read: .*; remove that file"),
        ('{"format": "vmail-lerobot-1", "episodes": [{}]}', r"does not hold what vmail noted .*: remove that file"),
        ('{"format": "vmail-lerobot-1"}', r"does not hold what vmail noted of each episode: remove that file"),
    ],
)
def test_damaged_notes_are_named(tmp_path: Path, content: str, reason: str) -> None:
    write_lerobot(store(tmp_path / "takes", episode()), tmp_path / "dataset")
    (tmp_path / "dataset" / "meta" / "vmail.json").write_text(content)
    with pytest.raises(ValueError, match=rf"dataset cannot be imported: .*meta/vmail\.json {reason}"):
        list(read_lerobot(tmp_path / "dataset"))


def gap() -> np.ndarray:
    return np.delete(np.arange(13) * 0.1, 5)


@pytest.mark.parametrize(
    ("second", "options", "reason"),
    [
        (
            lambda: episode(time=gap()),
            [],
            r"take-01.npz: 0\.2 s from row 4 to row 5, where the others are 0\.1 s apart",
        ),
        (lambda: episode(side=8), [], r"take-01.npz has 8x8 px, 9 actions, .*take-00.npz has 16x16 px, 9 actions, "),
        (lambda: episode(reward=None), [], r"take-01.npz has .*, 9 joint angles, no rewards, robot dclaw, but "),
        (
            lambda: episode(joint_positions=np.zeros((12, 7), np.float32)),
            [],
            r"take-01.npz has .*, 9 actions, 7 joint angles, rewards, .*take-00.npz has .*, 9 joint angles, ",
        ),
        (lambda: episode(provenance={"task": "turn", "robot": "other"}), [], r"robot other, but .* robot dclaw: "),
        (lambda: episode(provenance={"robot": "dclaw"}), [], r"take-01.npz does not tell its task, .*: give --task"),
        (lambda: episode(reward=np.ones(12, np.float32)), [], r"take-01.npz has a reward of 1 .*; leave the"),
        (
            lambda: episode(rows=500, time=np.arange(500) * 0.08),
            [],
            r"12\.4\d Hz, from .* in .*take-00.npz to 12\.5 in .*take-01.npz, .*: convert episodes of other rates",
        ),
        (
            lambda: episode(rows=200, time=np.arange(200) * 0.091),
            [],
            r"take-00.npz has frames at 9\.\d+ Hz, not at 11 as m",
        ),
        (
            lambda: episode(provenance={"task": "x", "robot": "y"}),
            ["--robot", "dclaw"],
            r"take-01.npz is of robot y with 9 actions, .*: give --robot the spec that it was recorded with",
        ),
    ],
)
def test_what_makes_no_dataset_is_refused_by_name(tmp_path: Path, capsys, second, options: list[str], reason) -> None:
    store(tmp_path / "takes", episode(), second())
    assert main(["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset"), *options]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert os.listdir(tmp_path) == ["takes"]


def test_odd_sides_make_no_video(tmp_path: Path, capsys) -> None:
    store(tmp_path / "takes", episode(side=15))
    command = ["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset")]
    assert main([*command, "--video"]) == 2
    assert "--video needs even sides, and pictures have 15x15 px: leave it out" in capsys.readouterr().err
    assert main(command) == 0


def test_an_existing_folder_is_left_alone(tmp_path: Path, capsys) -> None:
    (path,) = store(tmp_path / "takes", episode())
    path.write_bytes(b"not even looked at")
    (tmp_path / "dataset").mkdir()
    assert main(["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset")]) == 2
    assert "dataset exists already; choose another --out" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert main(["convert", str(tmp_path / "none"), "--out", str(tmp_path / "new")]) == 2
    assert "none holds no episodes" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, capsys, monkeypatch) -> None:
    store(tmp_path / "takes", episode(0), episode(1))
    add, written = DataFiles.add, []

    def full(self: DataFiles, rows: Any) -> dict[str, int]:
        if written:
            raise OSError(28, "No space left on device")
        written.append(add(self, rows))
        return written[0]

    monkeypatch.setattr(DataFiles, "add", full)
    assert main(["convert", str(tmp_path / "takes"), "--out", str(tmp_path / "dataset")]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["takes"]
