"""A node that ROS does not let go: it ends all the same, and its devices are safe before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from driver_process import QUICK
from ros_harness import START_TIMEOUT_S, Ros, until

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus
from vmail_hardware.emulator.servo import EmulatedServo

LEAVE_S = 1.0
# As Fast DDS does it: for good, and with Python's lock held.
DRIVER = f"""
import ctypes, sys
from vmail_nodes import dynamixel_driver, leaving
leaving.LEAVE_S = {LEAVE_S}
dynamixel_driver.DynamixelDriver.{{method}} = lambda *_: ctypes.PyDLL(None).sleep(600)
sys.exit(dynamixel_driver.main())
"""


@pytest.mark.parametrize("method", ["destroy_timer", "destroy_subscription", "destroy_node"])
def test_a_driver_that_ros_does_not_let_go_has_let_the_hand_go_and_ends(ros: Ros, tmp_path: Path, method: str) -> None:
    robot, script = load_robot("dclaw"), tmp_path / "driver.py"
    script.write_text(DRIVER.format(method=method))
    with EmulatedBus(tmp_path / "bus", robot) as bus:
        given = {"port": bus.path, "reply_timeout_ms": 100.0, **QUICK}
        words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
        command = [sys.executable, str(script), "--ros-args", *words]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            servos = [bus.servo(servo_id) for servo_id in robot.servo_ids]
            until(lambda: holding(servos) == 9 or driver.poll() is not None, "torque is on")
            assert driver.poll() is None, driver.stdout.read()
            ros.wait_reason("dynamixel_driver", "no_command_yet")
            driver.send_signal(signal.SIGINT)
            asked = time.monotonic()
            output, _ = driver.communicate(timeout=START_TIMEOUT_S)
        finally:
            driver.kill()
            driver.wait()
        assert driver.returncode == -signal.SIGALRM, output
        assert time.monotonic() - asked >= LEAVE_S
        assert "torque off" in output and not holding(servos)


def holding(servos: list[EmulatedServo]) -> int:
    """How many have their torque on."""
    return sum(servo.get("torque_enable") for servo in servos)
