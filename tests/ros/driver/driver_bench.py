"""What the driver's tests ask of the emulated servos and of the driver."""

from __future__ import annotations

import threading
import time

import numpy as np
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_harness import Collected, Ros
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.messages import command_message
from vmail_nodes.qos import COMMANDS

SPEC = load_robot("dclaw")
TICK = 2 * np.pi / 4096


class Commander:
    """Publishes desired positions at 10 Hz, stamped now, until stopped."""

    def __init__(self, ros: Ros, positions: np.ndarray, name: str = "") -> None:
        """Begins once the driver listens."""
        self.positions, self._name = positions, name
        self._publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SPEC.control_period):
            self._publisher.publish(command_message(SPEC.joint_names, self.positions, time.time_ns(), self._name))

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._thread.join()


def is_active(ros: Ros) -> bool:
    return ros.call(GetState, "dynamixel_driver/get_state").current_state.id == State.PRIMARY_STATE_ACTIVE


def torque(bus: EmulatedBus) -> list[int]:
    return [bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids]


def goals(bus: EmulatedBus) -> np.ndarray:
    ticks = np.array([bus.servo(servo_id).get("goal_position") for servo_id in SPEC.servo_ids])
    return (ticks * TICK - SPEC.zero_rad) * SPEC.direction


def wait_ticks(states: Collected, count: int) -> list[JointState]:
    """Let the driver read so often; what it wrote before that has reached the servos."""
    states.clear()
    return states.wait_stamped(time.time_ns(), count)


def change_state(ros: Ros, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return ros.call(ChangeState, "dynamixel_driver/change_state", request).success
