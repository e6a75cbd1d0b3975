"""Notes of takes, from messages as they arrive at the recorder."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo

from vmail_core.robot import load_robot
from vmail_nodes.messages import time_from_ns
from vmail_nodes.take_notes import TakeNotes, camera_info_digest

ROBOT = load_robot("dclaw")


def news(name: str, reason: str, **values: str) -> bytes:
    pairs = [KeyValue(key=key, value=value) for key, value in {"reason": reason, **values}.items()]
    return serialize_message(DiagnosticArray(status=[DiagnosticStatus(name=name, values=pairs)]))


def lens(focal: float, stamp_ns: int = 0) -> bytes:
    info = CameraInfo(height=48, width=64, distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0])
    info.k[0], info.header.stamp = focal, time_from_ns(stamp_ns)
    return serialize_message(info)


def test_who_commands_during_a_take_is_noted_and_who_only_waits_is_not() -> None:
    notes = TakeNotes("/", ROBOT, task="turn", operator="Ada", calibration_digest="")
    notes.hear_diagnostics(news("teleop", "idle", mode="gamepad"))
    notes.hear_diagnostics(news("policy_runner", "running", bundle="0123456789ab"))
    begun = notes.at_start("take_0001", simulated=False)
    assert begun["commander"] == "policy" and begun["bundle"] == "0123456789ab"
    assert begun.keys() & {"calibration_digest", "simulator_version", "camera_info_digest"} == set()
    assert {"take": "take_0001", "task": "turn", "operator": "Ada", "robot": "dclaw"}.items() <= begun.items()
    notes.hear_diagnostics(news("policy_runner", "stopped", bundle="0123456789ab"))
    notes.hear_diagnostics(news("teleop", "running", mode="gamepad"))
    assert notes.at_end()["commander"] == "policy and gamepad"
    later = notes.at_start("take_0002", simulated=True)
    assert later["commander"] == "gamepad" and "bundle" not in later
    assert later["simulator_version"].startswith("mujoco ")


def test_the_other_hand_is_not_heard() -> None:
    notes = TakeNotes("/left", ROBOT)
    assert not notes.hear_diagnostics(news("right/policy_runner", "running", bundle="ffff"))
    assert not notes.hear_diagnostics(news("policy_runner", "running", bundle="ffff"))
    assert not notes.hear_diagnostics(news("leftover/policy_runner", "running", bundle="ffff"))
    assert "commander" not in notes.at_start("take_0001", simulated=False)
    assert notes.hear_diagnostics(news("left/policy_runner", "running", bundle="aaaa"))
    assert notes.at_end()["bundle"] == "aaaa"
    alone = TakeNotes("/", ROBOT)
    assert alone.hear_diagnostics(news("left/policy_runner", "running", bundle="aaaa")), "recorded, but"
    assert "commander" not in alone.at_end()


def test_the_lens_is_told_from_others_whatever_the_time() -> None:
    assert camera_info_digest(lens(50.0, 1)) == camera_info_digest(lens(50.0, 2)) != camera_info_digest(lens(51.0, 1))
    assert camera_info_digest(serialize_message(CameraInfo(height=48, width=64))) == "", "not calibrated"
    notes = TakeNotes("/", ROBOT)
    notes.hear_camera_info(lens(50.0))
    assert notes.at_end() == {"camera_info_digest": camera_info_digest(lens(50.0))}
