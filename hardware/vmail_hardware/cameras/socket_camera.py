"""Pictures over a unix socket: how the simulated twin shows its camera to the camera node.

The reader asks (one byte) and the server answers with its newest picture, or with the next one if the newest has
been given already. So a slow reader misses pictures and never gets an old one, and the server never waits for it.
A reader whose question was answered after it had stopped waiting asks again, for the newest or none.
An answer is a header (magic, stamp, height, width) and then height x width x 3 bytes, RGB; 0 x 0 for none.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vmail_hardware.cameras.frame import CameraLostError, CameraOpenError, CameraTimeoutError, Frame

_HEADER = struct.Struct("<4sqII")
_MAGIC = b"VMF1"
_ASK_NEXT = b"?"
_ASK_NEWER = b"!"
_NONE = _HEADER.pack(_MAGIC, 0, 0, 0)
_MAX_SIDE = 8192
_SEND_BUFFER = 1 << 21  # bytes to ask for; the system gives what it allows (net.core.wmem_max)


class _Numbered(NamedTuple):
    """An answer with a picture. Not put together: that would copy the picture once more."""

    number: int
    header: bytes
    pixels: bytes


class FrameServer:
    """Publishes pictures at a path, to any number of readers."""

    def __init__(self, path: str | Path) -> None:
        """Listen at `path`. A socket that a dead server left there is replaced.

        Raises:
            FileExistsError: another server is running there, or the path is no socket.
        """
        self.path = Path(path)
        self._news = threading.Condition()
        self._newest: _Numbered | None = None
        self._count = 0
        self._closed = False
        _make_way(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._clients: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="frame-server", daemon=True).start()

    def publish(self, stamp_ns: int, image: np.ndarray) -> None:
        """Make this the newest picture. Copies it and returns at once, whatever the readers do.

        Args:
            stamp_ns: wall clock, nanoseconds.
            image: (H, W, 3) uint8, RGB.

        Raises:
            ValueError: another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"a picture is (H, W, 3) uint8, got {image.shape} {image.dtype}")
        header, pixels = _HEADER.pack(_MAGIC, stamp_ns, image.shape[0], image.shape[1]), image.tobytes()
        with self._news:
            self._count += 1
            self._newest = _Numbered(self._count, header, pixels)
            self._news.notify_all()

    def close(self) -> None:
        """Hang up on all readers and remove the socket. Further calls do nothing."""
        with self._news:
            if self._closed:
                return
            self._closed = True
            clients = list(self._clients)
            self._news.notify_all()
        for connection in (self._listener, *clients):
            _shut(connection)
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> FrameServer:
        """The server itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            with self._news:
                if self._closed:
                    client.close()
                    return
                self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), name="frame-client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        given = 0
        try:
            while question := client.recv(1):
                newest = self._newer_than(given, wait=question == _ASK_NEXT)
                if self._closed:
                    return
                if newest is None:
                    client.sendall(_NONE)
                    continue
                given = newest.number
                client.sendall(newest.header)
                client.sendall(newest.pixels)
        except OSError:
            return  # the reader left
        finally:
            with self._news:
                self._clients.discard(client)
            client.close()

    def _newer_than(self, given: int, wait: bool) -> _Numbered | None:
        """The newest picture, if this reader has not had it; else the next one, or None without waiting for it."""

        def is_newer() -> bool:
            return self._newest is not None and self._newest.number > given

        with self._news:
            if wait:
                self._news.wait_for(lambda: self._closed or is_newer())
            return self._newest if is_newer() else None


class SocketCamera:
    """Reads pictures from a `FrameServer`. See `Camera`."""

    has_sensor_noise = False

    def __init__(self, path: str | Path, connect_timeout: float = 2.0) -> None:
        """Connect, waiting up to `connect_timeout` seconds for the server to appear.

        Raises:
            CameraOpenError: it did not.
        """
        self.path = Path(path)
        self._asked = False
        self._waited_in_vain = False
        self._header = _Due(_HEADER.size)
        self._pixels: _Due | None = None  # from when the header has told how many there are
        self._socket: socket.socket | None = self._connect(connect_timeout)

    def read(self, timeout: float) -> Frame:
        """Wait for a picture newer than the last one read. See `Camera.read`."""
        if self._socket is None:
            raise CameraLostError(f"twin camera {self.path} is closed; open it again")
        deadline = time.monotonic() + timeout
        frame = None
        try:
            while frame is None:  # None: the late answer to a question for something newer
                frame = self._answer(_ASK_NEXT, deadline)
            if self._waited_in_vain:  # the answer may have lain here for long
                frame = self._newer(deadline) or frame
        except OSError as error:
            raise CameraLostError(f"twin camera {self.path} went away ({error}); start the twin again") from error
        except CameraTimeoutError:
            self._waited_in_vain = True
            raise
        return frame

    def close(self) -> None:
        """Disconnect. Further calls do nothing."""
        if self._socket is not None:
            _shut(self._socket)
            self._socket = None

    def __enter__(self) -> SocketCamera:
        """The camera itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _connect(self, timeout: float) -> socket.socket:
        deadline = time.monotonic() + timeout
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(self.path))
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() >= deadline or error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                    raise CameraOpenError(
                        f"no twin camera at {self.path} ({error.strerror}); start the twin first (sim:=true starts it)"
                    ) from error
            time.sleep(0.02)

    def _newer(self, deadline: float) -> Frame | None:
        """A picture newer than the last one received, if there is one; None also if no answer comes in time."""
        try:
            frame = self._answer(_ASK_NEWER, deadline)
        except CameraTimeoutError:
            return None  # the question stays asked, and so does the doubt
        self._waited_in_vain = False
        return frame

    def _answer(self, question: bytes, deadline: float) -> Frame | None:
        """Ask, unless an answer is still due, and receive the answer; None if there is no picture in it."""
        assert self._socket is not None
        if not self._asked:
            self._socket.sendall(question)
            self._asked = True
        self._receive(self._header, deadline)
        magic, stamp_ns, height, width = _HEADER.unpack(self._header.data.tobytes())
        if magic != _MAGIC or height > _MAX_SIDE or width > _MAX_SIDE:
            raise CameraLostError(f"{self.path} does not speak the frame protocol; is it another program's socket?")
        if self._pixels is None:
            self._pixels = _Due(height * width * 3)
        self._receive(self._pixels, deadline)
        image = self._pixels.data.reshape(height, width, 3)
        image.flags.writeable = False
        self._header, self._pixels, self._asked = _Due(_HEADER.size), None, False
        return Frame(stamp_ns, image) if image.size else None

    def _receive(self, part: _Due, deadline: float) -> None:
        """Receive this part of the answer, keeping what has come if it is not whole by the deadline."""
        assert self._socket is not None
        while len(part.missing):
            ready, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise CameraTimeoutError(f"no new picture from twin camera {self.path} in time; is the twin running?")
            received = self._socket.recv_into(part.missing)
            if not received:
                raise CameraLostError(f"twin camera {self.path} hung up; start the twin again")
            part.missing = part.missing[received:]


class _Due:
    """Bytes that are to come, and where those that have not come yet go."""

    def __init__(self, size: int) -> None:
        self.data = np.empty(size, np.uint8)
        self.missing = self.data.data


def _make_way(path: Path) -> None:
    """Remove a dead server's socket."""
    if not path.exists():
        return
    if not path.is_socket():
        raise FileExistsError(f"{path} exists and is not a socket; choose another path for the frame server")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(f"another frame server is running at {path}; stop it or choose another path")


def _shut(connection: socket.socket) -> None:
    """Close a socket so that a thread that waits on it wakes up."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EINVAL, errno.EBADF):
            raise
    connection.close()
