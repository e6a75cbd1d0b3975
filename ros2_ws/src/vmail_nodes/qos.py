"""Quality of service by purpose, after REP-2003: sensors are sent reliably and read as sensor data."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE
    )


SENSOR_PUBLISHER = _profile(10, ReliabilityPolicy.RELIABLE)
"""Cameras, joint states and the twin's state: reliable, so that a recorder can ask for every message."""

SENSOR_SUBSCRIBER = _profile(5, ReliabilityPolicy.BEST_EFFORT)
"""A reader that wants the newest sensor message and never waits for an old one."""

SENSOR_RECORDER = _profile(200, ReliabilityPolicy.RELIABLE)
"""A reader that must not lose a sensor message."""

COMMANDS = _profile(1, ReliabilityPolicy.RELIABLE)
"""Joint commands, both ends: the newest, and it arrives."""

COMMANDS_SENT = _profile(10, ReliabilityPolicy.RELIABLE)
"""The driver's record of what it wrote: every one counts, none replaces another."""

GOALS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""What the servos pursue, both ends: the newest, also for those that come later."""

DIAGNOSTICS = _profile(10, ReliabilityPolicy.RELIABLE)
"""/diagnostics, as diagnostic_updater has it."""
