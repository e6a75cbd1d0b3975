"""Conducts episodes through ROS: puts the twin in a start, starts who commands, and listens until it is done.

Run it beside a graph with the twin, after the environment has been set (`running_graph.running` does).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail.demo.trial import Trial
from vmail_core.robot import RobotSpec
from vmail_nodes.diagnostics import reason_of
from vmail_nodes.messages import (
    NS_PER_S,
    latency_ns,
    ns_from_time,
    positions_from_joint_state,
    velocities_from_joint_state,
)
from vmail_nodes.qos import COMMANDS_SENT, DIAGNOSTICS, SENSOR_RECORDER
from vmail_sim.dclaw.model import VALVE_JOINT

READY_TIMEOUT_S = 90.0
CALL_TIMEOUT_S = 10.0
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


class Conductor:
    """A node that conducts. Use it as a context manager."""

    def __init__(self, robot: RobotSpec, commander: str, check: Callable[[], None]) -> None:
        """Join ROS.

        Args:
            robot: whose joints the twin's state holds.
            commander: "policy_runner" or "teleop".
            check: called while waiting; raises when the graph is broken.
        """
        self._robot, self.commander, self._check = robot, commander, check
        self._names = [*robot.joint_names, VALVE_JOINT]
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("conductor", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._status: dict[str, DiagnosticStatus] = {}
        self._ran = False  # the commander has reported "running" since the last start
        self._heard_joints = False
        self._states: dict[int, JointState] = {}
        self._sent: dict[int, float] = {}  # stamp to latency in ms
        subscribe = self.node.create_subscription
        subscribe(JointState, "twin/state", self._on_state, SENSOR_RECORDER)
        subscribe(JointState, "joint_states", self._on_joints, SENSOR_RECORDER)
        subscribe(JointTrajectory, "joint_commands_sent", self._on_sent, COMMANDS_SENT)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)

    def __enter__(self) -> Conductor:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave ROS."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait_ready(self) -> None:
        """Wait until twin, driver and commander run and hear each other.

        Raises:
            TimeoutError: something did not come up; the message names it.
        """
        self.wait(lambda: not self._missing(), READY_TIMEOUT_S, lambda: f"still missing: {', '.join(self._missing())}")
        self.spin(DISCOVERY_S)

    def _missing(self) -> list[str]:
        driver = self._status.get("dynamixel_driver")
        present = {
            "the twin": bool(self._states),
            "joint states": self._heard_joints,
            "the camera": self.node.count_publishers("camera/image_raw") > 0,
            "the driver": driver is not None and reason_of(driver) in DRIVER_READY,
            f"the {self.commander}": self.commander in self._status,
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
        request = SetParameters.Request(parameters=[Parameter("next_seed", value=seed).to_parameter_msg()])
        (result,) = self._call(SetParameters, "twin/set_parameters", request).results
        if not result.successful:
            raise TrialBroken(f"the twin refused seed {seed}: {result.reason}")
        self.trigger("twin/reset")
        self.spin(SETTLE_S)

    def start_commander(self) -> None:
        """Forget what was heard so far and start the commander."""
        self._states.clear()
        self._sent.clear()
        self._ran = False
        self._status.pop(self.commander, None)
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
            status = self._status.get(self.commander)
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
        answer = self._call(Trigger, service, Trigger.Request())
        if not answer.success:
            raise TrialBroken(f"{service}: {answer.message}")
        return answer.message

    def _call(self, kind: type, service: str, request: Any) -> Any:
        client: Any = self.node.create_client(kind, service)
        try:
            self.wait(client.service_is_ready, CALL_TIMEOUT_S, lambda: f"service {service} did not appear")
            future = client.call_async(request)
            self.wait(future.done, CALL_TIMEOUT_S, lambda: f"service {service} did not answer")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def wait(self, condition: Callable[[], bool], seconds: float, trouble: Callable[[], str]) -> None:
        """Listen until the condition holds. Raises TimeoutError with what `trouble` says."""
        deadline = time.monotonic() + seconds
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{trouble()} within {seconds:.0f} s")
            self._executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            self._check()
            self._executor.spin_once(timeout_sec=min(left, 0.05))

    def _reason(self) -> str:
        status = self._status.get(self.commander)
        return reason_of(status) if status is not None else ""

    def _driver_says(self) -> str:
        status = self._status.get("dynamixel_driver")
        return f" (driver: {status.message})" if status is not None else ""

    def _on_state(self, message: JointState) -> None:
        self._states[ns_from_time(message.header.stamp)] = message

    def _on_joints(self, message: JointState) -> None:
        self._heard_joints = True

    def _on_sent(self, message: JointTrajectory) -> None:
        self._sent[ns_from_time(message.header.stamp)] = latency_ns(message) * 1e-6

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._status[status.name] = status
            if status.name == self.commander and reason_of(status) == "running":
                self._ran = True
