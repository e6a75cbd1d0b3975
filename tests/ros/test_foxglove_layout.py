"""The Foxglove layout: every panel is placed, and every topic and field in it is one that the nodes publish."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import JointTrajectory

import vmail_nodes
from vmail.graph import config_dir

LAYOUT = json.loads((config_dir() / "foxglove.json").read_text())
TYPES = {kind.__name__: kind for kind in (CameraInfo, DiagnosticArray, Image, JointState, JointTrajectory)}
TYPES |= {"JointStateMessage": JointState}  # what the driver calls it


def published() -> dict[str, type]:
    """Topic to message type of every publisher that the nodes' source creates, in the root namespace."""
    found = {}
    for file in Path(vmail_nodes.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "create_publisher":
                kind, topic = node.args[:2]
                assert isinstance(kind, ast.Name) and isinstance(topic, ast.Constant), ast.unparse(node)
                found[f"/{topic.value.removeprefix('/')}"] = TYPES[kind.id]
    return found


def texts(part: Any) -> Iterator[str]:
    """Every text in a part of the layout."""
    if isinstance(part, str):
        yield part
    for inside in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from texts(inside)


def placed(part: Any) -> Iterator[str]:
    """The panels in the tree of the layout."""
    if isinstance(part, str):
        yield part
    else:
        assert part["direction"] in ("row", "column") and 0 < part["splitPercentage"] < 100
        yield from (*placed(part["first"]), *placed(part["second"]))


def test_every_panel_is_placed_once() -> None:
    assert sorted(placed(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


def test_every_topic_and_field_exists() -> None:
    topics, used = published(), set()
    for text in texts(LAYOUT["configById"]):
        if text.startswith("/"):
            topic, _, path = text.partition(".")
            used.add(topic)
            assert topic in topics, f"{topic} is published by no node; there are {', '.join(topics)}"
            field = re.fullmatch(r"(\w+)\[\d\]", path)
            assert not path or field and field[1] in topics[topic].get_fields_and_field_types(), text
    assert used >= {"/camera/image_raw", "/camera/ghost", "/joint_states", "/diagnostics"}
