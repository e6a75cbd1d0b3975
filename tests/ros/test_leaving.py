"""A node that ROS does not let go: it ends all the same, and its devices are safe before."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver_process import QUICK
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_harness import START_TIMEOUT_S, Ros, until
from std_srvs.srv import Trigger

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus
from vmail_hardware.emulator.servo import EmulatedServo

ROBOT = load_robot("dclaw")
# As Fast DDS does it: for good, and with Python's lock held.
DRIVER = """
import ctypes, sys
from vmail_nodes import dynamixel_driver, leaving
leaving.LEAVE_S = 1.0
dynamixel_driver.DynamixelDriver.{method} = lambda *_: ctypes.PyDLL(None).sleep(600)
sys.exit(dynamixel_driver.main())
"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmulatedBus]:
    with EmulatedBus(tmp_path / "bus", ROBOT) as emulated:
        yield emulated


def servos(bus: EmulatedBus) -> list[EmulatedServo]:
    return [bus.servo(servo_id) for servo_id in ROBOT.servo_ids]


@contextlib.contextmanager
def driver(bus: EmulatedBus, folder: Path, method: str, **parameters: Any) -> Iterator[subprocess.Popen]:
    """A driver whose `method` never returns, as a process that does not outlive the block."""
    script = folder / "driver.py"
    script.write_text(DRIVER.format(method=method))
    given = {"port": bus.path, "reply_timeout_ms": 100.0, **QUICK, **parameters}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, str(script), "--ros-args", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stopped(driver: subprocess.Popen) -> str:
    """What it says until it has ended."""
    driver.send_signal(signal.SIGINT)
    return driver.communicate(timeout=START_TIMEOUT_S)[0]


def wait_active(driver: subprocess.Popen, bus: EmulatedBus, ros: Ros) -> None:
    until(lambda: holding(servos(bus)) == 9 or driver.poll() is not None, "torque is on")
    assert driver.poll() is None, driver.stdout.read()
    ros.wait_reason("dynamixel_driver", "no_command_yet")


@pytest.mark.parametrize("method", ["destroy_timer", "destroy_subscription", "destroy_node"])
def test_a_driver_that_ros_does_not_let_go_has_let_the_hand_go_and_ends(
    ros: Ros, bus: EmulatedBus, tmp_path: Path, method: str
) -> None:
    with driver(bus, tmp_path, method) as process:
        wait_active(process, bus, ros)
        output = stopped(process)
    assert process.returncode == -signal.SIGALRM, output
    assert "torque off" in output and not holding(servos(bus))


def test_while_torque_may_be_on_a_driver_tries_again_before_it_leaves_ros(
    ros: Ros, bus: EmulatedBus, tmp_path: Path
) -> None:
    with driver(bus, tmp_path, "destroy_timer") as process:
        wait_active(process, bus, ros)
        bus.faults.unplugged = True
        output = stopped(process)
    assert output.count("torque may still be on") >= 2, output
    assert process.returncode == -signal.SIGALRM and holding(servos(bus)) == 9


def test_a_driver_that_is_not_active_yet_knows_that_servos_hold(ros: Ros, bus: EmulatedBus, tmp_path: Path) -> None:
    for servo in servos(bus):
        servo.set("torque_enable", 1)  # a driver before was killed
    with driver(bus, tmp_path, "nothing", autostart="false"):
        configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        assert ros.call(ChangeState, "dynamixel_driver/change_state", configure).success
        answer = ros.call(Trigger, "dynamixel_driver/estop")
        assert not answer.success and "torque may still be on" in answer.message
        clean_up = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CLEANUP))
        assert ros.call(ChangeState, "dynamixel_driver/change_state", clean_up).success
        assert not holding(servos(bus)) and ros.call(Trigger, "dynamixel_driver/estop").success


def holding(servos: list[EmulatedServo]) -> int:
    """How many have their torque on."""
    return sum(servo.get("torque_enable") for servo in servos)
