"""Latencies of emulated servos and of a drawn camera, with delays that are known: what is measured follows them."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusReadError
from vmail_hardware.cameras import CameraLostError, Frame, FrameServer, SocketCamera
from vmail_hardware.emulator import EmulatedBus
from vmail_hardware.emulator.plant import FirstOrderPlant
from vmail_hardware.latency import Figure, Latencies, LatencyError, default_path, figure, find_latencies, load_latencies
from vmail_hardware.latency.bus_timing import time_bus
from vmail_hardware.latency.camera_timing import CameraWatch, Seen, time_camera
from vmail_hardware.latency.picture_delay import picture_delay
from vmail_hardware.latency.stepping import WATCH_S, Step, Stepper
from vmail_hardware.user_files import keep_file

MADE = "2026-11-26T10:00:00+00:00"
# What a busy test machine adds: to one round trip, and to a motion that is seen through many.
BUS_MS, MOTION_MS = 4.0, 15.0


@pytest.fixture(autouse=True, scope="module")
def quick_switches() -> Iterator[None]:
    """Emulated servos answer from a thread of this process, which waits for the other threads to let go of Python."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(interval)


# The bus ---------------------------------------------------------------------------------------------------


def test_an_injected_delay_is_measured(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    sound = time_bus(bus, MADE, 50)
    emulated.faults.reply_delay_s = 0.02
    late = time_bus(bus, MADE, 50)
    for name in ("bus_read", "bus_write_read"):
        assert 0.0 < sound[name].p50_ms < BUS_MS and sound[name].count == 50
        assert late[name].p50_ms - sound[name].p50_ms == pytest.approx(20.0, abs=BUS_MS)
        assert (late[name].of, late[name].made, late[name].lost) == (bus.port, MADE, 0)


def test_rare_spikes_show_in_what_99_of_100_stay_below(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    emulated.faults.reply_spikes_s = 0.05  # one answer in fifty
    found = time_bus(bus, MADE, 300)["bus_read"]
    assert found.p50_ms < BUS_MS and found.p99_ms > 45.0


def test_lost_answers_are_counted_and_many_are_refused(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    bus._link._reply_timeout_ms = 30.0
    bus._fast = False  # a lost answer to a fast read costs no read, and how many are lost is what is tested
    emulated.faults.lose_share = 0.01  # of packets, and nine are one read
    found = time_bus(bus, MADE, 60)["bus_read"]
    assert found.lost > 0 and found.count + found.lost == 60 and found.p50_ms < BUS_MS
    emulated.faults.lose_share = 0.1
    with pytest.raises(LatencyError, match="of 20 questions got no whole answer; `vmail doctor --port"):
        time_bus(bus, MADE, 60)


def test_nothing_is_written_to_servos_that_hold_something(bus: DynamixelBus, emulated: EmulatedBus) -> None:
    emulated.servo(11).set("torque_enable", 1)
    before = emulated.servo(11).get("goal_position")
    with pytest.raises(LatencyError, match="torque is on in servo 11"):
        time_bus(bus, MADE, 20)
    assert emulated.servo(11).get("goal_position") == before and emulated.servo(11).get("torque_enable") == 1


# The camera ------------------------------------------------------------------------------------------------


def test_age_period_and_jitter_come_from_stamps_and_arrivals(tmp_path: Path) -> None:
    server, stop = FrameServer(tmp_path / "frames.sock"), threading.Event()

    def film() -> None:
        due = time.time()
        while not stop.wait(max(0.0, due - time.time())):
            server.publish(time.time_ns() - 40_000_000, np.zeros((8, 8, 3), np.uint8))  # what it took to get here
            due += 0.05

    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    try:
        with SocketCamera(server.path) as camera, CameraWatch(camera, "drawn") as watch:
            time.sleep(1.5)
            found = time_camera(watch.seen(), "drawn", MADE)
    finally:
        stop.set()
        thread.join()
        server.close()
    assert found["camera_age"].p50_ms == pytest.approx(40.0, abs=MOTION_MS)
    assert found["camera_period"].p50_ms == pytest.approx(50.0, abs=5.0)
    assert found["camera_jitter"].p50_ms < 10.0


def test_jitter_is_the_distance_from_the_median_period() -> None:
    stamps = np.cumsum([0.1, 0.1, 0.1, 0.13, 0.07] * 6)
    found = time_camera([Seen(float(stamp), float(stamp)) for stamp in stamps], "drawn", MADE)
    assert found["camera_jitter"].p50_ms == pytest.approx(0.0, abs=1e-6)
    assert found["camera_jitter"].p99_ms == pytest.approx(30.0, abs=0.01)
    assert found["camera_age"].p99_ms == 0.0
    with pytest.raises(LatencyError, match="3 pictures, 10 are needed"):
        time_camera([Seen(0.0, 0.0)] * 3, "drawn", MADE)


def test_a_camera_that_goes_away_or_gives_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmail_hardware.latency.camera_timing.FIRST_S", 0.3)
    server = FrameServer(tmp_path / "frames.sock")
    with SocketCamera(server.path) as camera:
        with pytest.raises(LatencyError, match="drawn gave no picture"), CameraWatch(camera, "drawn"):
            pass
        server.publish(1, np.zeros((8, 8, 3), np.uint8))
        with CameraWatch(camera, "drawn") as watch:
            server.close()
            with pytest.raises(CameraLostError, match="start the twin again"):
                for _ in range(100):
                    watch.seen()
                    time.sleep(0.02)


def test_whatever_ends_the_watch_reaches_who_asks() -> None:
    class Broken:
        has_sensor_noise = False

        def read(self, timeout: float) -> Frame:
            raise ZeroDivisionError("a driver's mistake")

        def close(self) -> None: ...

    with pytest.raises(ZeroDivisionError, match="a driver's mistake"), CameraWatch(Broken(), "broken"):
        pass


def test_fewer_than_100_have_a_largest_and_no_99th_of_100() -> None:
    few, many = figure(np.arange(99) * 1e-3, "bus", MADE), figure(np.arange(201) * 1e-3, "bus", MADE)
    assert (few.p99_ms, few.late_name) == (98.0, "max")
    assert (many.p99_ms, many.late_name) == (198.0, "p99")


# Motion ----------------------------------------------------------------------------------------------------


class LatePlant(FirstOrderPlant):
    """Joints that heed a goal only after a while."""

    def __init__(self, start: np.ndarray, late_s: float) -> None:
        super().__init__(start)
        self._late_s = late_s

    def set_goals(self, goals: np.ndarray, strength: np.ndarray) -> None:
        threading.Timer(self._late_s, super().set_goals, (goals, strength)).start()


class Eye:
    """Draws where a joint is, as a bar with soft edges, and serves it some time later, stamped as it is served."""

    def __init__(self, path: Path, plant: FirstOrderPlant, joint: int, late_s: float) -> None:
        self._server, self._plant, self._joint, self._late_s = FrameServer(path), plant, joint, late_s
        self._random = np.random.default_rng(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            timer = threading.Timer(self._late_s, self._serve, (self.draw(),))
            timer.daemon = True
            timer.start()
            due += 1.0 / 30.0

    def draw(self) -> np.ndarray:
        """A picture (48, 64, 3) of now."""
        end = 60.0 * float(self._plant.positions()[self._joint]) - 20.0
        row = 30.0 + 180.0 * np.clip(end - np.arange(64.0), 0.0, 1.0)
        noisy = row + self._random.normal(0.0, 4.0, (48, 64))
        return np.repeat(np.clip(noisy, 0.0, 255.0).astype(np.uint8)[..., None], 3, axis=2)

    def _serve(self, picture: np.ndarray) -> None:
        self._server.publish(time.time_ns(), picture)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        time.sleep(self._late_s)
        self._server.close()


@pytest.mark.parametrize(("action_s", "camera_s"), [(0.0, 0.0), (0.08, 0.0), (0.04, 0.12)])
def test_injected_delays_of_motion_and_pictures_are_measured(
    spec: RobotSpec, tmp_path: Path, action_s: float, camera_s: float
) -> None:
    plant = LatePlant(spec.rest, action_s)
    with EmulatedBus(tmp_path / "bus", spec, plant) as servos:
        bus = DynamixelBus(str(servos.path), spec, reply_timeout_ms=200.0)
        bus.open()
        eye = Eye(tmp_path / "frames.sock", plant, spec.joint_names.index("FFJ12"), camera_s)
        try:
            with SocketCamera(tmp_path / "frames.sock") as camera, CameraWatch(camera, "eye", True) as watch:
                bus.set_torque(True)
                steps = list(Stepper(bus, spec, "FFJ12", 0.1).steps(4))
                delay = picture_delay(steps, watch.seen(), "eye", "FFJ12")
        finally:
            eye.close()
            bus.close()
    assert [np.sign(step.after - step.before) for step in steps] in ([1, -1, 1, -1], [-1, 1, -1, 1])
    assert all(abs(step.after - step.before) == pytest.approx(0.1, abs=0.01) for step in steps)
    late = [(step.first_motion() or np.inf) - step.written for step in steps]
    assert 1e3 * np.median(late) == pytest.approx(1e3 * action_s + 2.5, abs=MOTION_MS)  # 2.5: to the third tick
    assert 1e3 * delay.together == pytest.approx(1e3 * camera_s, abs=MOTION_MS)


def drawn(late_s: float, noise: float, moves: bool = True, rate_hz: float = 30.0) -> tuple[list[Step], list[Seen]]:
    """Steps of 60 ms each and their pictures, without a clock."""
    random, steps, seen, begin = np.random.default_rng(0), [], [], 0.0

    def place(moment: np.ndarray) -> np.ndarray:
        whole = np.zeros_like(moment)
        for step in steps:
            whole = whole + (step.after - step.before) * np.clip((moment - step.written - 0.01) / 0.06, 0.0, 1.0)
        return whole

    for number in range(6):
        written = begin + 0.7 + 0.011 * number
        times = np.arange(written - 0.6, written + WATCH_S, 0.003)
        way = 0.1 if number % 2 == 0 else -0.1
        start = 0.0 if number % 2 == 0 else 0.1
        positions = start + way * np.clip((times - written - 0.01) / 0.06, 0.0, 1.0)
        steps.append(Step(written, times, positions))
        begin = written + WATCH_S
    for stamp in np.arange(0.0, begin, 1.0 / rate_hz):
        end = 10.0 + 60.0 * place(np.array(stamp - late_s)) * moves
        row = 30.0 + 180.0 * np.clip(end - np.arange(32.0), 0.0, 1.0)
        grey = (row + random.normal(0.0, noise, (24, 32))).astype(np.float32)
        seen.append(Seen(float(stamp), float(stamp), grey))
    return steps, seen


@pytest.mark.parametrize("late_s", [-0.05, 0.0, 0.033, 0.2])
@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_a_delay_is_found_finer_than_the_cameras_period(late_s: float, rate_hz: float) -> None:
    delay = picture_delay(*drawn(late_s, 3.0, rate_hz=rate_hz), "drawn", "FFJ12")
    assert delay.together == pytest.approx(late_s, abs=0.1 / rate_hz)
    assert len(delay.each) == 6 and np.abs(np.array(delay.each) - late_s).max() < 0.5 / rate_hz


@pytest.mark.parametrize("noise", [0.0, 3.0, 20.0])
def test_a_camera_that_looks_elsewhere_is_told(noise: float) -> None:
    with pytest.raises(LatencyError, match="drawn does not show that FFJ12 moves: point it at the joint"):
        picture_delay(*drawn(0.0, noise, moves=False), "drawn", "FFJ12")


def test_other_motion_in_the_picture_is_told() -> None:
    steps, seen = drawn(0.0, 1.0, moves=False)
    dawning = [Seen(picture.stamp, picture.arrived, picture.grey + 10.0 * picture.stamp) for picture in seen]
    with pytest.raises(LatencyError, match="do not follow FFJ12: nothing else may move"):
        picture_delay(steps, dawning, "drawn", "FFJ12")


@pytest.mark.parametrize(
    ("joint", "way", "message"),
    [("FFJ13", 0.1, "no joint 'FFJ13'; robot dclaw has FFJ10, FFJ11"), ("FFJ10", 0.5, "FFJ10 stands at 0.00 rad")],
)
def test_a_step_that_is_not_possible_is_refused(
    bus: DynamixelBus, spec: RobotSpec, joint: str, way: float, message: str
) -> None:
    with pytest.raises(LatencyError, match=message):
        Stepper(bus, spec, joint, way)


@contextlib.contextmanager
def hanging_outside(spec: RobotSpec, folder: Path, joint: str, rad: float) -> Iterator[DynamixelBus]:
    """An open bus of a hand at rest, but for one joint that is so far beyond its upper limit."""
    outside, index = spec.rest.copy(), spec.joint_names.index(joint)
    outside[index] = spec.upper[index] + rad
    with EmulatedBus(folder / "bus", spec, FirstOrderPlant(outside)) as servos:
        with DynamixelBus(str(servos.path), spec, reply_timeout_ms=200.0) as bus:
            yield bus


@pytest.mark.parametrize("chosen", ["FFJ10", "MFJ20"])
def test_a_joint_that_hangs_outside_its_limits_is_not_moved_into_them(
    spec: RobotSpec, tmp_path: Path, chosen: str
) -> None:
    trouble = "MFJ20 stands at .* rad, outside its limits .*: move it inside by hand"
    with hanging_outside(spec, tmp_path, "MFJ20", 0.4) as bus, pytest.raises(LatencyError, match=trouble):
        Stepper(bus, spec, chosen, 0.1)


def test_a_joint_a_hair_outside_its_limits_makes_whole_steps(spec: RobotSpec, tmp_path: Path) -> None:
    with hanging_outside(spec, tmp_path, "FFJ12", 0.015) as bus:
        bus.set_torque(True)
        steps = list(Stepper(bus, spec, "FFJ12", 0.03).steps(2))
    assert [step.after - step.before for step in steps] == pytest.approx([-0.03, 0.03], abs=0.005)


def test_single_answers_that_get_lost_are_asked_for_again(bus: DynamixelBus, monkeypatch: pytest.MonkeyPatch) -> None:
    read, lost = bus.read, iter([True, True, False])

    def read_at_the_third_try() -> object:
        if next(lost):
            raise BusReadError("lost", ())
        return read()

    monkeypatch.setattr(bus, "read", read_at_the_third_try)
    assert Stepper(bus, bus.spec, "FFJ12", 0.1).joint == "FFJ12"


def test_the_guard_ends_the_steps(bus: DynamixelBus, emulated: EmulatedBus, spec: RobotSpec) -> None:
    bus.set_torque(True)
    emulated.faults.temperatures_c = {30: 75.0}
    with pytest.raises(LatencyError, match="the guard holds.*servo 30 has 75 C"):
        list(Stepper(bus, spec, None, 0.1).steps(2))
    moved = np.abs(emulated.plant.positions() - spec.rest).max()
    assert moved < 0.01


# What is kept ----------------------------------------------------------------------------------------------


def test_figures_are_kept_by_robot_and_updated_one_by_one(
    spec: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find_latencies(spec, "auto") is None and find_latencies(spec, "none") is None
    first = Latencies(spec.name, MADE, {}).updated({"bus_read": figure([0.002, 0.003, 0.004], "bus", MADE)}, MADE)
    first.save(default_path(spec))
    later = "2026-11-27T10:00:00+00:00"
    second = first.updated({"camera_age": Figure(1.0, 2.0, 100, "eye", later, size="640x480")}, later)
    second.save(default_path(spec))
    found = find_latencies(spec, "auto")
    assert found == second and list(found.figures) == ["bus_read", "camera_age"]
    assert (found.figures["bus_read"].made, found.made, found.oldest()) == (MADE, later, MADE)
    assert found.notes() == {
        "latency_made": later,
        "latency_bus_read_p50_ms": "3",
        "latency_bus_read_max_ms": "4",
        "latency_bus_read_made": MADE,
        "latency_bus_read_of": "bus",
        "latency_camera_age_p50_ms": "1",
        "latency_camera_age_p99_ms": "2",
        "latency_camera_age_made": later,
        "latency_camera_age_of": "eye 640x480",
    }
    assert len(list(default_path(spec).parent.glob("dclaw.until-2026-11-27*"))) == 1
    assert found.reaction_ms() is None
    more = {name: Figure(10.0, 20.0, 3, "eye", later, size="640x480") for name in ("action", "camera_motion")}
    whole = found.updated(more, later)
    assert whole.reaction_ms() == 21.0
    with pytest.raises(LatencyError, match="of robot dclaw, not of left"):
        load_latencies(default_path(spec), dataclasses.replace(spec, name="left"))
    with pytest.raises(FileNotFoundError, match="`vmail latency --port DEVICE` measures them"):
        find_latencies(spec, str(tmp_path / "none.yaml"))


def test_figures_of_another_camera_or_size_do_not_stay_beside_new_ones(spec: RobotSpec) -> None:
    def of(camera: str, size: str) -> Figure:
        return Figure(1.0, 2.0, 100, camera, MADE, size=size)

    known = Latencies(spec.name, MADE, {"bus_read": of("bus", ""), "camera_motion": of("left", "640x480")})
    assert list(known.updated({"camera_age": of("left", "640x480")}, MADE).figures) == [
        "bus_read",
        "camera_age",
        "camera_motion",
    ]
    for other in (of("right", "640x480"), of("left", "320x240")):
        assert list(known.updated({"camera_age": other}, MADE).figures) == ["bus_read", "camera_age"]
    assert list(known.updated({"bus_write_read": of("bus", "")}, MADE).figures) == [
        "bus_read",
        "bus_write_read",
        "camera_motion",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"figures: {bus_read: 3}",
        b"\xff\xfe robot",
        b"[",
        b"robot: dclaw\nmade: now\nfigures: {bus_read: {p50_ms: slow, p99_ms: 1, count: 1, of: x, made: now}}",
        b"robot: dclaw\nmade: now\nfigures: {bus_read: {p50_ms: .nan, p99_ms: 1, count: 1, of: x, made: now}}",
        b"robot: dclaw\nmade: now\nfigures: {bus_read: {p50_ms: 1, p99_ms: 1, count: 1, of: x, made: 2026-11-26}}",
        b"robot: dclaw\nmade: now\nfigures: {bus_speed: {p50_ms: 1, p99_ms: 1, count: 1, of: x, made: now}}",
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(spec: RobotSpec, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dclaw.yaml"
    path.write_bytes(content)
    with pytest.raises(LatencyError, match=r"dclaw.yaml is damaged .*: remove it and run `vmail latency`$") as raised:
        load_latencies(path, spec)
    assert "\n" not in str(raised.value)


def test_files_saved_within_a_second_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for content in ("first", "second", "third", "fourth"):
        keep_file(path, content, MADE)
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == ["first", "fourth", "second", "third"]
    assert path.read_text() == "fourth"
