import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import Writer as McapWriter
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from takes import ROBOT, STORE, TYPES, make_take, notes_message, write_bag

from vmail_core.episodes import load_episodes
from vmail_core.episodes.bag_import import import_bags
from vmail_core.episodes.bag_recover import BagError, recover_bag

NOTES = {"task": "dclaw_valve3_ccw", "operator": "Ada", "robot": "dclaw", "interface_digest": ROBOT.digest()}


def contents(bag) -> list[tuple[str, int, bytes]]:
    with AnyReader([bag]) as reader:
        return [(connection.topic, at, bytes(data)) for connection, at, data in reader.messages()]


def long_bag(tmp_path, name: str = "bag"):
    """Noisy pictures: several chunks of a megabyte."""
    return write_bag(tmp_path / name, [notes_message(NOTES), *make_take(ticks=40, size=192)], namespace="/lab")


def cut(bag, share: float):
    """Cut the storage off at a share of its size, as a kill does: the metadata was never written."""
    storage = bag / f"{bag.name}.mcap"
    content = storage.read_bytes()
    storage.write_bytes(content[: int(share * len(content))])
    (bag / "metadata.yaml").unlink()
    return bag


@pytest.mark.parametrize("share", [0.5, 0.7, 0.999])
def test_a_bag_that_was_cut_off_is_saved_up_to_the_break(tmp_path, share):
    bag = long_bag(tmp_path)
    whole = contents(bag)
    report = recover_bag(cut(bag, share), tmp_path / "saved" / "take")
    saved = contents(tmp_path / "saved" / "take")
    # All but the chunk that was torn.
    assert len(saved) > share * len(whole) - 0.3 * len(whole)
    assert saved == whole[: len(saved)]
    assert sum(report.messages.values()) == len(saved)
    assert report.messages["/lab/camera/image_raw"] > 5
    assert "breaks off after" in report.broken[0]
    assert report.lost_bytes < 1.3e6
    assert str(report).count("\n") == 2
    import_report = import_bags([tmp_path / "saved" / "take"], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    assert import_report.sources[0].rows == len(episode) >= 10
    assert episode.provenance["operator"] == "Ada"
    assert "breaks off" in episode.provenance["recovered"]


def test_a_saved_bag_opens_in_mcap_with_an_index(tmp_path):
    recover_bag(cut(long_bag(tmp_path), 0.6), tmp_path / "saved")
    with (tmp_path / "saved" / "saved.mcap").open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        times = [message.log_time for _, _, message in reader.iter_messages()]
    assert summary.statistics.message_count == len(times) > 100
    assert times == sorted(times)
    assert {schema.name for schema in summary.schemas.values()} == {TYPES[t] for t in TYPES}


def test_a_whole_file_without_metadata_gets_it_back(tmp_path):
    bag = long_bag(tmp_path)
    whole = contents(bag)
    (bag / "metadata.yaml").unlink()
    report = recover_bag(bag, tmp_path / "saved")
    assert report.broken == []
    assert contents(tmp_path / "saved") == whole


def test_a_bare_file_can_be_recovered(tmp_path):
    bag = cut(long_bag(tmp_path), 0.6)
    (tmp_path / "loose.mcap").write_bytes((bag / "bag.mcap").read_bytes())
    assert recover_bag(tmp_path / "loose.mcap", tmp_path / "saved").messages


def test_files_of_a_split_bag_are_joined_in_order(tmp_path):
    one, two = make_take(ticks=20, size=192), make_take(ticks=40, size=192)
    bag = write_bag(tmp_path / "bag", one)
    (bag / "bag.mcap").rename(bag / "bag_2.mcap")
    later = write_bag(tmp_path / "later", [m for m in two if m.log_ns > one[-1].log_ns])
    (later / "later.mcap").rename(bag / "bag_10.mcap")
    (bag / "metadata.yaml").unlink()
    recover_bag(bag, tmp_path / "saved")
    times = [at for _, at, _ in contents(tmp_path / "saved")]
    assert times == sorted(times)
    assert len(times) > len(one)


def test_the_broken_bag_is_not_touched(tmp_path):
    bag = cut(long_bag(tmp_path), 0.6)
    before = (bag / "bag.mcap").read_bytes()
    recover_bag(bag, tmp_path / "saved")
    assert (bag / "bag.mcap").read_bytes() == before
    assert [path.name for path in bag.iterdir()] == ["bag.mcap"]


def test_definitions_in_idl_survive(tmp_path):
    idl = "=" * 80 + "\nIDL: std_msgs/msg/String\nmodule std_msgs { module msg { struct String { string data; }; }; };"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        digest = STORE.hash_rihs01("std_msgs/msg/String")
        connection = writer.add_connection("/chat", "std_msgs/msg/String", msgdef=idl, rihs01=digest)
        text = STORE.types["std_msgs/msg/String"](data="hello")
        writer.write(connection, 1, bytes(STORE.serialize_cdr(text, "std_msgs/msg/String")))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    recover_bag(tmp_path / "bag", tmp_path / "saved")
    assert len(contents(tmp_path / "saved")) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path: cut(long_bag(path), 0.01),
            "nothing of .*bag can be saved: bag.mcap breaks off .*record the take",
        ),
        (lambda path: cut(long_bag(path), 0.0), "nothing of .*bag can be saved: bag.mcap breaks off after 0 of 0"),
        (lambda path: long_bag(path), "bag is whole, there is nothing to recover; import it as it is"),
        (
            lambda path: write_bag(path / "sql", make_take(ticks=5), storage=StoragePlugin.SQLITE3),
            "sql is an SQLite bag; rebuild it with `ros2 bag reindex`",
        ),
        (lambda path: path / "none", "no .mcap file at .*none"),
        (lambda path: path, "no .mcap file at"),
    ],
)
def test_what_cannot_be_recovered_is_refused_with_the_reason(tmp_path, make, message):
    bag = make(tmp_path)
    with pytest.raises(BagError, match=message) as caught:
        recover_bag(bag, tmp_path / "saved")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "saved").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_existing_folder_is_not_overwritten(tmp_path):
    bag = cut(long_bag(tmp_path), 0.6)
    (tmp_path / "saved").mkdir()
    with pytest.raises(FileExistsError, match="saved exists already"):
        recover_bag(bag, tmp_path / "saved")


