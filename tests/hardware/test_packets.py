from __future__ import annotations

import struct

import pytest
from dynamixel_sdk import COMM_PORT_BUSY, COMM_RX_CORRUPT, COMM_RX_TIMEOUT, COMM_SUCCESS, PacketHandler
from hypothesis import given
from hypothesis import strategies as st

from vmail_hardware.bus_errors import BusWriteError
from vmail_hardware.checksum import crc16
from vmail_hardware.emulator.packets import (
    Instruction,
    InstructionParser,
    fast_status_packet,
    packet,
    status_packet,
)
from vmail_hardware.sdk_link import SdkLink
from vmail_hardware.sdk_port import QuickHandler, QuickPort

# Most bodies that matter hold the header's bytes.
bodies = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x01, 0x7E]), max_size=40).map(bytes)


def test_packets_are_the_manuals_examples() -> None:
    assert packet(1, 0x01, b"") == bytes.fromhex("FFFFFD00 01 0300 01 194E")
    assert status_packet(1, 0, b"\x06\x04\x26") == bytes.fromhex("FFFFFD00 01 0700 55 00 060426 655D")
    assert packet(1, 0x02, bytes.fromhex("8400 0400")) == bytes.fromhex("FFFFFD00 01 0700 02 84000400 1D15")
    assert packet(1, 0x03, bytes.fromhex("7400 00020000")) == bytes.fromhex("FFFFFD00 01 0900 03 740000020000 CA89")


@given(st.binary(max_size=64), st.integers(0, 0xFFFF))
def test_checksum_is_the_sdks(data: bytes, before: int) -> None:
    assert crc16(data, before) == PacketHandler(2.0).updateCRC(before, data, len(data))


class _Wire(QuickPort):
    """A port whose line is in memory: what was sent, and what comes, in pieces of so many bytes."""

    def __init__(self, incoming: bytes = b"", piece: int = 1) -> None:
        super().__init__("a wire", 1_000_000, 0.0)
        self.is_open, self.sent = True, b""
        self._incoming, self._piece = incoming, piece
        self.setPacketTimeoutMillis(0.0)

    def clearPort(self) -> None:
        self.forget()

    def writePort(self, packet: bytes | list[int]) -> int:
        self.sent += bytes(packet)
        return len(packet)

    def _take_in(self) -> bool:
        piece, self._incoming = self._incoming[: self._piece], self._incoming[self._piece :]
        self._received += piece
        return bool(piece)

    def isPacketTimeout(self) -> bool:
        return not self._incoming


@given(bodies)
def test_packets_go_out_stuffed(parameters: bytes) -> None:
    """Packets as the SDK hands them over: a list of bytes with room for the header and the checksum.

    The SDK's own txPacket drops what its addStuffing returns.
    """
    asked = [0, 0, 0, 0, 1, *(len(parameters) + 3).to_bytes(2, "little"), 0x03, *parameters, 0, 0]
    wire, sdk = _Wire(), PacketHandler(2.0)
    assert QuickHandler().txPacket(wire, list(asked)) == COMM_SUCCESS
    stuffed = sdk.addStuffing([0xFF, 0xFF, 0xFD, 0x00, *asked[4:]])[:-2]
    assert wire.sent == bytes(stuffed) + sdk.updateCRC(0, stuffed, len(stuffed)).to_bytes(2, "little")
    assert b"\xff\xff\xfd" not in wire.sent[3:].replace(b"\xff\xff\xfd\xfd", b"")
    assert InstructionParser().feed(wire.sent) == [Instruction(1, 0x03, parameters)]
    assert QuickHandler().txPacket(wire, list(asked)) == COMM_PORT_BUSY


@given(
    st.lists(st.tuples(st.binary(max_size=5), st.integers(0, 252), bodies), max_size=4), st.integers(1, 30), st.binary()
)
def test_answers_are_heard_as_the_sdk_hears_them(
    answers: list[tuple[bytes, int, bytes]], piece: int, rest: bytes
) -> None:
    """Also between noise, in pieces, and with the beginning of one more at the end."""
    stream = b"".join(noise + status_packet(servo_id, 0, data) for noise, servo_id, data in answers) + rest
    quick, sdk = _Wire(stream, piece), _Wire(stream, piece)
    for _, servo_id, data in answers:
        packet, result = QuickHandler().rxPacket(quick, False)
        expected, sdk_result = PacketHandler(2.0).rxPacket(sdk, False)
        length = packet[5] | packet[6] << 8
        assert (result, packet[4], bytes(packet[9 : length + 5])) == (COMM_SUCCESS, servo_id, data)
        assert sdk_result == COMM_SUCCESS
        if data.count(b"\xfd") < 2:  # of more it may take some for stuffing
            assert bytes(expected[: length + 5]) == packet[: length + 5]


def test_bytes_that_look_like_stuffing_and_are_none_stay() -> None:
    data = b"\xff\xff\xfd\xff\xfd\xfd"  # the SDK loses the last of them
    packet, _ = QuickHandler().rxPacket(_Wire(status_packet(1, 0, data)), False)
    assert packet[9:-2] == data and len(packet) == 7 + (packet[5] | packet[6] << 8)


