import os
import pty
import resource
from pathlib import Path

import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from vmail_nodes.take import DISCARDED, Take, TakeError, delete_take, next_take
from vmail_nodes.take_keys import DISCARD, NEXT, STOP, Keys

STORE = get_typestore(Stores.ROS2_KILTED)
NOTES = {"task": "turn", "operator": "Ada"}
TOPICS = {"/chat": "std_msgs/msg/String", "/never": "std_msgs/msg/String"}


def text(words: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](data=words), "std_msgs/msg/String"))


def new_take(path: Path) -> Take:
    return Take(path, TOPICS, "/demo_recorder/take", NOTES, stamp_ns=1)


def read(path: Path) -> list[tuple[str, int, str]]:
    with AnyReader([path]) as reader:
        return [(c.topic, at, reader.deserialize(data, c.msgtype).data) for c, at, data in reader.messages()]


def test_a_closed_take_opens_in_rosbags_and_mcap(tmp_path):
    take = new_take(tmp_path / "take_0001")
    for number in range(5):
        take.write("/chat", 100 + number, text(f"message {number}"))
        take.flush()
    summary = take.close()
    assert summary.counts == {"/demo_recorder/take": 1, "/chat": 5}
    messages = read(tmp_path / "take_0001")
    assert [words for topic, _, words in messages if topic == "/chat"] == [f"message {n}" for n in range(5)]
    with AnyReader([tmp_path / "take_0001"]) as reader:
        assert reader.readers[0].storage.metadata.custom == NOTES
    with (tmp_path / "take_0001" / "take_0001.mcap").open("rb") as file:
        assert len(list(make_reader(file, validate_crcs=True).iter_messages())) == 6


def test_log_times_increase_also_when_the_clock_does_not(tmp_path):
    take = new_take(tmp_path / "take")
    for log_ns in (50, 50, 40, 60):
        take.write("/chat", log_ns, text("x"))
    take.close()
    assert [at for topic, at, _ in read(tmp_path / "take") if topic == "/chat"] == [50, 51, 52, 60]


def test_damage_to_a_take_is_noticed(tmp_path):
    take = new_take(tmp_path / "take")
    for number in range(200):
        take.write("/chat", number, text(os.urandom(100).hex()))
    take.close()
    storage = tmp_path / "take" / "take.mcap"
    content = bytearray(storage.read_bytes())
    content[len(content) // 2] ^= 0x10
    storage.write_bytes(content)
    with pytest.raises(Exception, match="(?i)checksum|corrupt"):
        read(tmp_path / "take")


def test_a_discarded_take_is_gone(tmp_path):
    take = new_take(tmp_path / "take_0001")
    take.write("/chat", 5, text("oops"))
    take.discard()
    assert os.listdir(tmp_path) == []
    new_take(tmp_path / "take_0001").close()
    delete_take(tmp_path / "take_0001")
    assert os.listdir(tmp_path) == []


def test_takes_are_numbered_above_the_highest(tmp_path):
    assert next_take(tmp_path).name == "take_0001"
    for name in ("take_0001", "take_0007", "take_0003_recovered", "take_x", "other_0009"):
        (tmp_path / name).mkdir()
    assert next_take(tmp_path).name == "take_0008"
    (tmp_path / DISCARDED / "take_0008").mkdir(parents=True)  # which may come back
    assert next_take(tmp_path).name == "take_0009"


def test_an_existing_take_is_not_overwritten(tmp_path):
    new_take(tmp_path / "take").close()
    before = (tmp_path / "take" / "take.mcap").read_bytes()
    with pytest.raises(TakeError, match="cannot create .*exists already.*choose another output folder"):
        new_take(tmp_path / "take")
    assert (tmp_path / "take" / "take.mcap").read_bytes() == before


@pytest.fixture
def file_limit():
    """A limit on file size refuses writes as a full disk does."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("ending", ["flush", "close"])
def test_a_full_disk_is_one_clear_error(tmp_path, file_limit, ending):
    take = new_take(tmp_path / "take")
    take.write("/chat", 5, text("kept"))
    take.flush()
    for number in range(100):
        take.write("/chat", 10 + number, text(os.urandom(500).hex()))
    file_limit(20_000)
    with pytest.raises(TakeError, match=r"cannot write .*take: .*free some space.*`vmail recover .*take --out"):
        take.flush() if ending == "flush" else take.close()


@pytest.fixture
def terminal():
    controller, terminal = pty.openpty()
    yield controller, terminal
    os.close(controller)
    os.close(terminal)


def test_keys_become_commands_without_enter(terminal):
    controller, descriptor = terminal
    keys = Keys(descriptor)
    assert keys.poll() == []
    for typed, commands in (
        (b"n", [NEXT]),
        (b"\x1b[C", [NEXT]),
        (b"\x1b[D", [DISCARD]),
        (b"d", [DISCARD]),
        (b"q", [STOP]),
        (b"x", []),
        (b"\x1b[A", []),
        (b"\x1b[3~", []),
        (b"\x1b[1;5C", []),
        (b"\x1b[An", [NEXT]),
        (b"\x1b[Cd", [NEXT, DISCARD]),
        (b"nq", [NEXT, STOP]),
    ):
        os.write(controller, typed)
        assert keys.poll() == commands, typed
    keys.close()


def test_an_arrow_that_comes_in_pieces_is_not_taken_for_escape(terminal):
    controller, descriptor = terminal
    keys = Keys(descriptor)
    for piece, commands in (
        (b"n\x1b", [NEXT]),
        (b"[", []),
        (b"C", [NEXT]),
        (b"\x1b", []),
        (b"", [STOP]),  # nothing came after it
        (b"\x1b[", []),
        (b"", []),
        (b"C", []),
        (b"\x1b[D" * 20, [DISCARD] * 20),
        (b"\x1bd", [STOP, DISCARD]),
    ):
        os.write(controller, piece)
        assert keys.poll() == commands, piece
    keys.close()


def test_the_terminal_is_given_back_as_it_was(terminal):
    import termios

    before = termios.tcgetattr(terminal[1])
    keys = Keys(terminal[1])
    assert termios.tcgetattr(terminal[1]) != before
    keys.close()
    keys.close()
    assert termios.tcgetattr(terminal[1]) == before
    assert keys.poll() == []
