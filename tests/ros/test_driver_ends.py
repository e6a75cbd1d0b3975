"""What is asked of dynamixel_driver while it lets the hand go."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from driver_process import start_driver
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_harness import NodeProcess, Ros, until
from std_srvs.srv import SetBool

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus

SPEC = load_robot("dclaw")


def test_torque_that_is_asked_for_while_the_driver_is_deactivated_stays_off(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    with EmulatedBus(tmp_path / "servos", SPEC) as bus:
        driver = start_driver(start_node, {"port": str(bus.path), "reply_timeout_ms": 60.0, "release_s": 2.0})
        servo = bus.servo(10)
        change = ros.node.create_client(ChangeState, "dynamixel_driver/change_state")
        torque = ros.node.create_client(SetBool, "dynamixel_driver/torque")
        until(lambda: change.service_is_ready() and torque.service_is_ready(), "the driver's services appear")
        ros.meet("dynamixel_driver")
        left = change.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE)))
        until(lambda: servo.get("goal_pwm") < servo.get("pwm_limit"), "it lets go")
        torque.call_async(SetBool.Request(data=True))
        until(left.done, "it is deactivated")
        assert left.result().success
        time.sleep(1.0)  # what it still hears of the question, it has heard
        assert [bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids] == [0] * SPEC.action_size
        assert driver.process.poll() is None, driver.output
        ros.node.destroy_client(change)
        ros.node.destroy_client(torque)
