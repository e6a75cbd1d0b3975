"""Demonstrations of LeRobot datasets, laid out here as lerobot does, without vmail's own writer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vmail.cli import main
from vmail_core.episodes import Episode, load_episodes
from vmail_core.episodes.lerobot import read_lerobot

LENGTHS = (6, 8, 5)
FILES = (0, 0, 1)
"""Which data and video file an episode is in."""
FPS = 10
CAMERA = "observation.images.top"
SIDE = 32


def level(episode: int, frame: int) -> int:
    """What all pixels of a frame show: it tells frames apart even after lossy compression."""
    return 12 * (sum(LENGTHS[:episode]) + frame) + 10


def picture(episode: int, frame: int) -> np.ndarray:
    image = np.full((SIDE, SIDE, 3), level(episode, frame), np.uint8)
    image[:4, :4, 0] = 255
    return image


def actions(episode: int) -> np.ndarray:
    return np.random.default_rng(episode).uniform(-0.9, 0.9, (LENGTHS[episode], 2)).astype(np.float32)


def states(episode: int) -> np.ndarray:
    return np.random.default_rng(episode + 10).uniform(-3, 3, (LENGTHS[episode], 2)).astype(np.float32)


def rows_of(episode: int) -> dict[str, list]:
    rows = LENGTHS[episode]
    return {
        "action": actions(episode).tolist(),
        "observation.state": states(episode).tolist(),
        "next.reward": [float(10 * episode + row) for row in range(rows)],
        "timestamp": (np.arange(rows) / FPS).astype(np.float32).tolist(),
        "frame_index": list(range(rows)),
        "episode_index": [episode] * rows,
        "index": list(range(sum(LENGTHS[:episode]), sum(LENGTHS[:episode]) + rows)),
        "task_index": [episode % 2] * rows,
    }


def feature(dtype: str, *shape: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "names": None}


def write_dataset(
    folder: Path,
    video: bool = False,
    cameras: tuple[str, ...] = (CAMERA,),
    edit: Callable[[dict, list[dict], list[dict]], None] = lambda info, episodes, rows: None,
) -> Path:
    """Three episodes in two data files and, with `video`, two videos; `edit` spoils what is about to be written."""
    dtype = "video" if video else "image"
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so101",
        "fps": FPS,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            "action": feature("float32", 2),
            "observation.state": feature("float32", 2),
            "next.reward": feature("float32", 1),
            "timestamp": feature("float32", 1),
            **{camera: feature(dtype, SIDE, SIDE, 3) for camera in cameras},
        },
    }
    rows, episodes = [rows_of(number) for number in range(3)], []
    for number, length in enumerate(LENGTHS):
        start = sum(count for count, file in zip(LENGTHS[:number], FILES) if file == FILES[number]) / FPS
        where: dict[str, Any] = {"data/chunk_index": 0, "data/file_index": FILES[number]}
        for camera in cameras:
            if video:
                where |= {f"videos/{camera}/chunk_index": 0, f"videos/{camera}/file_index": FILES[number]}
                where |= {f"videos/{camera}/from_timestamp": start}
            else:
                encoded = [cv2.imencode(".png", picture(number, row)[..., ::-1])[1].tobytes() for row in range(length)]
                rows[number][camera] = [
                    {"bytes": content, "path": f"frame-{n}.png"} for n, content in enumerate(encoded)
                ]
        task = ["push the block", "open the door"][number % 2]
        episodes.append(
            {"episode_index": number, "tasks": [task], "length": length, "stats/action/min": [0.0], **where}
        )
    edit(info, episodes, rows)
    (folder / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    pq.write_table(pa.Table.from_pylist(episodes), folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    for file in set(FILES):
        tables = [pa.table(part) for number, part in enumerate(rows) if FILES[number] == file]
        pq.write_table(pa.concat_tables(tables), folder / "data" / "chunk-000" / f"file-{file:03d}.parquet")
        for camera in cameras if video else ():
            write_video(folder / "videos" / camera / "chunk-000" / f"file-{file:03d}.mp4", file)
    return folder


def write_video(path: Path, file: int, codec: str = "libx264", options: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = [number for number in range(3) if FILES[number] == file]
    frames = [picture(number, row) for number in numbers for row in range(LENGTHS[number])]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options or {"g": "4"})  # x264's default has B-frames
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def imported(folder: Path, *options: str) -> tuple[int, Path]:
    out = folder.parent / "out"
    return main(["import", str(folder), "--out", str(out), *options]), out


def source(out: Path) -> dict[str, Any]:
    return json.loads((out / "import_report.json").read_text())["sources"][0]


def rejected(out: Path) -> list[dict[str, str]]:
    return source(out)["rejected"]


def test_actions_move_to_the_frame_that_they_led_to(tmp_path: Path) -> None:
    code, out = imported(write_dataset(tmp_path / "push"))
    assert code == 0
    episodes = load_episodes(out)
    assert [len(episode) for episode in episodes] == list(LENGTHS)
    for number, episode in enumerate(episodes):
        assert not episode.action[0].any()
        assert np.array_equal(episode.action[1:], actions(number)[:-1])
        assert np.array_equal(episode.joint_positions, states(number))
        assert episode.reward.tolist() == [0.0] + [10.0 * number + row for row in range(LENGTHS[number] - 1)]
        assert np.array_equal(episode.image, [picture(number, row) for row in range(LENGTHS[number])])
        assert episode.time == pytest.approx(np.arange(LENGTHS[number]) / FPS)
    notes = episodes[1].provenance
    assert (notes["task"], notes["robot"], notes["file"]) == ("open the door", "so101", "push")
    assert notes["demonstration"] == "episode 1" and notes["times"] == "nominal"
    assert notes["lerobot"] == {"camera": CAMERA, "joint_positions": "observation.state, taken as rad"}


def test_every_row_gets_its_own_frame_of_a_shared_video(tmp_path: Path) -> None:
    code, out = imported(write_dataset(tmp_path / "push", video=True))
    assert code == 0
    for number, episode in enumerate(load_episodes(out)):
        seen = episode.image[:, 8:].mean(axis=(1, 2, 3))
        assert seen == pytest.approx([level(number, row) for row in range(LENGTHS[number])], abs=4)


@pytest.mark.parametrize(("codec", "options"), [("libx264", "x264-params"), ("libx265", "x265-params")])
def test_a_video_of_open_groups_is_read_from_farther_back(tmp_path: Path, codec: str, options: str) -> None:
    """There, what is shown before a key frame can lie behind it in the file: seeking for it finds that key frame."""
    folder = write_dataset(tmp_path / "push", video=True)
    parameters = "open-gop=1:keyint=4:bframes=3:b-adapt=0:scenecut=0"
    write_video(folder / "videos" / CAMERA / "chunk-000" / "file-000.mp4", 0, codec, {options: parameters})
    for number, episode in enumerate(read_lerobot(folder)):
        assert isinstance(episode, Episode), episode
        seen = episode.image[:, 8:].mean(axis=(1, 2, 3))
        assert seen == pytest.approx([level(number, row) for row in range(LENGTHS[number])], abs=4)


def test_stored_times_are_kept(tmp_path: Path) -> None:
    def late(info: dict, episodes: list[dict], rows: list[dict]) -> None:
        rows[0]["timestamp"][3] += 0.02

    episode = next(iter(read_lerobot(write_dataset(tmp_path / "push", video=True, edit=late))))
    assert episode.time[3] == pytest.approx(0.32) and len(episode) == LENGTHS[0]


def test_numbers_of_other_types_are_read(tmp_path: Path) -> None:
    """Datasets converted from v2.1 have lists of any length, and some doubles."""

    def convert(info: dict, episodes: list[dict], rows: list[dict]) -> None:
        for part in rows:
            width = pa.list_(pa.float64(), 2)
            part["action"] = pa.array(part["action"], width)
            part["observation.state"] = pa.array(part["observation.state"], pa.large_list(pa.float32()))
            part["timestamp"] = pa.array(part["timestamp"], pa.float64())

    episodes = list(read_lerobot(write_dataset(tmp_path / "push", edit=convert)))
    assert np.array_equal(episodes[2].action[1:], actions(2)[:-1])
    assert np.array_equal(episodes[2].joint_positions, states(2))


@pytest.mark.parametrize("video", [True, False])
def test_a_camera_is_chosen_and_its_pictures_scaled(tmp_path: Path, capsys, video: bool) -> None:
    folder = write_dataset(tmp_path / "push", video, cameras=(CAMERA, "observation.images.wrist"))
    assert imported(folder)[0] == 2
    assert "it has several cameras, choose one (--camera): top, wrist" in capsys.readouterr().err
    assert imported(folder, "--camera", "side")[0] == 2
    assert "it has no camera side; its cameras: top, wrist" in capsys.readouterr().err
    code, out = imported(folder, "--camera", "wrist", "--image-size", "16", "--task", "lift")
    assert code == 0
    episodes = load_episodes(out)
    assert {episode.image.shape[1:] for episode in episodes} == {(16, 16, 3)}
    assert {episode.provenance["task"] for episode in episodes} == {"lift"}
    assert next(iter(read_lerobot(folder, CAMERA))).image.shape[1:] == (SIDE, SIDE, 3)
    assert imported(folder, "--camera", "top", "--image-size", "64")[0] == 2
    assert "pictures of 32x32 px would be enlarged to 64 px" in capsys.readouterr().err


def test_a_depth_map_is_no_camera(tmp_path: Path) -> None:
    def depth(info: dict, episodes: list[dict], rows: list[dict]) -> None:
        info["features"]["observation.images.depth"]["info"] = {"video.is_depth_map": True}

    folder = write_dataset(tmp_path / "push", True, (CAMERA, "observation.images.depth"), depth)
    assert len(list(read_lerobot(folder))) == 3


def in_degrees(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    for part in rows:
        part["action"] = [[60 * first + 30, 7.0] for first, _ in part["action"]]
        part["observation.state"] = [[60 * first, second] for first, second in part["observation.state"]]


def test_actions_in_degrees_are_refused_or_scaled_so_that_it_can_be_undone(tmp_path: Path, capsys) -> None:
    folder = write_dataset(tmp_path / "push", edit=in_degrees)
    code, out = imported(folder)
    assert code == 2 and not out.exists()
    farthest = max(np.abs(60 * actions(number)[:, 0] + 30).max() for number in range(3))
    reason = rf"push cannot be imported: its actions reach {farthest:.3g}, .* with --normalise"
    assert re.search(reason, capsys.readouterr().err)
    assert imported(folder, "--normalise")[0] == 0
    episodes = load_episodes(out)
    taken = np.concatenate([episode.action[1:] for episode in episodes])
    assert -1 <= taken.min() and taken.max() <= 1 and not taken[:, 1].any()
    for number, episode in enumerate(episodes):
        notes = episode.provenance["lerobot"]
        low, high = np.array(notes["action_minimum"]), np.array(notes["action_maximum"])
        undone = low + (episode.action[1:] + 1) / 2 * (high - low)
        assert undone[:, 0] == pytest.approx(60 * actions(number)[:-1, 0] + 30, abs=1e-4)
        assert undone[:, 1] == pytest.approx(7.0)


def test_a_state_that_is_no_joint_angles_is_left_out_and_said(tmp_path: Path, capsys) -> None:
    def longer(info: dict, episodes: list[dict], rows: list[dict]) -> None:
        info["features"]["observation.state"]["shape"] = [3]
        for part in rows:
            part["observation.state"] = [[*state, 0.0] for state in part["observation.state"]]

    def missing(info: dict, episodes: list[dict], rows: list[dict]) -> None:
        for holder in (info["features"], *rows):
            del holder["observation.state"], holder["next.reward"]

    for name, edit, reason in (
        ("longer", longer, r"observation\.state has shape \[3\] for 2 actions"),
        ("missing", missing, r"it has no observation\.state"),
        ("degrees", in_degrees, r"observation\.state reaches 1\d\d, which is no angle in rad"),
    ):
        (tmp_path / name).mkdir()
        code, out = imported(write_dataset(tmp_path / name / "push", edit=edit), "--normalise")
        episodes = load_episodes(out)
        assert code == 0 and {episode.joint_positions for episode in episodes} == {None}
        assert re.fullmatch(f"none: {reason}", episodes[0].provenance["lerobot"]["joint_positions"])
        assert (episodes[0].reward is None) == (name == "missing")
        said, notes = " ".join(capsys.readouterr().out.split()), source(out)["notes"]
        if name == "missing":
            assert not notes and "left out" not in said
        else:
            assert re.fullmatch(f"joint angles are left out: {reason}", notes[0]) and notes[0] in said


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: cut(folder / "data/chunk-000/file-001.parquet"), r"file-001\.parquet cannot be read: "),
        (
            lambda folder: (folder / "data/chunk-000/file-001.parquet").unlink(),
            r"no file .*file-001\.parquet; download",
        ),
        (lambda folder: cut(folder / "meta/episodes/chunk-000/file-000.parquet"), r"episodes/.* cannot be read"),
        (lambda folder: (folder / "meta/episodes/chunk-000/file-000.parquet").unlink(), r"no file meta/episodes/"),
        (
            lambda folder: cut(folder / "meta/info.json"),
            r"meta/info\.json cannot be read: .*; download the dataset again",
        ),
        (
            lambda folder: (folder / "meta/info.json").write_text("[]"),
            r"meta/info\.json holds no JSON object; download the dataset again",
        ),
        (lambda folder: (folder / "meta/info.json").write_text("{}"), r"its metadata has no 'codebase_version'"),
    ],
)
def test_a_damaged_dataset_is_refused_by_name(tmp_path: Path, capsys, spoil, reason: str) -> None:
    folder = write_dataset(tmp_path / "push")
    spoil(folder)
    code, out = imported(folder)
    assert code == 2 and not out.exists()
    assert re.search(reason, capsys.readouterr().err)


def test_a_row_with_too_few_numbers_is_named_though_the_sum_is_right(tmp_path: Path, capsys) -> None:
    def ragged(info: dict, episodes: list[dict], rows: list[dict]) -> None:
        rows[2]["action"][1:3] = [[0.1], [0.2, 0.3, 0.4]]

    assert imported(write_dataset(tmp_path / "push", edit=ragged))[0] == 2
    assert re.search(r"file-001\.parquet: action has 1 numbers in row 1, not 2; download", capsys.readouterr().err)


def older(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    info["codebase_version"] = "v2.1"


def blind(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    del info["features"][CAMERA]


def idle(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    del info["features"]["action"]


def still(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    info["fps"] = 0


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (still, r"meta/info\.json says 0 frames a second"),
        (older, r"version v2\.1, and vmail reads v3\.0: convert it with lerobot first, .*convert_dataset_v21_to_v30"),
        (blind, r"it holds no pictures"),
        (idle, r"it has no action; its features: next\.reward, observation\.images\.top, "),
    ],
)
def test_a_dataset_of_another_kind_is_refused(tmp_path: Path, capsys, edit, reason: str) -> None:
    assert imported(write_dataset(tmp_path / "push", edit=edit))[0] == 2
    assert re.search(reason, capsys.readouterr().err)


def beyond_the_video(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    episodes[1][f"videos/{CAMERA}/from_timestamp"] += 0.3


def between_frames(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    episodes[1][f"videos/{CAMERA}/from_timestamp"] += 0.05


def no_place(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    episodes[1][f"videos/{CAMERA}/from_timestamp"] = None


def no_such_video(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    episodes[1][f"videos/{CAMERA}/file_index"] = 7


def too_long(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    episodes[1]["length"] += 1


def not_a_number(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    rows[1]["action"][2][0] = float("nan")


def damaged_picture(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    rows[1][CAMERA][3]["bytes"] = rows[1][CAMERA][3]["bytes"][:20]


def picture_elsewhere(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    rows[1][CAMERA][3]["bytes"] = None


def grey_picture(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    rows[1][CAMERA][3]["bytes"] = cv2.imencode(".png", np.zeros((SIDE, SIDE), np.uint16))[1].tobytes()


def smaller_picture(info: dict, episodes: list[dict], rows: list[dict]) -> None:
    rows[1][CAMERA][3]["bytes"] = cv2.imencode(".png", np.zeros((1, SIDE, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("video", "edit", "reason"),
    [
        (True, beyond_the_video, r"file-000\.mp4: it has no frame at 1\.400 s, row 5 of the episode"),
        (True, between_frames, r"file-000\.mp4: it has no frame at 0\.650 s, row 0 of the episode"),
        (True, no_place, r"its metadata is not laid out as LeRobot's"),
        (True, no_such_video, r"no file .*file-007\.mp4; download"),
        (False, too_long, r"file-000\.parquet holds 8 rows of it, not 9 in their order"),
        (False, not_a_number, r"action has a value that is not finite in row 3"),
        (False, damaged_picture, r"the picture of row 3 is damaged"),
        (False, picture_elsewhere, r"row 3 has no picture in the file itself"),
        (False, smaller_picture, r"the picture of row 3 has shape \(1, 32, 3\), the first \(32, 32, 3\)"),
        (False, grey_picture, r"the picture of row 3 is no RGB one of 8 bits: uint16"),
    ],
)
def test_one_bad_episode_is_named_and_the_others_come_in(tmp_path: Path, video: bool, edit, reason: str) -> None:
    code, out = imported(write_dataset(tmp_path / "push", video, edit=edit))
    assert code == 1 and len(load_episodes(out)) == 2
    (found,) = rejected(out)
    assert found["what"] == "episode 1" and re.search(rf"push, episode 1: .*{reason}", found["reason"])


def test_a_video_that_is_cut_off_costs_its_episodes(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "push", video=True)
    cut(folder / "videos" / CAMERA / "chunk-000" / "file-000.mp4")
    code, out = imported(folder)
    assert code == 1
    (left,) = load_episodes(out)
    assert left.provenance["demonstration"] == "episode 2"
    assert [found["what"] for found in rejected(out)] == ["episode 0", "episode 1"]
    assert all("file-000.mp4" in found["reason"] for found in rejected(out))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--period", "0.1"], "--period means nothing for a LeRobot dataset"),
        (["--robot", "dclaw"], "--robot means nothing for a LeRobot dataset"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, capsys, options: list[str], reason: str) -> None:
    assert imported(write_dataset(tmp_path / "push"), *options)[0] == 2
    assert reason in capsys.readouterr().err


def test_each_dataset_would_get_its_own_scale(tmp_path: Path, capsys) -> None:
    folders = [str(write_dataset(tmp_path / name, edit=in_degrees)) for name in ("push", "pull")]
    assert main(["import", *folders, "--normalise", "--out", str(tmp_path / "out")]) == 2
    assert "--normalise takes one dataset at a time" in capsys.readouterr().err
    assert main(["import", folders[0], "take.npz", "--normalise", "--out", str(tmp_path / "out")]) == 2
    assert ".npz and a LeRobot dataset cannot be imported together" in capsys.readouterr().err


def test_the_same_dataset_twice_is_noticed(tmp_path: Path) -> None:
    folders = [write_dataset(tmp_path / name) for name in ("push", "copy")]
    (folders[1] / ".cache").mkdir()
    (folders[1] / ".cache" / "when").write_text("today")  # what a download from the Hub leaves
    assert main(["import", *map(str, folders), "--out", str(tmp_path / "out")]) == 1
    report = json.loads((tmp_path / "out" / "import_report.json").read_text())
    assert "has the same content as" in report["sources"][1]["rejected"][0]["reason"]
    assert len(load_episodes(tmp_path / "out")) == 3


def test_a_dataset_that_lacks_an_episode_is_refused(tmp_path: Path, capsys) -> None:
    folder = write_dataset(tmp_path / "push")
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | {"total_episodes": 7}))
    code, out = imported(folder)
    assert code != 0 and not out.exists()
    assert "says 7 episodes" in capsys.readouterr().err
