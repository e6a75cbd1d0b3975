"""camera as a process, reading a frame server of this test."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from ros_harness import NodeProcess, Ros, until
from sensor_msgs.msg import CameraInfo, Image

from vmail_hardware.cameras import CameraError, FrameServer
from vmail_hardware.cameras.identity import default_calibration
from vmail_nodes.camera import CameraNode
from vmail_nodes.camera_info import load_camera_info
from vmail_nodes.messages import array_from_image, ns_from_time
from vmail_nodes.qos import SENSOR_RECORDER


class Filming:
    """Serves a new picture every 20 ms: all pixels have the number of the picture."""

    def __init__(self, path: Path) -> None:
        self.taken: dict[int, int] = {}  # stamp to number
        self._server = FrameServer(path)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in range(10**6):
            stamp = time.time_ns()
            self.taken[stamp] = number % 256
            self._server.publish(stamp, np.full((48, 64, 3), number % 256, np.uint8))
            if self._stop.wait(0.02):
                return

    def stop(self, hang_up: bool = True) -> None:
        """No more pictures; the socket too goes away unless told otherwise."""
        self._stop.set()
        self._thread.join()
        if hang_up:
            self._server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where frames are served."""
    return tmp_path / "frames.sock"


@pytest.fixture
def filming(path: Path) -> Iterator[Filming]:
    """A running camera."""
    served = Filming(path)
    yield served
    served.stop()


PARAMETERS = {"reopen_period_s": 0.3, "stamp_limit_s": 0.3}


def test_publishes_pictures_with_their_own_stamps(
    ros: Ros, start_node: Callable[..., NodeProcess], filming: Filming, path: Path
) -> None:
    start_node("vmail_nodes.camera", {"source": f"twin://{path}", **PARAMETERS})
    infos = ros.collect(CameraInfo, "camera/camera_info", SENSOR_RECORDER)
    images = ros.collect(Image, "camera/image_raw", SENSOR_RECORDER).wait_for(10)
    for message in images:
        pixels = array_from_image(message)
        assert pixels.shape == (48, 64, 3)
        assert np.all(pixels == filming.taken[ns_from_time(message.header.stamp)])
    info = infos.wait_for(1)[0]
    assert (info.height, info.width) == (48, 64)
    assert not info.k.any()  # uncalibrated


def test_a_lost_camera_is_named_and_found_again(
    ros: Ros, start_node: Callable[..., NodeProcess], filming: Filming, path: Path
) -> None:
    start_node("vmail_nodes.camera", {"source": f"twin://{path}", **PARAMETERS})
    ros.wait_reason("camera", "ok")
    stopped_ns = time.time_ns()
    filming.stop()
    ros.wait_reason("camera", "camera_lost", within=5.0, since_ns=stopped_ns)
    again = Filming(path)
    ros.wait_reason("camera", "ok", within=5.0)
    again.stop()


def test_a_frozen_camera_is_named_and_goes_on(
    ros: Ros, start_node: Callable[..., NodeProcess], filming: Filming, path: Path
) -> None:
    start_node("vmail_nodes.camera", {"source": f"twin://{path}", **PARAMETERS})
    ros.wait_reason("camera", "ok")
    stopped_ns = time.time_ns()
    filming.stop(hang_up=False)
    ros.wait_reason("camera", "camera_frozen", within=5.0, since_ns=stopped_ns)


def test_pictures_that_become_smaller_end_the_node(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    images = ros.collect(Image, "camera/image_raw", SENSOR_RECORDER)
    with FrameServer(tmp_path / "frames.sock") as server:
        node = start_node("vmail_nodes.camera", {"source": f"twin://{server.path}"})
        server.publish(1, np.zeros((48, 64, 3), np.uint8))
        images.wait_for(1)
        server.publish(2, np.zeros((24, 32, 3), np.uint8))
        assert node.wait() == 1
    assert f"twin://{server.path} gave pictures of 64x48 and gives 32x24 now" in node.output
    assert "Traceback" not in node.output


def test_a_missing_source_is_one_clear_error(start_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    process = start_node("vmail_nodes.camera", {"source": str(tmp_path / "no.mp4")})
    assert process.wait() == 1
    assert str(tmp_path / "no.mp4") in process.output
    assert "Traceback" not in process.output


def test_calibration_is_read_as_camera_calibration_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "ost.yaml"
    file.write_text(
        "image_width: 64\nimage_height: 48\ncamera_name: c\ndistortion_model: plumb_bob\n"
        "camera_matrix: {rows: 3, cols: 3, data: [50, 0, 32, 0, 51, 24, 0, 0, 1]}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}\n"
        "rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}\n"
        "projection_matrix: {rows: 3, cols: 4, data: [50, 0, 32, 0, 0, 51, 24, 0, 0, 0, 1, 0]}\n"
    )
    info = load_camera_info(file)
    assert (info.width, info.height, info.k[4], list(info.d)[0], info.p[5]) == (64, 48, 51.0, 0.1, 51.0)
    sound = file.read_text()
    for good, bad, told in (
        ("50, 0, 32, 0, 51", "50, 0, 32, 0", "camera_matrix has 8 numbers instead of 9"),
        ("[0.1,", "[.nan,", "distortion_coefficients has numbers that are not finite"),
        ("image_width: 64", "image_width: -1", "pictures of -1x48"),
        ("rectification_matrix", "rectification", "'rectification_matrix'"),
    ):
        file.write_text(sound.replace(good, bad, 1))
        with pytest.raises(ValueError, match=f"ost.yaml is no camera calibration .*{told}"):
            load_camera_info(file)
    file.write_text("image_width: 64\n")
    with pytest.raises(ValueError, match="ost.yaml"):
        load_camera_info(file)
    with pytest.raises(FileNotFoundError, match="absent.yaml"):
        load_camera_info(tmp_path / "absent.yaml")


class Still:
    """A camera, as far as opening it goes; the first look at it finds it unplugged."""

    has_sensor_noise = False

    def read(self, timeout: float) -> None:
        raise CameraError("unplugged")

    def close(self) -> None: ...


@pytest.fixture
def still_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[CameraNode]:
    """A node whose source is the device /dev/video99, which is a camera that is always there."""
    monkeypatch.setattr("vmail_nodes.camera.open_camera", lambda *_, **__: Still())
    rclpy.init()
    node = CameraNode()
    given = {"source": "/dev/video99", "reopen_period_s": 0.05}
    monkeypatch.setattr(node, "parameter", lambda name, default, *_: given.get(name, default))
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_another_camera_behind_the_same_device_file_is_not_taken_for_the_lost_one(
    still_node: CameraNode, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    names = itertools.chain(["usb-left", "usb-right", "usb-right"], itertools.repeat("usb-left"))
    monkeypatch.setattr("vmail_nodes.camera.camera_name", lambda _: next(names))
    said: list[str] = []

    def is_there_again() -> bool:
        said.append(capfd.readouterr().err)
        return "opened /dev/video99 again" in "".join(said)

    still_node.configure()
    still_node.activate()
    until(is_there_again, "the first camera is there again")
    still_node.deactivate()
    still_node.cleanup()
    before, _, _ = "".join(said).partition("opened /dev/video99 again")
    assert before.count("/dev/video99 is usb-right and was usb-left") == 1


def test_a_device_without_a_name_that_lasts_takes_no_calibration_by_itself(
    still_node: CameraNode, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = default_calibration("/dev/video99")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("of another camera")
    try:
        still_node.configure()
        still_node.cleanup()
    finally:
        kept.unlink()
    said = capfd.readouterr().err
    assert said.count("nothing tells this camera from another") == 1 and "camera_info_file" in said
