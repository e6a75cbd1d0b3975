import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from takes import ROBOT, Msg, live, make_take, notes_message, stamps, ticking, without, write_bag

from vmail_core.episodes import list_episodes, load_episodes
from vmail_core.episodes.alignment import segments
from vmail_core.episodes.bag_import import BagError, import_bags
from vmail_core.episodes.bag_reading import IMAGE, JOINTS, REQUEST, SENT
from vmail_core.robot import RobotSpec

NOTES = {"task": "dclaw_valve3_ccw", "operator": "Ada", "robot": "dclaw", "interface_digest": ROBOT.digest()}


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("namespace", ["", "/lab/left"])
def test_a_take_becomes_an_episode(tmp_path, storage, namespace):
    messages = make_take(ticks=20, seed=2, size=ROBOT.camera_height, valve=True)
    bag = write_bag(tmp_path / "take_0001", messages, namespace, storage, NOTES)
    report = import_bags([bag], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    assert report.ok
    assert [path.stem[:9] for path in report.episodes] == ["take_0001"]
    images = [m.value for m in messages if m.topic == IMAGE]
    np.testing.assert_array_equal(episode.image, images)
    requests = [m.value for m in messages if m.topic == REQUEST]
    np.testing.assert_array_equal(episode.action[1:], ROBOT.action_of(np.array(requests)))
    frame_stamps = stamps(messages, IMAGE)
    np.testing.assert_allclose(episode.time, (np.array(frame_stamps) - frame_stamps[0]) / 1e9, atol=1e-12)
    provenance = episode.provenance
    assert provenance["start_ns"] == frame_stamps[0]
    assert provenance["radians_turned"] == pytest.approx(20 * 0.2)
    assert len(provenance["valve_angle"]) == 21
    assert provenance["interface_digest"] == ROBOT.digest()
    assert (provenance["task"], provenance["operator"]) == ("dclaw_valve3_ccw", "Ada")
    assert len(provenance["bag_sha256"]) == 64


@pytest.mark.parametrize("inside", ["", "take_0001.mcap"])
def test_a_take_that_the_recorder_rejected_is_imported_with_a_note(tmp_path, inside):
    bag = write_bag(tmp_path / "takes" / ".rejected" / "take_0001", make_take(ticks=20))
    report = import_bags([bag / inside], tmp_path / "episodes", ROBOT)
    (note,) = report.sources[0].notes
    assert "the recorder rejected this take as no good: `vmail takes" in note and len(report.episodes) == 1
    assert note in json.loads((tmp_path / "episodes" / "import_report.json").read_text())["sources"][0]["notes"]


def test_the_import_of_a_bag_gives_the_rows_of_the_live_runner(tmp_path):
    messages = make_take(ticks=25, seed=4, camera_hz=30.0, commander=ticking())
    report = import_bags([write_bag(tmp_path / "bag", messages)], tmp_path / "out", ROBOT, image_size=8)
    (run,) = segments(live(messages, size=(8, 8))[0])
    (episode,) = load_episodes(tmp_path / "out")
    assert report.sources[0].rows == len(run) == 26
    np.testing.assert_array_equal(episode.image, [row.image for row in run])
    np.testing.assert_array_equal(episode.action, [row.action for row in run])
    np.testing.assert_array_equal(episode.joint_positions, [row.joint_positions for row in run])


def test_a_bare_storage_file_and_bgr_pictures_give_the_same(tmp_path):
    messages = [notes_message(NOTES), *make_take(ticks=8)]
    bag = write_bag(tmp_path / "rgb", messages)
    bgr = write_bag(tmp_path / "bgr", messages, encoding="bgr8")
    import_bags([bag / "rgb.mcap", bgr], tmp_path / "out", ROBOT, image_size=16)
    one, other = load_episodes(tmp_path / "out")
    np.testing.assert_array_equal(one.image, other.image)
    assert one.provenance["operator"] == other.provenance["operator"] == "Ada"


def test_joints_are_taken_by_name(tmp_path):
    messages = make_take(ticks=8)
    order = np.random.default_rng(0).permutation(9)
    shuffled = [
        Msg(m.topic, m.log_ns, m.stamp_ns, m.value[order] if m.topic in (JOINTS, REQUEST, SENT) else m.value)
        for m in messages
    ]
    names = tuple(ROBOT.joint_names[index] for index in order)
    bags = [write_bag(tmp_path / "a", messages), write_bag(tmp_path / "b", shuffled, names=names)]
    import_bags(bags, tmp_path / "out", ROBOT, image_size=16)
    one, other = load_episodes(tmp_path / "out")
    np.testing.assert_array_equal(one.action, other.action)
    np.testing.assert_array_equal(one.joint_positions, other.joint_positions)


def test_a_lost_frame_splits_and_the_report_says_so(tmp_path):
    messages = make_take(ticks=30)
    lost = without(messages, IMAGE, stamps(messages, IMAGE)[10])
    report = import_bags([write_bag(tmp_path / "bag", [*lost, lost[-1]])], tmp_path / "out", ROBOT)
    (bag,) = report.sources
    assert [len(episode) for episode in load_episodes(tmp_path / "out")] == [10, 20]
    assert [gap["reason"] for gap in bag.gaps] == ["gap of 0.20 s between frames"]
    assert bag.gaps[0]["at_s"] == pytest.approx(1.1, abs=0.01)
    assert bag.counts["command without its frame"] == 1
    assert bag.rate_mean == pytest.approx(10, abs=0.1)
    assert 9 < bag.rate_min <= bag.rate_mean <= bag.rate_max < 11
    saved = json.loads((tmp_path / "out" / "import_report.json").read_text())
    assert saved["sources"][0]["gaps"] == bag.gaps


def test_parts_that_are_too_short_are_rejected(tmp_path):
    messages = make_take(ticks=30)
    for index in (3, 8):
        messages = without(messages, SENT, stamps(make_take(ticks=30), SENT)[index])
    report = import_bags([write_bag(tmp_path / "bag", messages)], tmp_path / "out", ROBOT, task="other")
    assert [len(episode) for episode in load_episodes(tmp_path / "out")] == [5, 22]
    assert [(part.what, part.reason) for part in report.sources[0].rejected] == [
        ("4 rows from 0.00 s on", "shorter than 5 rows")
    ]
    assert not report.ok
    assert {episode.provenance["task"] for episode in load_episodes(tmp_path / "out")} == {"other"}


def other_robot() -> RobotSpec:
    return dataclasses.replace(ROBOT, name="other", joint_names=tuple(f"J{i}" for i in range(9)))


def changed_robot() -> RobotSpec:
    return dataclasses.replace(ROBOT, max_joint_speed=1.0)


def broken(tmp_path, kind: str):
    messages = make_take(ticks=8)
    bag = tmp_path / "bag"
    if kind == "no camera":
        return write_bag(bag, [m for m in messages if m.topic != IMAGE])
    if kind == "no sent":
        return write_bag(bag, [m for m in messages if m.topic != SENT])
    if kind == "empty":
        return write_bag(bag, [])
    if kind == "other joints":
        return write_bag(bag, messages, names=tuple(f"J{i}" for i in range(9)))
    if kind == "other size":
        return write_bag(bag, messages, names=ROBOT.joint_names[:8])
    if kind == "other robot":
        return write_bag(bag, messages, notes={"robot": "allegro"})
    if kind == "two cameras":
        return write_bag(
            bag, [*messages, *(dataclasses.replace(m, topic=f"second/{IMAGE}") for m in messages if m.topic == IMAGE)]
        )
    if kind == "no commands on frames":
        return write_bag(bag, [Msg(m.topic, m.log_ns, m.stamp_ns + (m.topic == SENT), m.value) for m in messages])
    if kind == "folder":
        bag.mkdir()
        return bag
    write_bag(bag, messages)
    storage = bag / "bag.mcap"
    if kind in ("cut off", "being recorded"):
        (bag / "metadata.yaml").unlink()
    if kind == "cut off":
        os.utime(storage, (0, storage.stat().st_mtime - 10))
    if kind == "truncated":
        storage.write_bytes(storage.read_bytes()[:-2000])
    if kind == "overwritten":
        content = bytearray(storage.read_bytes())
        content[80:4000] = bytes(3920)  # the start of the first chunk too
        storage.write_bytes(content)
    if kind == "another file":
        storage.write_bytes(b"%PDF-1.7" + bytes(4000))
    if kind == "bad metadata":
        (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [1, 2]")
    return bag


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no camera", "has no messages on camera/image_raw; it has .*joint_states"),
        ("no sent", "has no messages on joint_commands_sent"),
        ("empty", "holds no messages; delete it and record the take again"),
        ("other joints", "joints J0, J1.* but robot dclaw needs FFJ10"),
        ("other size", "joint_states has 9 positions of joints .* robot dclaw needs THJ32"),
        ("other robot", "was recorded with robot allegro, not dclaw; give --robot allegro"),
        ("two cameras", "has more than one camera/image_raw: /camera/image_raw, /second/camera/image_raw"),
        ("no commands on frames", "no two frames are joined by a sent command .*was the driver running"),
        ("folder", "is not a rosbag2 folder"),
        ("cut off", "was cut off while it was recorded; run `vmail recover .*bag --out .*bag_recovered`"),
        ("being recorded", r"is being recorded: it grew \d s ago.*if its recorder is gone, run `vmail recover"),
        ("truncated", "is cut off or damaged .*run `vmail recover .*bag --out .*bag_recovered`"),
        ("overwritten", "is cut off or damaged .*vmail recover"),
        ("another file", "its first bytes are not those of a bag: copy it again"),
        ("bad metadata", "is cut off or damaged .*vmail recover"),
    ],
)
def test_an_unusable_bag_is_one_clear_error_and_leaves_nothing(tmp_path, kind, message):
    bag = broken(tmp_path, kind)
    with pytest.raises(BagError, match=message) as caught:
        import_bags([bag], tmp_path / "out", ROBOT)
    assert "\n" not in str(caught.value)
    assert str(bag) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_good_bags_are_imported_beside_an_unusable_one(tmp_path):
    good = write_bag(tmp_path / "good", make_take(ticks=8))
    report = import_bags([broken(tmp_path, "cut off"), good], tmp_path / "out", ROBOT)
    assert not report.ok
    assert [len(bag.episodes) for bag in report.sources] == [0, 1]
    assert "vmail recover" in report.sources[0].rejected[0].reason
    assert len(list_episodes(tmp_path / "out")) == 1


