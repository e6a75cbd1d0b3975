"""Conducts episodes through ROS: puts the twin in a start, starts who commands, and listens until it is done.

Run it beside a graph with the twin, after the environment has been set (`running_graph.running` does).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vmail.demo.trial import Trial
from vmail.ros_client import RosClient, ServiceRefused
from vmail_core.robot import RobotSpec
from vmail_nodes.diagnostics import reason_of
from vmail_nodes.messages import (
    NS_PER_S,
    latency_ns,
    ns_from_time,
    positions_from_joint_state,
    velocities_from_joint_state,
)
from vmail_nodes.qos import COMMANDS_SENT, SENSOR_RECORDER
from vmail_sim.dclaw.model import VALVE_JOINT

READY_TIMEOUT_S = 90.0
START_TIMEOUT_S = 40.0  # the policy runner itself waits 30 s for its inputs
DISCOVERY_S = 1.0
SETTLE_S = 0.5
# After a commander stops, the driver takes up to 0.35 s to begin its hold; a new start waits for that.
PAUSE_S = 0.45
# A frame or command that is lost costs a policy a tick; it is counted. More of them are no episode.
MAX_LOST = 3
FINISHED = {"policy_runner": "finished", "teleop": "idle"}
DRIVER_READY = ("no_command_yet", "command_too_old", "ok")


class TrialBroken(RuntimeError):
    """An episode did not come to its end: the message says why. Another attempt may succeed."""


class Conductor(RosClient):
    """A node that conducts."""

    def __init__(self, robot: RobotSpec, commander: str, check: Callable[[], None]) -> None:
        """Join ROS.

        Args:
            robot: whose joints the twin's state holds.
            commander: "policy_runner" or "teleop".
            check: called while waiting; raises when the graph is broken.
        """
        super().__init__("conductor", check)
        self._robot, self.commander = robot, commander
        self._names = [*robot.joint_names, VALVE_JOINT]
        self._ran = False  # the commander has reported "running" since the last start
        self._heard_joints = False
        self._states: dict[int, JointState] = {}
        self._sent: dict[int, float] = {}  # stamp to latency in ms
        subscribe = self.node.create_subscription
        subscribe(JointState, "twin/state", self._on_state, SENSOR_RECORDER)
        subscribe(JointState, "joint_states", self._on_joints, SENSOR_RECORDER)
        subscribe(JointTrajectory, "joint_commands_sent", self._on_sent, COMMANDS_SENT)

    def wait_ready(self) -> None:
        """Wait until twin, driver and commander run and hear each other.

        Raises:
            TimeoutError: something did not come up; the message names it.
        """
        self.wait(lambda: not self._missing(), READY_TIMEOUT_S, lambda: f"still missing: {', '.join(self._missing())}")
        self.spin(DISCOVERY_S)

    def _missing(self) -> list[str]:
        driver = self.status.get("dynamixel_driver")
        present = {
            "the twin": bool(self._states),
            "joint states": self._heard_joints,
            "the camera": self.node.count_publishers("camera/image_raw") > 0,
            "the driver": driver is not None and reason_of(driver) in DRIVER_READY,
            f"the {self.commander}": self.commander in self.status,
            "commands": self.node.count_publishers("joint_commands") > 0,
        }
        return [name for name, there in present.items() if not there]

    def run_trial(self, seed: int, steps: int) -> Trial:
        """One episode of so many commands from the start that belongs to `seed`.

        Raises:
            TrialBroken: it did not come to its end; the message says why.
        """
        self.place(seed)
        self.start_commander()
        self.wait_finished(steps)
        return self._trial(seed, steps)

    def place(self, seed: int) -> None:
        """Put the twin in a start and let it settle."""
        self.spin(PAUSE_S)
        try:
            self.set_parameter("twin", "next_seed", seed)
        except ServiceRefused as error:
            raise TrialBroken(str(error)) from error
        self.trigger("twin/reset")
        self.spin(SETTLE_S)

    def start_commander(self) -> None:
        """Forget what was heard so far and start the commander."""
        self._states.clear()
        self._sent.clear()
        self._ran = False
        self.status.pop(self.commander, None)
        self.trigger(f"{self.commander}/start")

    def wait_finished(self, steps: int) -> None:
        """Wait until the commander has given `steps` commands and the frame after the last one has come."""
        self._wait_trial(lambda: self._ran, START_TIMEOUT_S, "did not begin")
        seconds = steps * self._robot.control_period
        self._wait_trial(lambda: self._reason() == FINISHED[self.commander], 1.5 * seconds + 5.0, "did not finish")
        self.spin(2.0 * self._robot.control_period)  # the driver's last message and the frame after it are on their way
        self._wait_trial(self._has_last_frame, 2.0, "has no frame after its last command")

    def _wait_trial(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        def checked() -> bool:
            status = self.status.get(self.commander)
            if status is not None and status.level == DiagnosticStatus.ERROR:
                raise TrialBroken(f"{self.commander}: {status.message}{self._driver_says()}")
            return condition()

        try:
            self.wait(checked, seconds, lambda: f"{self.commander} {what}")
        except TimeoutError as error:
            raise TrialBroken(f"{error}{self._driver_says()}") from error

    def _has_last_frame(self) -> bool:
        # Three quarters of a period, as the recorder has it: a frame may come a little early.
        due = max(self._sent, default=0) + round(0.75 * self._robot.control_period * NS_PER_S)
        return bool(self._sent) and max(self._states, default=0) >= due

    def _trial(self, seed: int, steps: int) -> Trial:
        # A runner that began anew while nodes were still finding each other has sent more than it counts.
        sent = sorted(self._sent)[-steps:]
        end = sent[0] + round((steps + 0.5) * self._robot.control_period * NS_PER_S)
        stamps = sorted(stamp for stamp in self._states if sent[0] <= stamp <= end)
        lost = 2 * steps + 1 - len(sent) - len(stamps)
        if lost > MAX_LOST:
            raise TrialBroken(
                f"{len(sent)} of {steps} commands were sent, and {len(stamps)} of {steps + 1} frames came: the machine"
                " could not keep up"
            )
        messages = [self._states[stamp] for stamp in stamps]
        position = np.stack([positions_from_joint_state(message, self._names) for message in messages])
        velocity = np.stack([velocities_from_joint_state(message, self._names) for message in messages])
        return Trial(
            seed=seed,
            time=(np.array(stamps) - stamps[0]) / NS_PER_S,
            joints=position[:, :-1],
            joint_velocities=velocity[:, :-1],
            valve=position[:, -1],
            valve_velocity=velocity[:, -1],
            latency_ms=np.array([self._sent[stamp] for stamp in sent]),
            missed=sum(sent[0] <= stamp <= sent[-1] and stamp not in self._sent for stamp in self._states),
        )

    def trigger(self, service: str) -> str:
        """Call a Trigger service; returns what it says. Raises TrialBroken when it refuses."""
        try:
            return super().trigger(service)
        except ServiceRefused as error:
            raise TrialBroken(str(error)) from error

    def hear(self, status: DiagnosticStatus, stamp_ns: int) -> None:
        """Notice that the commander runs."""
        if status.name == self.commander and reason_of(status) == "running":
            self._ran = True

    def _reason(self) -> str:
        status = self.status.get(self.commander)
        return reason_of(status) if status is not None else ""

    def _driver_says(self) -> str:
        status = self.status.get("dynamixel_driver")
        return f" (driver: {status.message})" if status is not None else ""

    def _on_state(self, message: JointState) -> None:
        self._states[ns_from_time(message.header.stamp)] = message

    def _on_joints(self, message: JointState) -> None:
        self._heard_joints = True

    def _on_sent(self, message: JointTrajectory) -> None:
        self._sent[ns_from_time(message.header.stamp)] = latency_ns(message) * 1e-6