def test_a_damaged_answer_and_a_silent_line_are_told_apart() -> None:
    whole = status_packet(1, 0, b"\x01\x02")
    handler = QuickHandler()
    assert handler.rxPacket(_Wire(), False) == (b"", COMM_RX_TIMEOUT)
    assert handler.rxPacket(_Wire(whole[:-1]), False) == (b"", COMM_RX_CORRUPT)
    assert handler.rxPacket(_Wire(whole[:-3] + b"\x00" + whole[-2:]), False)[1] == COMM_RX_CORRUPT


def test_what_the_host_itself_sent_is_no_answer() -> None:
    echo, answer = packet(1, 0x02, b"\x84\x00\x04\x00"), status_packet(1, 0, b"\x01\x02\x03\x04")
    assert QuickHandler().rxPacket(_Wire(echo + answer, 4), False) == (answer, COMM_SUCCESS)


@given(st.integers(-3, 3), st.integers(-300, 300), st.integers(-300, 4095))
def test_sdk_takes_off_the_stuffing_of_joint_states(current: int, velocity: int, position: int) -> None:
    data = struct.pack("<hii", current, velocity, position)
    received = PacketHandler(2.0).removeStuffing(list(status_packet(7, 0, data)))
    assert bytes(received[9:19]) == data
    assert received[5] | received[6] << 8 == len(data) + 4


def test_stuffing_is_needed_for_some_joint_states() -> None:
    assert b"\xff\xff\xfd\xfd" in status_packet(7, 0, struct.pack("<hii", -1, -3, 2000))


@given(st.lists(st.tuples(st.integers(0, 252), bodies), max_size=5), st.data())
def test_parser_finds_every_packet_however_the_bytes_come(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(b"\x00\xff" + packet(servo_id, 0x03, body) for servo_id, body in sent)
    parser = InstructionParser()
    heard: list[Instruction] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        heard += parser.feed(stream[:size])
        stream = stream[size:]
    assert heard == [Instruction(servo_id, 0x03, body) for servo_id, body in sent]


def test_parser_marks_a_damaged_packet_and_hears_the_next() -> None:
    whole = packet(1, 0x03, b"\x74\x00\x00\x02\x00\x00")
    damaged = whole[:10] + bytes((whole[10] ^ 1,)) + whole[11:]
    first, second = InstructionParser().feed(damaged + whole)
    assert not first.intact
    assert second.intact


def test_parser_skips_what_cannot_be_a_packet() -> None:
    too_long = b"\xff\xff\xfd\x00\x01\xff\xff"
    assert InstructionParser().feed(too_long + packet(1, 0x01, b"")) == [Instruction(1, 0x01, b"")]


def test_fast_answer_ends_with_the_checksum_of_all() -> None:
    whole = fast_status_packet([b"\x00\x01\x01\x02", b"\x80\x02\x03\x04"])
    assert crc16(whole[:-2]) == whole[-2] | whole[-1] << 8
    assert whole[4] == 0xFE
    assert len(whole) == 7 + (whole[5] | whole[6] << 8)
    assert whole[8:12] == b"\x00\x01\x01\x02" and whole[14:18] == b"\x80\x02\x03\x04"


_ACK = status_packet(10, 0)
_REFUSED = status_packet(10, 0x87)  # an access error, with the alert bit
_CUT = b"\xff\xff\xfd\x00\x0a\x03\x00\x55"  # a status packet needs an error number
_CUT += crc16(_CUT).to_bytes(2, "little")
_OTHERS = [_ACK, status_packet(11, 0, b"\x01\x02\x03"), status_packet(10, 0, bytes(7)), _CUT]


def _linked(incoming: bytes) -> SdkLink:
    link = SdkLink("a wire", 1_000_000, 0.0)
    link._port = _Wire(incoming, 200)
    return link


@pytest.mark.parametrize("late", [b"", *_OTHERS, b"".join(_OTHERS)])
def test_an_answer_to_something_else_is_no_answer(late: bytes) -> None:
    """Whoever asks passes over what is of another length, and waits on for what fits."""
    told = status_packet(10, 0x80, b"\x06\x04\x2d")
    assert _linked(late).ping(10) is None
    assert _linked(late + told).ping(10) == 1030
    assert _linked(late).read(10, 144, 3) is None
    assert _linked(late + told).read(10, 144, 3) == b"\x06\x04\x2d"


@pytest.mark.parametrize("late", [_CUT, *_OTHERS[1:3]])
def test_an_acknowledgement_has_nothing_but_an_error_number(late: bytes) -> None:
    _linked(late + _ACK).write(10, 64, b"\x00")
    _linked(late + _ACK).reboot(10)
    for call in (lambda link: link.write(10, 64, b"\x00"), lambda link: link.reboot(10)):
        with pytest.raises(BusWriteError, match="status packet"):
            call(_linked(late))


def test_a_refusal_is_no_value() -> None:
    assert _linked(_REFUSED).ping(10) is None
    assert _linked(_REFUSED).read(10, 126, 2) is None
    with pytest.raises(BusWriteError, match="not available"):
        _linked(_REFUSED).write(10, 9, b"\x00")


def test_a_line_that_babbles_ends() -> None:
    assert _linked(_ACK * 10_000).ping(10) is None
