from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmail_hardware.cameras import (
    CameraLostError,
    CameraOpenError,
    CameraTimeoutError,
    Frame,
    FreezeDetector,
    open_camera,
    opencv_camera,
)
from vmail_hardware.cameras.opencv_camera import OpenCVCamera
from vmail_hardware.cameras.video_file import VideoFileCamera

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra `hardware`)")

FPS = 5.0  # few enough that a busy test machine is not a slow reader
LEVELS = [20, 60, 100, 140, 180, 220]  # red of the pictures in the test's video, far enough apart for any codec


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (64, 48))
    for level in LEVELS:
        writer.write(np.full((48, 64, 3), (0, 0, level), np.uint8))  # OpenCV writes BGR
    writer.release()
    return path


def number_of(frame: Frame) -> int:
    """Which picture of the test's video this is."""
    red = float(frame.image[..., 0].mean())
    return int(np.argmin([abs(red - level) for level in LEVELS]))


# Video files -----------------------------------------------------------------------------------------------


def test_a_file_plays_in_rgb_at_its_own_rate(video: Path) -> None:
    with open_camera(str(video)) as camera:
        start = time.monotonic()
        frames = [camera.read(5.0) for _ in range(3)]
        assert time.monotonic() - start >= 2.0 / FPS - 0.001
        assert frames[0].image.shape == (48, 64, 3)
        assert frames[0].image.dtype == np.uint8
        assert frames[0].image[..., 1].mean() < 15 < frames[0].image[..., 0].mean() + 5  # red, so not BGR
        assert number_of(frames[0]) == 0
        steps = np.diff([frame.stamp_ns for frame in frames]) * 1e-9 * FPS
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        assert (steps >= 1.0 - 1e-6).all()


def test_a_slow_reader_misses_pictures(video: Path) -> None:
    with VideoFileCamera(video) as camera:
        first = camera.read(5.0)
        time.sleep(3.5 / FPS)
        late = camera.read(5.0)
        assert number_of(late) >= 3
        assert (late.stamp_ns - first.stamp_ns) * 1e-9 == pytest.approx(number_of(late) / FPS, abs=1e-6)


def test_every_picture_of_a_file_can_be_had_at_once(video: Path) -> None:
    with open_camera(str(video), every_picture=True) as camera:
        begin = time.monotonic()
        frames = [camera.read(0.0) for _ in LEVELS]
        assert time.monotonic() - begin < (len(LEVELS) - 1) / FPS
    assert [number_of(frame) for frame in frames] == list(range(len(LEVELS)))
    np.testing.assert_allclose(np.diff([frame.stamp_ns for frame in frames]), 1e9 / FPS, atol=2.0)


def test_the_end_of_a_file_is_a_lost_camera(video: Path) -> None:
    with VideoFileCamera(video) as camera, pytest.raises(CameraLostError, match="ended after 6 pictures"):
        for _ in range(len(LEVELS) + 1):
            camera.read(5.0)


def test_a_looping_file_goes_on_with_advancing_stamps(video: Path) -> None:
    with open_camera(str(video), loop=True) as camera:
        frames = [camera.read(5.0) for _ in range(2 * len(LEVELS) + 1)]
    stamps = [frame.stamp_ns for frame in frames]
    assert all(later > earlier for earlier, later in zip(stamps, stamps[1:], strict=False))
    due = [round((stamp - stamps[0]) * 1e-9 * FPS) for stamp in stamps]
    assert [number_of(frame) for frame in frames] == [count % len(LEVELS) for count in due]


def test_timeout_before_the_next_picture_is_due(video: Path) -> None:
    with VideoFileCamera(video) as camera:
        camera.read(5.0)
        with pytest.raises(CameraTimeoutError):
            camera.read(0.0)
        camera.read(5.0)


def test_a_file_without_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(CameraOpenError, match=r"notes\.mp4 holds no video"):
        open_camera(str(tmp_path / "notes.mp4"))


@pytest.mark.parametrize("loop", [False, True])
def test_a_file_that_was_cut_short_does_not_hang(tmp_path: Path, loop: bool) -> None:
    whole, cut = tmp_path / "clip.avi", tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    for level in LEVELS:
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    data = whole.read_bytes()
    cut.write_bytes(data[: data.index(b"movi") + 8])
    with open_camera(str(cut), loop=loop) as camera, pytest.raises(CameraLostError, match=r"cut\.avi holds no picture"):
        camera.read(5.0)


