"""The emulated bus behind a device file: a pseudo-terminal, served by a thread."""

from __future__ import annotations

import collections
import fcntl
import os
import select
import termios
import threading
import time
import tty
from pathlib import Path

from vmail_core.path_lock import PathLock
from vmail_core.robot import RobotSpec
from vmail_hardware.emulator.chain import ServoChain
from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.packets import InstructionParser
from vmail_hardware.emulator.plant import FirstOrderPlant, Plant
from vmail_hardware.emulator.rhythm import Rhythm
from vmail_hardware.emulator.servo import EmulatedServo
from vmail_hardware.emulator.wire_check import WireCheck

_TICK_S = 0.010  # how often watchdogs and the unplugged fault are looked at; the watchdog's own unit is 20 ms
_SETTINGS_ROOM = bytes(64)  # more than the kernel's struct termios
_SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


class EmulatedBus:
    """Nine (or N) emulated servos at a path like /tmp/vmail/bus, as a serial port for any program.

    Use it as a context manager, or `start` and `stop`. The servos keep their state, torque included, while the
    port is unplugged: on a real robot they have their own power.
    """

    def __init__(
        self,
        path: str | Path,
        spec: RobotSpec,
        plant: Plant | None = None,
        faults: Faults | None = None,
        model_number: int | None = None,
        check: WireCheck | None = None,
    ) -> None:
        """Prepare the bus; nothing is opened yet.

        Args:
            path: where the device's link shall appear. A link that nobody serves any more is replaced.
            spec: robot whose servos are emulated.
            plant: what they move; by default joints of first order that start at the robot's rest pose.
            faults: what is broken; kept as `faults` and changeable at any time.
            model_number: servo model, by default the first of the spec's.
            check: judges all that is written, if given.
        """
        self.path = Path(path)
        self.faults = Faults() if faults is None else faults
        self.plant: Plant = FirstOrderPlant(spec.rest) if plant is None else plant
        self._chain = ServoChain(spec, self.plant, self.faults, model_number, check=check)
        self._terminal: _Terminal | None = None
        self._lock: PathLock | None = None
        self._answers: collections.deque[tuple[float, bytes]] = collections.deque()  # when to send them, in order
        self._rhythm = Rhythm()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Make the device appear and serve it.

        Raises:
            FileExistsError: another emulated bus serves the path, or it is taken by something that is not a link.
        """
        if self._thread is not None:
            return
        self._stopping.clear()
        # Also while the port is unplugged. What the link leads to tells less: after a kill, its number may be that of
        # somebody's new terminal; and a second bus would take the first one's link away.
        refusal = (
            f"{self.path} is served by another emulated bus that still runs: stop that one, or choose another path"
        )
        self._lock = PathLock(self.path, refusal)
        try:
            self._terminal = _Terminal(self.path)
        except OSError:
            self._unlock()
            raise
        self._thread = threading.Thread(target=self._serve, name="emulated-bus", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the device away. Programs that have it open see a hang-up. May be called twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def hold_present(self) -> None:
        """Set every goal to where the joint is now, so that nothing pulls. Call it after resetting the plant."""
        self._chain.hold_present()

    def silent_seconds(self) -> float:
        """How long nobody has spoken on the bus; since it was made, if nobody has."""
        return self._chain.silent_seconds()

    def servo(self, servo_id: int) -> EmulatedServo:
        """The servo with this id, to look at its registers. Raises KeyError."""
        for servo in self._chain.servos:
            if servo.servo_id == servo_id:
                return servo
        raise KeyError(servo_id)

    def __enter__(self) -> EmulatedBus:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self.stop()

    def _serve(self) -> None:
        parser = InstructionParser()
        try:
            while not self._stopping.is_set():
                if self.faults.unplugged:
                    self._unplug()
                    time.sleep(_TICK_S)
                elif self._terminal is None:
                    parser = InstructionParser()
                    self._terminal = _Terminal(self.path)
                else:
                    self._answer(self._terminal, parser)
                self._chain.tick()
        finally:
            self._unplug()  # also when a plant raised: whoever is connected must notice

    def _answer(self, terminal: _Terminal, parser: InstructionParser) -> None:
        """Obey what is heard at once, also while answers are on their way: a servo that answers late listens."""
        now = time.monotonic()
        until_due = self._answers[0][0] - now if self._answers else _TICK_S
        heard = terminal.receive(max(0.0, min(_TICK_S, until_due, self._rhythm.measure_at - now)))
        if not heard and self._rhythm.is_due(time.monotonic()):
            self._chain.measure_ahead()
        baud = terminal.baud() if heard else None
        for instruction in parser.feed(heard):
            answer = self._chain.handle(instruction, baud)
            if answer:
                now = time.monotonic()
                self._rhythm.hear(now)
                due = now + self._chain.answer_delay(answer)
                if self._answers:
                    due = max(due, self._answers[-1][0])  # one line: they come in order
                self._answers.append((due, answer))
        while self._answers and self._answers[0][0] <= time.monotonic():
            terminal.send(self._answers.popleft()[1])

    def _unplug(self) -> None:
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None
        self._answers.clear()


class _Terminal:
    """A pseudo-terminal in raw mode with a link to it."""

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_symlink():
            raise FileExistsError(f"{path} exists and is not a link; choose another path for the emulated bus")
        self._path = path
        self._host, self._device = os.openpty()  # the device side stays open: no hang-up between two clients
        tty.setraw(self._device)
        os.set_blocking(self._host, False)
        self._name = os.ttyname(self._device)
        self._settings = b""
        self._baud: int | None = None
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.symlink_to(self._name)
        fresh.replace(path)

    def receive(self, timeout: float) -> bytes:
        """Bytes that came, b"" after `timeout` seconds without any."""
        ready, _, _ = select.select([self._host], [], [], timeout)
        return os.read(self._host, 4096) if ready else b""

    def send(self, data: bytes) -> None:
        """Send bytes. What a client that never reads leaves no room for is lost, as on a real bus."""
        try:
            os.write(self._host, data)
        except BlockingIOError:
            return

    def baud(self) -> int | None:
        """The rate that the client has set, None if it is not one of the standard ones."""
        settings = fcntl.ioctl(self._device, termios.TCGETS, _SETTINGS_ROOM)
        if settings != self._settings:  # unpacked only then: a host waits for it
            self._settings, self._baud = settings, _SPEEDS.get(termios.tcgetattr(self._device)[5])
        return self._baud

    def close(self) -> None:
        """Hang up and remove the link, unless somebody else has put theirs there.

        In this order: whoever sees that the link is gone finds the line dead, and the link never leads to somebody's
        new terminal, for the device's number is free only when its side is closed, too.
        """
        os.close(self._host)
        if self._path.is_symlink() and os.readlink(self._path) == self._name:
            self._path.unlink()
        os.close(self._device)
