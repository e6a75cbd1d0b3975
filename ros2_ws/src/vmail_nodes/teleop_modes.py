"""The modes of teleoperation, and the source of commands that each stands for. Opens nothing, knows no node."""

from __future__ import annotations

from vmail_core.episodes.bag_reading import KINESTHETIC
from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.calibration import Calibration, CalibrationError, find_calibration
from vmail_nodes.gamepad_source import GamepadSource, fingers_of
from vmail_nodes.kinesthetic_source import KinestheticSource
from vmail_nodes.leader_source import LeaderSource
from vmail_nodes.replay_source import ReplaySource
from vmail_nodes.teleop_sources import ExpertSource, KeyboardSource, Source

MODES = ("expert", "keyboard", "gamepad", "leader", KINESTHETIC, "replay")
KEY_STEP = 0.08
REPLY_TIMEOUT_MS = 4.0


def make_source(
    mode: str,
    spec: RobotSpec,
    *,
    task: str = "",
    expert: str = "",
    leader: str = "",
    leader_port: str = "",
    take: str = "",
    key_step: float = KEY_STEP,
    reply_timeout_ms: float = REPLY_TIMEOUT_MS,
) -> Source:
    """The source of commands for a robot; the other arguments are the node's parameters, those of its mode count.

    Raises:
        ValueError, OSError: there is no such mode, or what it needs is missing or does not fit the robot.
    """
    if mode == "expert":
        return ExpertSource(spec, task, expert or task)
    if mode == "keyboard":
        return KeyboardSource(spec, key_step)
    if mode == "gamepad":
        return GamepadSource(spec, fingers_of(spec))
    if mode == "leader":
        return LeaderSource(spec, leader_port, *_calibrated(leader), reply_timeout_ms)
    if mode == KINESTHETIC:
        return KinestheticSource(spec)
    if mode == "replay":
        return ReplaySource(spec, take)
    raise ValueError(f"mode={mode!r}; choose one of {', '.join(MODES)}")


def _calibrated(leader: str) -> tuple[RobotSpec, Calibration | None]:
    """The leader with its zeros, and where they come from, if it was calibrated."""
    if not leader:
        raise ValueError("parameter leader is empty: give the leader's robot file, leader:=my_leader.yaml")
    spec = load_robot(leader)
    try:
        calibration = find_calibration(spec, "auto")
        return spec if calibration is None else calibration.apply(spec), calibration
    except CalibrationError as error:
        raise ValueError(f"leader: {error}") from error