# Devices ---------------------------------------------------------------------------------------------------


def test_a_missing_device_names_it_and_what_is_there() -> None:
    with pytest.raises(CameraOpenError, match="no camera /dev/video97; cameras here: .*Plug it in"):
        open_camera("97")


def test_a_device_that_is_no_camera() -> None:
    with pytest.raises(CameraOpenError, match="/dev/null is there but gives no pictures"):
        open_camera("/dev/null")


def test_no_permission_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a test may run as root, whom everything is allowed
    with pytest.raises(CameraOpenError, match="usermod -aG video"):
        open_camera("/dev/null")


def test_an_unknown_source_lists_the_forms() -> None:
    with pytest.raises(CameraOpenError, match=r"'somewhere'; give twin:///path/of.sock, a device .* video file"):
        open_camera("somewhere")


class Capture:
    """Stands in for cv2.VideoCapture: gives pictures at a rate until it is unplugged."""

    def __init__(self) -> None:
        self.count = 0
        self.unplugged = False

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        if self.unplugged:
            return False, None
        self.count += 1
        return True, np.full((4, 4, 3), (self.count % 256, 0, 0), np.uint8)

    def release(self) -> None:
        self.unplugged = True


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Capture:
    capture = Capture()
    monkeypatch.setattr(opencv_camera, "_open", lambda device, width, height, fps: capture)
    return capture


def test_a_device_gives_its_newest_picture_in_rgb(capture: Capture) -> None:
    with OpenCVCamera("/dev/null") as camera:
        before = time.time_ns()
        first = camera.read(5.0)
        count = capture.count
        while capture.count < count + 10:
            time.sleep(0.005)
        second = camera.read(5.0)
        assert first.image[0, 0, 2] > 0 == first.image[0, 0, 0]  # blue is last in RGB
        assert second.image[0, 0, 2] - first.image[0, 0, 2] > 3  # those in between are gone
        assert before < first.stamp_ns < second.stamp_ns <= time.time_ns()
    with pytest.raises(CameraLostError, match="closed"):
        camera.read(1.0)


def test_an_unplugged_device_is_lost(capture: Capture) -> None:
    with OpenCVCamera("/dev/null") as camera:
        camera.read(5.0)
        capture.unplugged = True
        with pytest.raises(CameraLostError, match="stopped giving pictures"):
            for _ in range(100):
                camera.read(5.0)


# Frozen pictures -------------------------------------------------------------------------------------------


def frame(stamp: int, value: int = 0) -> Frame:
    return Frame(stamp, np.full((4, 4, 3), value, np.uint8))


def test_a_stamp_that_does_not_advance_is_a_freeze() -> None:
    detector = FreezeDetector(stamp_limit_s=0.5)
    assert detector.frozen(0.0) is None
    assert "no new picture" in (detector.frozen(0.6) or "")  # not even a first one
    detector.update(frame(1), 1.0)
    detector.update(frame(1), 1.3)  # the same picture again does not count
    assert detector.frozen(1.4) is None
    assert "no new picture for 0.60 s" in (detector.frozen(1.6) or "")
    detector.update(frame(2), 2.0)
    assert detector.frozen(2.1) is None


def test_a_clock_that_was_set_back_is_no_freeze() -> None:
    detector = FreezeDetector(stamp_limit_s=0.5)
    detector.update(frame(3_600_000_000_000), 1.0)
    detector.update(frame(1), 2.0)
    assert detector.frozen(2.4) is None
    assert detector.frozen(2.6) is not None


def test_identical_pictures_are_fine_by_default_and_a_freeze_for_a_sensor() -> None:
    rendered, sensor = FreezeDetector(), FreezeDetector(identical_limit_s=1.0)
    for tick in range(20):
        rendered.update(frame(tick), 0.1 * tick)
        sensor.update(frame(tick), 0.1 * tick)
    assert rendered.frozen(1.95) is None
    assert "identical" in (sensor.frozen(1.95) or "")
    sensor.update(frame(20, value=1), 2.0)
    assert sensor.frozen(2.0) is None


def test_the_camera_chooses_the_detector(capture: Capture, video: Path) -> None:
    with OpenCVCamera("/dev/null") as device, VideoFileCamera(video) as film:
        detectors = [FreezeDetector.for_camera(camera) for camera in (device, film)]
    for tick in range(20):
        for detector in detectors:
            detector.update(frame(tick), 0.1 * tick)
    assert [detector.frozen(1.9) is None for detector in detectors] == [False, True]