def test_a_changed_spec_is_noted_and_does_no_harm(tmp_path):
    bag = write_bag(tmp_path / "bag", make_take(ticks=8), notes=NOTES)
    report = import_bags([bag], tmp_path / "out", changed_robot())
    assert report.sources[0].notes == ["joints, limits or rates of robot dclaw have changed since this was recorded"]
    with pytest.raises(BagError, match="recorded with robot dclaw, not other"):
        import_bags([bag], tmp_path / "other", other_robot())


def test_arguments_are_checked_before_anything_is_written(tmp_path):
    bag = write_bag(tmp_path / "bag", make_take(ticks=8))
    for bags, options, message in (
        ([], {}, "no bag given"),
        ([bag, tmp_path / "none"], {}, "no bag at .*none"),
        ([bag, bag], {}, "given twice"),
        ([bag], {"image_size": 4}, "image size 4"),
    ):
        with pytest.raises(BagError, match=message):
            import_bags(bags, tmp_path / "out", ROBOT, **options)
    assert not (tmp_path / "out").exists()


def test_a_second_import_into_the_same_folder_adds_and_never_overwrites(tmp_path):
    one = write_bag(tmp_path / "one", make_take(ticks=8, seed=1))
    two = write_bag(tmp_path / "two", make_take(ticks=8, seed=2))
    import_bags([one], tmp_path / "out", ROBOT)
    import_bags([two], tmp_path / "out", ROBOT)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir())
    assert len(before) == 4
    three = write_bag(tmp_path / "three", make_take(ticks=8, seed=3))
    with pytest.raises(FileExistsError, match="already holds one-"):
        import_bags([three, one], tmp_path / "out", ROBOT)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()) == before


