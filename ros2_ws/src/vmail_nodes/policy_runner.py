"""Node `policy_runner`: a bundle in, joint commands out.

Subscribes: `camera/image_raw`, `joint_states`, `joint_commands_sent`, `/diagnostics` (of driver and teleop).
Publishes: `joint_commands`, one point at each tick, stamped with the picture that it was computed from.
Serves: `~/start` and `~/stop` (Trigger). A start empties the policy's memory and begins a run, as an episode begins.
It is refused while teleop commands: of two commanders at once, the guard would hold the hand; and while the driver
holds until it is reset.

What a policy observes is one row of the alignment that `vmail import` uses too: a picture, the joint positions at it,
and the action that led to it. A policy that was trained without proprioception leaves the joint positions aside.

The runner never commands from an old, frozen or missing input: it stops, names the reason on /diagnostics, and waits
for the next `~/start`; the driver then holds. Where the driver holds by itself, the run ends with the driver's reason:
at once for an emergency stop and whatever else needs a reset, so that nothing moves when that comes. A bundle that is
damaged or made for another robot is refused.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.deploy.bundle import load_bundle
from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.episodes.alignment import LiveAlignment, Row
from vmail_core.robot import load_robot
from vmail_nodes import diagnostics
from vmail_nodes.driver_status import DriverStatus
from vmail_nodes.lifecycle import REALTIME_PRIORITY, ManagedNode, NodeError, run
from vmail_nodes.messages import (
    NS_PER_S,
    POLICY,
    array_from_image,
    command_message,
    ns_from_time,
    positions_from_command,
    positions_from_joint_state,
    reach_ns,
)
from vmail_nodes.policy_watch import Limits, PolicyWatch, Trouble
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, DIAGNOSTICS, SENSOR_SUBSCRIBER
from vmail_nodes.teleop_status import TeleopStatus

WATCH_PERIOD_S = 0.02
# Inputs of a graph that is up are there within this: what is still missing then is worth a warning.
PROMPT_S = 2.0
# After a run's first command the driver may still be discovering this node; from then on silence means trouble.
DISCOVERY_S = 3.0


class PolicyRunner(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("policy_runner", REALTIME_PRIORITY)
        self._diagnostics = diagnostics.Diagnostics(self)
        self._publisher = self.create_publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._driver = DriverStatus(self.resolve_topic_name("dynamixel_driver"))
        self._teleop = TeleopStatus(self.resolve_topic_name("teleop"))
        self._endpoints: list[Any] = []
        self._state = "idle"  # idle, waiting (for inputs) or running

    def configure(self) -> None:
        """Check bundle and robot, and open the policy."""
        folder = self.parameter("bundle", "", "Folder that `vmail export` wrote.")
        robot = self.parameter("robot", "dclaw", "Name of a robot, or path to its YAML file.")
        providers = self.parameter("providers", ["CPUExecutionProvider"], "ONNX Runtime execution providers.")
        self._start_at_once = self.parameter("start_on_activate", False, "Begin a run at once, without being called.")
        self._start_timeout_s = self.parameter(
            "start_timeout_s", 30.0, "How long a run waits for camera, joint states and driver.", 0.1, 600.0
        )
        self._max_steps = self.parameter("max_steps", 0, "Commands of a run; 0 is no end.", 0, 10**9)
        self._max_unsent = self.parameter(
            "max_unsent_commands", 3, "Stop when the driver did not send so many commands in a row.", 1, 1000
        )
        self._confirmed = self.parameter(
            "confirm_commands",
            True,
            "The driver tells what it sent. False for other controllers, as ros2_control's: what is asked for then "
            "counts as sent, and nothing of vmail guards the hand.",
        )
        self._watch = PolicyWatch(self._read_limits())
        if not folder:
            raise NodeError("parameter bundle is empty: give the folder that `vmail export` wrote")
        self._robot = load_robot(robot)
        bundle = load_bundle(folder)
        bundle.require_robot(self._robot)
        self._runtime = PolicyRuntime(bundle, providers)
        self._size = (bundle.sizes.image, bundle.sizes.image)
        self._warm_up()
        self._begin_run()
        observes = "pictures and joint positions" if bundle.sizes.joints else "pictures"
        detail = f"{self.how_to_call('~/start')} begins a run"
        self._diagnostics.report(diagnostics.OK, "idle", detail, bundle=bundle.digest[:12], observes=observes)

    def activate(self) -> None:
        """Listen, offer the services, and begin a run if so asked."""
        self._endpoints = [
            self.create_subscription(JointState, "joint_states", self._on_joint_states, SENSOR_SUBSCRIBER),
            self.create_subscription(Image, "camera/image_raw", self._on_image, SENSOR_SUBSCRIBER),
            self.create_service(Trigger, "~/start", self._on_start),
            self.create_service(Trigger, "~/stop", self._on_stop),
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS),
            self.create_timer(WATCH_PERIOD_S, self._on_watch),
        ]
        if self._confirmed:
            sent = self.create_subscription(JointTrajectory, "joint_commands_sent", self._on_sent, COMMANDS_SENT)
            self._endpoints = [sent, *self._endpoints]
        if self._start_at_once:
            self._start()

    def deactivate(self) -> None:
        """Command and listen no more."""
        if self._state != "idle":
            self._stop(diagnostics.WARN, "stopped", "deactivated")
        self.destroy_endpoints(self._endpoints)

    def _read_limits(self) -> Limits:
        return Limits(
            image_age_s=self.parameter("max_image_age_s", 0.35, "Stop when the newest picture is older.", 0.02, 10.0),
            joint_states_age_s=self.parameter("max_joint_states_age_s", 0.35, "The same of joint states.", 0.02, 10.0),
            freeze_frames=self.parameter("freeze_frames", 2, "Identical pictures that are a freeze, if ...", 2, 1000),
            freeze_travel_rad=self.parameter("freeze_travel_rad", 0.02, "... a joint moved so far.", 0.0, 10.0),
            contrast=self.parameter(
                "min_contrast", 8, "Stop at a picture of less grey levels than that; 0 never.", 0, 255
            ),
        )

    def _warm_up(self) -> None:
        """The first steps of an ONNX session are slow: take them before they count."""
        picture, action = np.zeros((*self._size, 3), np.uint8), np.zeros(self._robot.action_size, np.float32)
        joints = self._robot.rest.astype(np.float32)
        try:
            for _ in range(5):
                self._runtime.step(picture, action, joints)
        except FloatingPointError as error:
            raise NodeError(f"{self._runtime.bundle.path}: {error}; export it again from a healthy run") from error

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        mode = self._teleop.commander(time.monotonic())
        if mode:
            hand_over, stop = self.how_to_call("teleop/hand_over"), self.how_to_call("teleop/stop")
            response.success = False
            response.message = f"{mode} commands: hand over with its key p, or {hand_over}; or {stop}, then start"
            return response
        if latched := self._latched():
            response.success, response.message = False, latched.detail
            return response
        self._start()
        response.success, response.message = True, "a run begins at the next picture"
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = f"stopped after {self._steps} commands" if self._state != "idle" else "was not running"
        self._stop(diagnostics.OK, "stopped", "as asked for")
        return response

    def _start(self) -> None:
        self._begin_run()
        self._watch.begin(self._now_ns())
        # How long was waited is told by a steady clock: a simulated one jumps from 0 when its first message comes.
        self._started_ns, self._started = self._now_ns(), time.monotonic()
        self._state = "waiting"
        self._diagnostics.report(diagnostics.OK, "waiting", "for camera, joint states and driver", steps=0)

    def _stop(self, level: bytes, reason: str, detail: str) -> None:
        self._state = "idle"
        self._diagnostics.report(level, reason, detail, steps=self._steps)

    def _begin_run(self) -> None:
        """A new run remembers nothing of the last one: neither pictures nor commands."""
        self._alignment = LiveAlignment(self._robot, self._size)
        self._steps = self._unsent = 0
        self._commanded_ns = self._sent_ns = self._started_ns = 0
        self._slowest_ms = 0.0

    def _on_joint_states(self, message: JointState) -> None:
        stamp_ns = ns_from_time(message.header.stamp)
        self._watch.on_joint_states(stamp_ns)
        try:
            self._alignment.on_joint_states(stamp_ns, positions_from_joint_state(message, self._robot.joint_names))
        except ValueError as error:
            self._refuse("joint_states_invalid", error)

    def _on_sent(self, message: JointTrajectory) -> None:
        stamp_ns = ns_from_time(message.header.stamp)
        try:
            self._note_sent(stamp_ns, positions_from_command(message, self._robot.joint_names))
        except ValueError as error:
            self._refuse("sent_command_invalid", error)

    def _note_sent(self, stamp_ns: int, positions: np.ndarray) -> None:
        self._alignment.on_sent(stamp_ns, positions)
        self._sent_ns = max(stamp_ns, self._sent_ns)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._teleop.hear(message, time.monotonic())
        latched = self._latched() if self._driver.hear(message) else None
        if self._state != "idle" and latched is not None:
            self._stop(diagnostics.ERROR, *latched)

    def _latched(self) -> Trouble | None:
        """What the driver holds for until it is reset, with what to type; None while it does not."""
        cause = self._driver.trouble if self._driver.latched else None
        if cause is None:
            return None
        go_on = self.how_to_call("dynamixel_driver/reset_guard", "~/start")
        return Trouble(cause.reason, f"{cause.detail}; to go on, {go_on}")

    def _on_image(self, message: Image) -> None:
        stamp_ns = ns_from_time(message.header.stamp)
        self._watch.on_image(stamp_ns)
        ready = stamp_ns > self._started_ns and not self._driver.latched and not self._missing()
        if self._state == "waiting" and ready:
            self._state, self._begun_ns = "running", self._now_ns()
            self._diagnostics.report(diagnostics.OK, "running")
        if self._state != "running" or not self._inputs_are_good():
            return
        try:
            row = self._alignment.on_image(stamp_ns, array_from_image(message))
        except ValueError as error:
            self._refuse("image_invalid", error)
            return
        unpaired = self._watch.unpaired(stamp_ns, self._alignment.unpaired_since_ns)
        if unpaired is not None:
            self._stop(diagnostics.ERROR, *unpaired)
        elif row is not None:
            self._tick(row)

    def _tick(self, row: Row) -> None:
        """One control period: picture, joint positions and last action in, a command out."""
        if row.first:
            if not self._may_begin(row):
                return
            self._runtime.reset()
            self._watch.forget_picture()
        else:
            self._unsent = 0
        trouble = self._watch.unseen(row.image) or self._watch.frozen(row.image, row.joint_positions)
        if trouble is not None:
            self._stop(diagnostics.ERROR, *trouble)
            return
        began = time.perf_counter()
        try:
            action = self._runtime.step(row.image, row.action, row.joint_positions)
        except FloatingPointError as error:
            self._stop(diagnostics.ERROR, "action_not_finite", f"{error}; export the bundle again from a healthy run")
            return
        self._slowest_ms = max(self._slowest_ms, 1e3 * (time.perf_counter() - began))
        self._command(row.stamp_ns, self._robot.desired_positions(action))

    def _command(self, stamp_ns: int, positions: np.ndarray) -> None:
        self._alignment.on_request(stamp_ns, positions)
        reach = reach_ns(self._robot.control_period, self._now_ns() - stamp_ns)
        self._publisher.publish(command_message(self._robot.joint_names, positions, stamp_ns, POLICY, reach))
        if not self._confirmed:
            self._note_sent(stamp_ns, positions)
        self._commanded_ns = stamp_ns
        self._steps += 1
        self._diagnostics.set_values(
            steps=self._steps,
            slowest_step_ms=round(self._slowest_ms, 2),
            command_age_ms=round((self._now_ns() - stamp_ns) * 1e-6, 2),
            **{name.replace(" ", "_"): count for name, count in self._alignment.counts.items()},
        )
        if self._max_steps and self._steps >= self._max_steps:
            self._stop(diagnostics.OK, "finished", f"after {self._steps} commands")

    def _may_begin(self, row: Row) -> bool:
        """Whether a row that does not continue the last one may begin anew; stops the run when it may not."""
        unsent = self._sent_ns < self._commanded_ns
        self._unsent = self._unsent + 1 if unsent else 0
        if unsent and self._sent_ns == 0 and self._now_ns() - self._begun_ns < DISCOVERY_S * NS_PER_S:
            self._steps = 0
        elif self._unsent >= self._max_unsent:
            unexplained = f"the driver did not send the last {self._unsent} commands; see its diagnostics"
            cause = self._driver.trouble or Trouble("previous_command_missing", unexplained)
            self._stop(diagnostics.ERROR, *cause)
            return False
        elif self._steps:
            self.get_logger().warning(f"the policy begins anew: {row.reason}")
        return True

    def _on_watch(self) -> None:
        """Judge the inputs also when none comes."""
        if self._state == "running":
            self._inputs_are_good()
        elif self._state == "waiting":
            self._judge_waiting(time.monotonic() - self._started)

    def _judge_waiting(self, waited_s: float) -> None:
        """At first that is how a run begins; then a reason to look; in the end an error."""
        missing = ", ".join(self._missing()) or "a picture taken after the start"
        if waited_s > self._start_timeout_s:
            self._stop(diagnostics.ERROR, "inputs_missing", f"waited {self._start_timeout_s} s for {missing}")
        elif waited_s > PROMPT_S:
            self._diagnostics.report(diagnostics.WARN, "waiting", f"still, for {missing}")

    def _inputs_are_good(self) -> bool:
        trouble = self._watch.trouble(self._now_ns())
        if trouble is not None:
            self._stop(diagnostics.ERROR, *trouble)
        return trouble is None

    def _missing(self) -> list[str]:
        """Inputs and listeners that a run still waits for."""
        missing = self._watch.missing(self._now_ns())
        unconfirmed = self._confirmed and self.count_publishers("joint_commands_sent") == 0
        if self._publisher.get_subscription_count() == 0 or unconfirmed:
            missing.append("the driver")
        return missing

    def _refuse(self, reason: str, error: ValueError) -> None:
        """A message that makes no sense ends a run; between runs it is of no concern."""
        if self._state != "idle":
            self._stop(diagnostics.ERROR, reason, str(error))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds


def main() -> int:
    """Run the node; returns the exit code."""
    return run(PolicyRunner)


if __name__ == "__main__":
    sys.exit(main())
