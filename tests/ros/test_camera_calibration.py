"""From a film of a board to camera_info: the real command, then the real camera node over DDS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import board_views
import numpy as np
import pytest
import yaml
from ros_harness import NodeProcess, Ros
from sensor_msgs.msg import CameraInfo

from vmail.cli import main
from vmail_hardware.cameras import FrameServer
from vmail_hardware.cameras.identity import default_calibration
from vmail_nodes.qos import SENSOR_RECORDER

MODULE = "vmail_nodes.camera"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(2)
    pictures = [board_views.take_picture(pose, rng) for pose in board_views.poses()]
    return str(board_views.film(tmp_path_factory.mktemp("film") / "views.avi", pictures))


@pytest.fixture
def calibration(source: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command wrote for this camera, where its user's nodes look for it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    kept = default_calibration(source)
    if not kept.is_file():
        assert main(["calibrate-camera", "--camera", source]) == 0
    return kept


def test_the_camera_node_takes_what_the_command_wrote(
    ros: Ros, start_node: Callable[..., NodeProcess], source: str, calibration: Path
) -> None:
    infos = ros.collect(CameraInfo, "camera/camera_info", SENSOR_RECORDER)
    node = start_node(MODULE, {"source": source, "loop": True})
    info = infos.wait_for(1)[0]
    assert str(calibration) in node.output
    raw = yaml.safe_load(calibration.read_text())
    assert (info.width, info.height, info.distortion_model) == (board_views.WIDTH, board_views.HEIGHT, "plumb_bob")
    np.testing.assert_allclose(info.k, raw["camera_matrix"]["data"])
    np.testing.assert_allclose(info.d, raw["distortion_coefficients"]["data"])
    np.testing.assert_allclose(info.p, raw["projection_matrix"]["data"])
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), board_views.MATRIX, rtol=0.01, atol=3.0)
    assert info.header.frame_id == "camera" and info.header.stamp.sec > 0


def test_none_is_taken_where_none_is_asked_for(
    ros: Ros, start_node: Callable[..., NodeProcess], source: str, calibration: Path
) -> None:
    infos = ros.collect(CameraInfo, "camera/camera_info", SENSOR_RECORDER)
    start_node(MODULE, {"source": source, "loop": True, "camera_info_file": "none"})
    info = infos.wait_for(1)[0]
    assert not info.k.any() and (info.width, info.height) == (board_views.WIDTH, board_views.HEIGHT)


def test_a_calibration_of_another_size_ends_the_node(
    start_node: Callable[..., NodeProcess], calibration: Path, tmp_path: Path
) -> None:
    server = FrameServer(tmp_path / "frames.sock")
    try:
        node = start_node(MODULE, {"source": f"twin://{server.path}", "camera_info_file": str(calibration)})
        server.publish(1, np.zeros((240, 320, 3), np.uint8))  # of the same ratio: shrunk by half, or a part of it
        assert node.wait() == 1
    finally:
        server.close()
    assert f"{calibration} is of pictures of 640x480, twin://{server.path} gives 320x240" in node.output
    assert node.output.count("is of pictures of") == 1 and "Traceback" not in node.output
