from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vmail_hardware.cameras import (
    CameraLostError,
    CameraOpenError,
    CameraTimeoutError,
    FrameServer,
    SocketCamera,
    open_camera,
)


def picture(value: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FrameServer]:
    with FrameServer(tmp_path / "run" / "camera.sock") as server:
        yield server


def test_pictures_arrive_with_their_stamp(server: FrameServer) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with open_camera(f"twin://{server.path}") as camera:
        server.publish(1_700_000_000_123_456_789, image)
        frame = camera.read(5.0)
        assert frame.stamp_ns == 1_700_000_000_123_456_789
        np.testing.assert_array_equal(frame.image, image)
        assert frame.image.dtype == np.uint8


def test_a_reader_that_waits_gets_the_next_picture_at_once(server: FrameServer) -> None:
    with SocketCamera(server.path) as camera:
        for stamp in range(1, 20):
            timer = threading.Timer(0.01, server.publish, (stamp, picture(stamp)))
            timer.start()
            assert camera.read(5.0).stamp_ns == stamp
            timer.join()


def test_a_slow_reader_gets_the_newest_and_none_twice(server: FrameServer) -> None:
    with SocketCamera(server.path) as camera:
        for stamp in range(1, 51):
            server.publish(stamp, picture(stamp))
        assert camera.read(5.0).stamp_ns == 50
        with pytest.raises(CameraTimeoutError):
            camera.read(0.05)
        for stamp in range(51, 101):
            server.publish(stamp, picture(stamp))
        # The answer to the question that timed out is picture 51 and lies in the socket; it must not be given.
        assert camera.read(5.0).stamp_ns == 100
        server.publish(101, picture(101))
        assert camera.read(5.0).stamp_ns == 101


def test_two_readers_do_not_take_pictures_from_each_other(server: FrameServer) -> None:
    with SocketCamera(server.path) as first, SocketCamera(server.path) as second:
        server.publish(7, picture(7))
        assert first.read(5.0).stamp_ns == second.read(5.0).stamp_ns == 7


def test_publishing_never_waits_for_a_reader(server: FrameServer) -> None:
    with SocketCamera(server.path) as camera:
        with pytest.raises(CameraTimeoutError):
            camera.read(0.01)  # leaves a question behind that nobody will read the answer to
        start = time.monotonic()
        for stamp in range(1, 101):
            server.publish(stamp, picture(0, 512))
        assert time.monotonic() - start < 5.0
        assert camera.read(5.0).stamp_ns == 100


def test_timeout_names_the_twin(server: FrameServer) -> None:
    with SocketCamera(server.path) as camera, pytest.raises(CameraTimeoutError, match=r"camera\.sock.*twin"):
        camera.read(0.02)


def test_a_server_that_ends_is_a_lost_camera(server: FrameServer) -> None:
    camera = SocketCamera(server.path)
    threading.Timer(0.05, server.close).start()
    with pytest.raises(CameraLostError, match="start the twin again"):
        camera.read(30.0)
    with pytest.raises(CameraLostError):
        camera.read(1.0)
    camera.close()
    camera.close()
    with pytest.raises(CameraLostError, match="closed"):
        camera.read(1.0)


def test_a_reader_may_leave_at_any_time(server: FrameServer) -> None:
    SocketCamera(server.path).close()
    with SocketCamera(server.path) as camera:
        server.publish(1, picture(1))
        assert camera.read(5.0).stamp_ns == 1


def test_a_reader_waits_for_the_server_to_appear(tmp_path: Path) -> None:
    servers: list[FrameServer] = []
    timer = threading.Timer(0.1, lambda: servers.append(FrameServer(tmp_path / "late.sock")))
    timer.start()
    SocketCamera(tmp_path / "late.sock", connect_timeout=30.0).close()
    timer.join()
    servers[0].close()


def test_no_server_names_the_path_and_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(CameraOpenError, match=r"nothing\.sock.*start the twin first"):
        open_camera(f"twin://{tmp_path}/nothing.sock", connect_timeout=0.05)


def test_answers_that_come_late_one_after_another_lose_nothing(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "slow.sock"))
    listener.listen()
    header = struct.Struct("<4sqII")
    pixels = bytes(12)
    with SocketCamera(tmp_path / "slow.sock") as camera:
        server, _ = listener.accept()
        with pytest.raises(CameraTimeoutError):
            camera.read(0.01)
        server.sendall(header.pack(b"VMF1", 1, 2, 2) + pixels)
        assert camera.read(0.05).stamp_ns == 1  # asked whether there is a newer one, and heard nothing in time
        assert server.recv(10) == b"?!"
        server.sendall(header.pack(b"VMF1", 0, 0, 0))  # there was none
        with pytest.raises(CameraTimeoutError):
            camera.read(0.05)
        assert server.recv(10) == b"?"
        server.sendall(header.pack(b"VMF1", 2, 2, 2) + pixels)
        server.sendall(header.pack(b"VMF1", 3, 2, 2) + pixels)
        assert camera.read(5.0).stamp_ns == 3
        assert server.recv(10) == b"!"
        server.close()
    listener.close()


def test_another_programs_socket_is_noticed(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "other.sock"))
    listener.listen()
    camera = SocketCamera(tmp_path / "other.sock")
    other, _ = listener.accept()
    other.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(CameraLostError, match="does not speak the frame protocol"):
        camera.read(5.0)
    for connection in (other, listener):
        connection.close()
    camera.close()


def test_the_path_is_taken_over_from_a_dead_server_only(server: FrameServer, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="another frame server"):
        FrameServer(server.path)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    FrameServer(tmp_path / "dead.sock").close()
    assert not (tmp_path / "dead.sock").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="not a socket"):
        FrameServer(tmp_path / "file")


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_other_shapes_and_types_are_refused(server: FrameServer, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        server.publish(1, image)
