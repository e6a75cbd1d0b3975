"""What a take notes of itself: who demonstrated what on which robot, and who commanded, as the nodes themselves say."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo

from vmail_core.robot import RobotSpec
from vmail_nodes.diagnostics import SILENT_S, reason_of, value_of
from vmail_nodes.messages import POLICY

TELEOP, RUNNER = "teleop", "policy_runner"
COMMANDING = "running"  # the named reason of a node that commands


class TakeNotes:
    """Listens between and during takes; notes are text by key."""

    def __init__(self, namespace: str, robot: RobotSpec, **fixed: str) -> None:
        """Of nodes in `namespace` ("/" or "/left"); `fixed` is noted in every take, where it is not empty."""
        self._prefix = f"{namespace.strip('/')}/" if namespace.strip("/") else ""
        self._fixed = {
            **{key: text for key, text in fixed.items() if text},
            "robot": robot.name,
            "interface_digest": robot.digest(),
            "vmail_version": version("vmail"),
        }
        self._camera_info: bytes | None = None
        self._commanding: dict[str, tuple[float, DiagnosticStatus]] = {}  # now, and when it was heard of
        self._commanded: dict[str, DiagnosticStatus] = {}  # since the take began

    def hear_camera_info(self, data: bytes) -> None:
        """A serialised CameraInfo."""
        self._camera_info = data

    def hear_diagnostics(self, data: bytes) -> bool:
        """A serialised DiagnosticArray; returns whether it concerns this namespace. Without one, everything does."""
        ours = [s for s in deserialize_message(data, DiagnosticArray).status if s.name.startswith(self._prefix)]
        for status in ours:
            name = status.name.removeprefix(self._prefix)
            if name not in (TELEOP, RUNNER):
                continue
            self._commanding.pop(name, None)
            if reason_of(status) == COMMANDING:
                self._commanding[name], self._commanded[name] = (time.monotonic(), status), status
        return bool(ours)

    def at_start(self, take: str, simulated: bool) -> dict[str, str]:
        """Notes of a take that begins, with its name."""
        now = time.monotonic()
        self._commanded = {name: status for name, (heard, status) in self._commanding.items() if now - heard < SILENT_S}
        notes = {"take": take, **self._fixed, **self.at_end()}
        if simulated:
            notes["simulator_version"] = f"mujoco {version('mujoco')}"
        return notes

    def at_end(self) -> dict[str, str]:
        """What may have become known since the start: who commanded, and through which camera it was seen."""
        notes = {}
        if self._commanded:
            modes = {name: value_of(status, "mode") or POLICY for name, status in self._commanded.items()}
            notes["commander"] = " and ".join(modes[name] for name in sorted(modes))
        if RUNNER in self._commanded:
            notes["bundle"] = value_of(self._commanded[RUNNER], "bundle")
        digest = camera_info_digest(self._camera_info) if self._camera_info else ""
        return notes | ({"camera_info_digest": digest} if digest else {})


def camera_info_digest(data: bytes) -> str:
    """SHA-256 of what a serialised CameraInfo says of the lens; empty for a camera that is not calibrated."""
    info = deserialize_message(data, CameraInfo)
    if not info.k[0]:
        return ""
    numbers = [[float(number) for number in matrix] for matrix in (info.d, info.k, info.r, info.p)]
    plain = [info.height, info.width, info.distortion_model, *numbers]
    return hashlib.sha256(json.dumps(plain, separators=(",", ":")).encode()).hexdigest()


def version(package: str) -> str:
    """Version of an installed package; "unknown" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
