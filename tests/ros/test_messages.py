"""Conversions between arrays and messages."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from vmail_nodes.messages import (
    array_from_image,
    command_message,
    image_from_array,
    joint_state_message,
    latency_ns,
    ns_from_time,
    positions_from_command,
    positions_from_joint_state,
    time_from_ns,
    velocities_from_joint_state,
)
from vmail_nodes.raw_message import commander, stamp_ns
from vmail_nodes.raw_message import pixels as raw_pixels

STAMP = 1_790_000_000_123_456_789


def test_stamps_keep_every_nanosecond() -> None:
    assert ns_from_time(time_from_ns(STAMP)) == STAMP


def test_images_survive_the_round_trip_also_from_views() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    for view in (pixels, pixels[::-1, ::2]):
        np.testing.assert_array_equal(array_from_image(image_from_array(view, STAMP)), view)


def test_images_with_row_padding_and_bgr_are_read() -> None:
    pixels = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    message = image_from_array(pixels, STAMP)
    message.encoding, message.step = "bgr8", 8
    message.data = b"".join(row.tobytes() + b"\xff\xff" for row in pixels)
    np.testing.assert_array_equal(array_from_image(message), pixels[:, :, ::-1])


def test_broken_images_are_refused() -> None:
    message = image_from_array(np.zeros((2, 2, 3), np.uint8), STAMP)
    message.height = 3
    with pytest.raises(ValueError, match="holds only 12 bytes"):
        array_from_image(message)
    with pytest.raises(ValueError, match="0x0 has no pixels"):
        array_from_image(Image(encoding="rgb8"))
    message.encoding = "mono8"
    with pytest.raises(ValueError, match="mono8"):
        array_from_image(message)
    with pytest.raises(ValueError, match="float64"):
        image_from_array(np.zeros((2, 2, 3)), STAMP)


def test_joints_are_read_by_name_not_by_place() -> None:
    command = command_message(["a", "b"], np.array([1.0, 2.0]), STAMP, "policy", time_from_start_ns=1_500_000_000)
    assert command.header.frame_id == "policy"
    np.testing.assert_array_equal(positions_from_command(command, ["b", "a"]), [2.0, 1.0])
    assert latency_ns(command) == 1_500_000_000
    state = joint_state_message(["a", "b"], np.array([1.0, 2.0]), np.array([3.0, 4.0]), None, STAMP)
    np.testing.assert_array_equal(positions_from_joint_state(state, ["b"]), [2.0])
    np.testing.assert_array_equal(velocities_from_joint_state(state, ["b", "a"]), [4.0, 3.0])


def test_missing_joints_and_wrong_counts_are_named() -> None:
    command = command_message(["a", "b"], np.zeros(2), STAMP)
    with pytest.raises(ValueError, match="lacks c; it has a, b"):
        positions_from_command(command, ["a", "c"])
    command.points[0].positions = [0.0]
    with pytest.raises(ValueError, match="names 2 joints but holds 1"):
        positions_from_command(command, ["a"])
    command.points = []
    with pytest.raises(ValueError, match="exactly one point"):
        positions_from_command(command, ["a"])


@pytest.mark.parametrize("name", ["", "policy", "a name of some length"])
def test_stamp_and_commander_are_read_from_the_bytes(name: str) -> None:
    data = serialize_message(command_message(["a"], np.zeros(1), STAMP, name))
    assert (stamp_ns(data), commander(data)) == (STAMP, name)


@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "camera"])
@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "bayer_rggb8", "yuv422_yuy2"])
def test_a_picture_is_found_in_the_bytes(frame_id: str, encoding: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    message = image_from_array(image, STAMP, frame_id)
    message.encoding = encoding
    data = serialize_message(message)
    np.testing.assert_array_equal(raw_pixels(data), image.ravel())
    for size in (3, 20, 50, len(data) - 1):
        with pytest.raises(ValueError, match=r"cut off|buffer"):
            raw_pixels(data[:size])
