"""The node `ghost` over DDS: takes that ship are the set, the test is camera and viewer."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_harness import Collected, NodeProcess, Ros, until
from sensor_msgs.msg import Image

from vmail.demo.settings import SHIPPED_TAKES
from vmail_core.episodes.bag_reading import IMAGE, Bag
from vmail_core.robot import load_robot
from vmail_nodes.messages import array_from_image, image_from_array
from vmail_nodes.qos import SENSOR_PUBLISHER, SENSOR_SUBSCRIBER
from vmail_nodes.take import first_take

MODULE = "vmail_nodes.ghost"
LIVE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    folder = tmp_path / "takes"
    folder.mkdir()
    return folder


@pytest.fixture
def ghost(start_node, takes: Path) -> NodeProcess:
    return start_node(MODULE, {"takes": str(takes), "rate_hz": 30.0})


def record(takes: Path, shipped: str, name: str) -> np.ndarray:
    """Put a take that ships into the folder, as a recorder does: metadata.yaml last. Returns its first picture."""
    shutil.copytree(SHIPPED_TAKES / shipped, takes / name, ignore=shutil.ignore_patterns("metadata.yaml"))
    shutil.copy(SHIPPED_TAKES / shipped / "metadata.yaml", takes / name)
    with Bag(SHIPPED_TAKES / shipped, load_robot("dclaw")) as bag:
        return next(event.value for event in bag.events() if event.topic == IMAGE)


def shown(ros: Ros, seen: Collected, pixels: np.ndarray, wanted: np.ndarray) -> bool:
    """Publish a live picture until the wanted one comes of it, to a grey level; with the live picture's stamp."""
    camera = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    stamps: list[int] = []

    def right() -> bool:
        stamps.append(len(stamps) + 1)
        camera.publish(image_from_array(pixels, stamps[-1], "lens"))
        return any(
            message.header.frame_id == "lens"
            and message.header.stamp.nanosec in stamps
            and np.abs(array_from_image(message).astype(int) - wanted).max() <= 1
            for message in list(seen.messages)
        )

    until(right, "the ghost")
    ros.node.destroy_publisher(camera)
    return True


def test_the_first_picture_of_the_set_lies_over_the_live_one(ros: Ros, ghost: NodeProcess, takes: Path) -> None:
    ros.wait_reason("ghost", "unwatched")
    seen = ros.collect(Image, "camera/ghost", SENSOR_SUBSCRIBER)
    ros.wait_reason("ghost", "no_take_yet")
    ros.wait_reason("ghost", "no_take_yet")  # and it stays so, once a second
    assert not seen.messages and ros.node.count_subscribers("camera/image_raw") == 0
    assert ghost.output.count("holds no finished take yet") == 1

    second = record(takes, "take_0002", "take_0007")
    assert shown(ros, seen, LIVE, (LIVE.astype(int) + second) // 2)
    first = record(takes, "take_0001", "take_0003")
    assert np.abs(first.astype(int) - second).max() > 20
    assert shown(ros, seen, LIVE, (LIVE.astype(int) + first) // 2), "the lowest number is the first"
    ros.set_parameter("ghost", "mode", "difference")
    assert shown(ros, seen, LIVE, np.abs(LIVE.astype(int) - first))
    request = SetParameters.Request(parameters=[Parameter("mode", value="sepia").to_parameter_msg()])
    (refusal,) = ros.call(SetParameters, "/ghost/set_parameters", request).results
    assert not refusal.successful and "blend or difference" in refusal.reason

    for subscription in list(ros.node.subscriptions):
        if subscription.topic_name == "/camera/ghost":
            ros.node.destroy_subscription(subscription)
    ros.wait_reason("ghost", "unwatched")
    until(lambda: ros.node.count_subscribers("camera/image_raw") == 0, "it leaves the camera alone")


def test_what_is_no_good_is_named_and_the_node_goes_on(ros: Ros, ghost: NodeProcess, takes: Path) -> None:
    seen = ros.collect(Image, "camera/ghost", SENSOR_SUBSCRIBER)
    first = record(takes, "take_0001", "take_0001")
    storage = takes / "take_0001" / "take_0001.mcap"
    whole = storage.read_bytes()
    storage.write_bytes(whole[: len(whole) // 2])
    (takes / "take_0001" / "metadata.yaml").touch()
    status = ros.wait_reason("ghost", "take_unreadable")
    assert "take_0001 is cut off or damaged" in status.message
    storage.write_bytes(whole)
    (takes / "take_0001" / "metadata.yaml").touch()
    ros.wait_reason("ghost", "showing")
    large = np.zeros((48, 64, 3), np.uint8)
    camera = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
    camera.publish(image_from_array(large, 1))
    status = ros.wait_reason("ghost", "size_differs", since_ns=0)
    assert "64x64" in status.message and "64x48" in status.message
    assert not seen.messages
    assert shown(ros, seen, LIVE, (LIVE.astype(int) + first) // 2)


def test_the_first_take_is_the_finished_one_with_the_lowest_number(takes: Path) -> None:
    for name in ("take_0002", "take_0003", "take_0010", "take_0001_recovered", ".discarded-take_0001"):
        (takes / name).mkdir()
    assert first_take(takes) is None and first_take(takes / "none") is None
    for name in ("take_0010", "take_0003", "take_0001_recovered"):
        (takes / name / "metadata.yaml").touch()
    assert first_take(takes) == takes / "take_0003"
