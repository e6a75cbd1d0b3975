"""A take as messages, made up but physically consistent, and the same messages as a bag."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vmail_core.episodes.alignment import BagAlignment, LiveAlignment, Row, Ticker
from vmail_core.episodes.bag_reading import IMAGE, JOINTS, NOTES, NOTES_TYPE, REQUEST, SENT, TWIN
from vmail_core.robot import load_robot

ROBOT = load_robot("dclaw")
START_NS = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = {
    IMAGE: "sensor_msgs/msg/Image",
    JOINTS: "sensor_msgs/msg/JointState",
    REQUEST: "trajectory_msgs/msg/JointTrajectory",
    SENT: "trajectory_msgs/msg/JointTrajectory",
    TWIN: "sensor_msgs/msg/JointState",
    NOTES: NOTES_TYPE,
}


@dataclasses.dataclass(frozen=True)
class Msg:
    """A message: topic, arrival and header stamp in ns, value and commander as `bag_reading.Event` has them."""

    topic: str
    log_ns: int
    stamp_ns: int
    value: np.ndarray
    commander: str = ""


def make_take(
    ticks: int = 20,
    seed: int = 0,
    camera_hz: float = 10.0,
    jitter_ms: float = 1.0,
    size: int = 16,
    commander=None,
    valve: bool = False,
) -> list[Msg]:
    """Messages of `ticks` commands, in order of arrival, of a claw that follows random requests.

    `commander` decides from a frame's stamp whether it is commanded on; by default every frame is.
    """
    rng = np.random.default_rng(seed)
    messages: list[Msg] = []
    present, goal = ROBOT.rest.copy(), ROBOT.rest.copy()
    period, now, next_frame = round(1e9 / camera_hz), START_NS, START_NS + 25_000_000
    angle, commanded, pending, end = 0.3, 0, None, 2**63
    while now < end:
        present = present + np.clip(goal - present, -0.04, 0.04)
        messages.append(Msg(JOINTS, now + 300_000, now, present.copy()))
        if pending is not None and pending[0] <= now:
            _, stamp, request = pending
            goal = ROBOT.limit_step(request, present)
            messages.append(Msg(REQUEST, now + 500_000, stamp, request))
            messages.append(Msg(SENT, now + 700_000, stamp, goal.copy()))
            pending = None
        if next_frame <= now:
            stamp = next_frame
            picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            messages.append(Msg(IMAGE, now + 900_000, stamp, picture))
            if valve:
                angle += 0.2
                messages.append(Msg(TWIN, now + 950_000, stamp, np.array(angle)))
            if commanded < ticks and (commander is None or commander(stamp)):
                action = rng.uniform(-1, 1, ROBOT.action_size)
                pending = (now + 8_000_000, stamp, ROBOT.desired_positions(action))
                commanded += 1
                # Long enough for the frame that the last command leads to, and too short for another tick.
                end = stamp + 130_000_000 if commanded == ticks else end
            next_frame = START_NS + 25_000_000 + period * ((stamp - START_NS) // period + 1)
            next_frame += round(rng.uniform(-jitter_ms, jitter_ms) * 1e6)
        now += 10_000_000
    return messages


def feed(alignment, messages: list[Msg]) -> list[Row]:
    """Rows that come back at once: all of a live alignment's, none of a bag's."""
    rows = []
    for message in messages:
        act = {
            IMAGE: alignment.on_image,
            JOINTS: alignment.on_joint_states,
            REQUEST: alignment.on_request,
            SENT: alignment.on_sent,
        }.get(message.topic)
        rows.append(act(message.stamp_ns, message.value) if act else None)
    return [row for row in rows if row is not None]


def from_bag(messages: list[Msg], size=(16, 16)) -> tuple[list[Row], BagAlignment]:
    alignment = BagAlignment(ROBOT, size)
    feed(alignment, messages)
    return alignment.rows(), alignment


def live(messages: list[Msg], size=(16, 16)) -> tuple[list[Row], LiveAlignment]:
    alignment = LiveAlignment(ROBOT, size)
    return feed(alignment, messages), alignment


def ticking():
    """A commander that decides as the runner does."""
    return Ticker(ROBOT.control_rate_hz).offer


def arrays(steps: int = 4) -> dict:
    """Fields of a valid episode."""
    action = np.full((steps, 9), 0.5, np.float32)
    action[0] = 0
    return {
        "image": np.zeros((steps, 8, 8, 3), np.uint8),
        "action": action,
        "time": np.arange(steps) / 10,
        "joint_positions": np.zeros((steps, 9), np.float32),
        "reward": np.ones(steps, np.float32),
        "provenance": {"source": "test"},
    }


def stamps(messages: list[Msg], topic: str) -> list[int]:
    """Stamps of a topic's messages."""
    return [message.stamp_ns for message in messages if message.topic == topic]


def without(messages: list[Msg], topic: str, stamp_ns: int) -> list[Msg]:
    """The take with one message lost."""
    kept = [m for m in messages if (m.topic, m.stamp_ns) != (topic, stamp_ns)]
    assert len(kept) == len(messages) - 1
    return kept


def write_bag(
    path: Path,
    messages: list[Msg],
    namespace: str = "",
    storage: StoragePlugin = StoragePlugin.MCAP,
    notes: dict[str, str] | None = None,
    names: tuple[str, ...] = ROBOT.joint_names,
    encoding: str = "rgb8",
) -> Path:
    """Write the take as a rosbag2 bag; topics that have no message are left out."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if storage == StoragePlugin.MCAP:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(f"{namespace}/{topic}", _type(topic), typestore=STORE)
            for topic in dict.fromkeys(message.topic for message in messages)
        }
        for message in messages:
            data = STORE.serialize_cdr(_ros(message, names, encoding), _type(message.topic))
            writer.write(connections[message.topic], message.log_ns, bytes(data))
        for key, value in (notes or {}).items():
            writer.set_custom_data(key, value)
    return path


def notes_message(notes: dict[str, str]) -> Msg:
    """The recorder's first message."""
    return Msg(NOTES, START_NS - 1, 0, np.array(json.dumps(notes)))


def _type(topic: str) -> str:
    return TYPES[topic.removeprefix("second/")]


def _ros(message: Msg, names: tuple[str, ...], encoding: str):
    kinds = STORE.types
    stamp = kinds["builtin_interfaces/msg/Time"](*divmod(message.stamp_ns, 10**9))
    header = kinds["std_msgs/msg/Header"](stamp=stamp, frame_id=message.commander)
    if message.topic == NOTES:
        return kinds[NOTES_TYPE](data=str(message.value))
    if message.topic.endswith(IMAGE):
        height, width = message.value.shape[:2]
        pixels = message.value if encoding != "bgr8" else message.value[..., ::-1]
        return kinds[TYPES[IMAGE]](header, height, width, encoding, 0, 3 * width, np.ascontiguousarray(pixels).ravel())
    nothing = np.zeros(0)
    if message.topic == TWIN:
        return kinds[TYPES[TWIN]](header, ["valve"], np.array([float(message.value)]), nothing, nothing)
    if message.topic == JOINTS:
        return kinds[TYPES[JOINTS]](header, list(names), message.value, nothing, nothing)
    duration = kinds["builtin_interfaces/msg/Duration"](0, 0)
    point_type = kinds["trajectory_msgs/msg/JointTrajectoryPoint"]
    return kinds[TYPES[SENT]](header, list(names), [point_type(message.value, nothing, nothing, nothing, duration)])