def test_damage_in_the_middle_ends_the_salvage_there(tmp_path):
    bag = long_bag(tmp_path)
    whole = contents(bag)
    content = bytearray((bag / "bag.mcap").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000_000] = np.random.default_rng(0).bytes(min(2_000_000, len(content) - middle))
    (bag / "bag.mcap").write_bytes(content)
    (bag / "metadata.yaml").unlink()
    recover_bag(bag, tmp_path / "saved")
    saved = contents(tmp_path / "saved")
    assert 0 < len(saved) < len(whole)
    assert saved == whole[: len(saved)]


@pytest.mark.parametrize("left", ["", "rosbag2_bagfile_info", "- 1\n"])
def test_a_bag_whose_metadata_is_torn_is_recovered_not_called_whole(tmp_path, left):
    bag = long_bag(tmp_path)
    before = contents(bag)
    (bag / "metadata.yaml").write_text(left)
    recover_bag(bag, tmp_path / "new")
    assert contents(tmp_path / "new") == before


@pytest.mark.parametrize(("encoding", "definition"), [("jsonschema", b"{}"), ("protobuf", b"\xff\xfe"), (None, b"")])
def test_a_bag_of_another_kind_is_named(tmp_path, encoding, definition):
    bag = tmp_path / "bag"
    bag.mkdir()
    with (bag / "bag.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start()
        schema = writer.register_schema("pose", encoding, definition) if encoding else 0
        channel = writer.register_channel("/pose", "json", schema)
        writer.add_message(channel, 1, b"{}", 1)
        writer.finish()
    with pytest.raises(BagError, match="is no bag of ROS 2: /pose holds"):
        recover_bag(bag, tmp_path / "new")
    assert not (tmp_path / "new").exists()