def test_same_names_from_two_folders_do_not_collide(tmp_path):
    bags = [write_bag(tmp_path / day / "take_0001", make_take(ticks=8, seed=i)) for i, day in enumerate(("mon", "tue"))]
    assert len(import_bags(bags, tmp_path / "out", ROBOT).episodes) == 2


def test_a_copy_of_a_bag_is_imported_once(tmp_path):
    bag = write_bag(tmp_path / "mon" / "take", make_take(ticks=8))
    shutil.copytree(bag, tmp_path / "tue" / "take")
    report = import_bags([bag, tmp_path / "tue" / "take"], tmp_path / "out", ROBOT)
    assert len(report.episodes) == 1
    assert "tue/take has the same content as" in report.sources[1].rejected[0].reason


def test_a_command_that_is_not_finite_splits_as_one_that_was_not_sent(tmp_path):
    messages = make_take(ticks=20)
    stamp = stamps(messages, SENT)[9]
    nan = [
        dataclasses.replace(m, value=np.full(9, np.nan)) if (m.topic, m.stamp_ns) == (REQUEST, stamp) else m
        for m in without(messages, SENT, stamp)
    ]
    report = import_bags([write_bag(tmp_path / "bag", nan)], tmp_path / "out", ROBOT)
    assert [len(episode) for episode in load_episodes(tmp_path / "out")] == [10, 11]
    assert report.sources[0].counts == {"value on joint_commands that is not finite": 1}


def test_messages_are_aligned_in_order_of_log_time(tmp_path):
    messages = make_take(ticks=12, seed=6)
    shuffled = [messages[index] for index in np.random.default_rng(0).permutation(len(messages))]
    bags = [write_bag(tmp_path / "a", messages), write_bag(tmp_path / "b", shuffled)]
    import_bags(bags, tmp_path / "out", ROBOT)
    one, other = load_episodes(tmp_path / "out")
    np.testing.assert_array_equal(one.action, other.action)
    np.testing.assert_array_equal(one.image, other.image)
