"""Node `teleop`: commands from a trained expert (on the twin), keyboard, gamepad, leader hand, or a recorded take.

At the robot's control rate a camera frame gives a command, stamped with that frame's time, so that a recording pairs
them; frames between, of a faster camera, give none. In mode kinesthetic the hand is limp and led by hand.

Subscribes: `camera/image_raw`; mode expert: `twin/state`, the other modes: `joint_states`; modes keyboard and gamepad:
`joint_goals` too, gamepad `joy`; all of them `/diagnostics` (of the driver). Publishes: `joint_commands`.
While the driver holds until it is reset, nobody begins to command and keys move nothing, which is told with the reason;
an expert, a leader or a take that commands ends with it, so that nothing moves when the reset comes.
Serves: `~/start`, `~/stop`, `~/hand_over` (Trigger).
Calls: `dynamixel_driver/estop`, when the key or button for it is pressed, `dynamixel_driver/torque` (mode kinesthetic),
`policy_runner/start` and `/stop` to hand control over and to take it back, and, for the recorder's keys (mode
keyboard), `demo_recorder/next`, `/again` and `/end`. Keyboard and gamepad start by themselves, where the hand is.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState, Joy
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.episodes.ticker import Ticker
from vmail_core.robot import load_robot
from vmail_nodes import diagnostics
from vmail_nodes.driver_status import DriverStatus
from vmail_nodes.gamepad_source import GamepadSource
from vmail_nodes.handover import Handover
from vmail_nodes.joint_source import StayingSource
from vmail_nodes.keyboard import RECORDER_HELP
from vmail_nodes.lifecycle import ManagedNode, run
from vmail_nodes.messages import command_message, ns_from_time, reach_ns
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, DIAGNOSTICS, GOALS, SENSOR_SUBSCRIBER
from vmail_nodes.recorder_keys import RecorderKeys
from vmail_nodes.replay_source import ReplaySource
from vmail_nodes.teleop_modes import KEY_STEP, MODES, REPLY_TIMEOUT_MS, make_source
from vmail_nodes.teleop_sources import KeyboardSource

SILENCE_LIMIT_S = 0.5
DRIVER_WAIT_S = 2.0  # a driver that is there has told its status twice by then
ESTOP_ANSWER_S = 1.0  # a driver that is well answers within a tick
WATCH_PERIOD_S = 0.05  # also how often keys are read


class Teleop(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("teleop")
        self._diagnostics = diagnostics.Diagnostics(self)
        self._opened = contextlib.ExitStack()  # what `deactivate` has to give back
        self._endpoints: list[Any] = []
        self._commands = self.create_publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._estop: Client = self.create_client(Trigger, "dynamixel_driver/estop")
        self._estop_asked: float | None = None  # when, until the driver has answered
        self._driver = DriverStatus(self.resolve_topic_name("dynamixel_driver"))
        self._torque: Client = self.create_client(SetBool, "dynamixel_driver/torque")
        self._handover = Handover(self, self._take_over)
        self._recorder = RecorderKeys(self)
        self._running = False
        self._limp_since: float | None = None  # in mode kinesthetic, once the driver has let go
        self._begin_ns = 0
        self._seen_picture = self._seen_state = False
        self._obeyed: float | None = None
        self._steps = 0

    def configure(self) -> None:
        """Load the expert, or take over the terminal."""
        self._spec = load_robot(self.parameter("robot", "dclaw", "Name of a robot, or path to its YAML file."))
        self._mode = mode = self.parameter("mode", "expert", f"{', '.join(MODES)}.")
        leader_port = self.parameter("leader_port", "", "Serial port of the leader's servos (mode leader).")
        leader = self.parameter("leader", "", "The leader's robot file (mode leader).")
        reply = self.parameter(
            "reply_timeout_ms", REPLY_TIMEOUT_MS, "Wait for the leader's answer, as the driver's.", 1.0, 100.0
        )
        take = self.parameter("take", "", "Folder of the take to do again (mode replay).")
        task = self.parameter("task", "dclaw_valve3_ccw", "Task whose expert commands (mode expert).")
        expert = self.parameter("expert", "", "An expert's file; empty takes the one that ships for the task.")
        key_step = self.parameter(
            "key_step", KEY_STEP, "Travel of one key press, as a fraction of full scale.", 0.005, 1.0
        )
        self._max_steps = self.parameter(
            "max_steps", 0, "Commands to stop after; 0 never. Not of keys or pads.", 0, 10**6
        )
        self._start_at_once = self.parameter("start_on_activate", False, "Start at once, without being called.")
        self._patience_s = self.parameter(
            "start_timeout_s", 30.0, "How long camera and joint states may take to come for the first time.", 0.1, 600.0
        )
        self._source = make_source(
            mode,
            self._spec,
            task=task,
            expert=expert,
            leader=leader,
            leader_port=leader_port,
            take=take,
            key_step=key_step,
            reply_timeout_ms=reply,
        )

    def activate(self) -> None:
        """Listen to the camera and wait for `~/start`."""
        self._running = self._seen_picture = self._seen_state = False
        self._opened.callback(self._source.close)  # also where it opens only half
        self._source.open()
        self._endpoints = [
            self.create_subscription(Image, "camera/image_raw", self._on_image, SENSOR_SUBSCRIBER),
            self.create_subscription(self._source.message_type, self._source.topic, self._on_state, SENSOR_SUBSCRIBER),
            self.create_service(Trigger, "~/start", self._on_start),
            self.create_service(Trigger, "~/stop", self._on_stop),
            self.create_service(Trigger, "~/hand_over", self._on_hand_over),
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS),
            self.create_timer(WATCH_PERIOD_S, self._watch),
        ]
        sent = self.create_subscription(JointTrajectory, "joint_commands_sent", self._on_sent, COMMANDS_SENT)
        self._endpoints.append(sent)
        if isinstance(self._source, StayingSource):
            self._endpoints.append(self.create_subscription(JointState, "joint_goals", self._on_goals, GOALS))
        if isinstance(self._source, GamepadSource):
            self._endpoints.append(self.create_subscription(Joy, "joy", self._on_pad, SENSOR_SUBSCRIBER))
        self._diagnostics.set_values(mode=self._mode)
        if self._start_at_once or self._source.starts_by_itself:
            self._start()
        else:
            self._diagnostics.report(diagnostics.OK, "idle", f"{self.how_to_call('~/start')} begins")

    def deactivate(self) -> None:
        """Command no more; the driver then holds."""
        self._handover.cancel()
        if self._running:
            self._stop("deactivated")
        self._opened.close()
        self.destroy_endpoints(self._endpoints)

    def _on_image(self, message: Image) -> None:
        self._seen_picture = True
        if not self._running:
            return
        stamp_ns = ns_from_time(message.header.stamp)
        if stamp_ns > self._begin_ns:
            self._heard = time.monotonic()
            if self._ticker.offer(stamp_ns):
                self._source.add_frame(stamp_ns)
                self._command()

    def _on_state(self, message: Any) -> None:
        self._seen_state = True
        try:
            self._source.add_state(message)
        except ValueError as error:
            self.fail(f"{self._source.topic}: {error}")
            return
        if self._running:
            self._command()

    def _on_sent(self, message: JointTrajectory) -> None:
        if message.header.frame_id == self._mode:
            self._obeyed = time.monotonic()
            self._source.on_obeyed()
            limp_s = 0.0 if self._limp_since is None else self._obeyed - self._limp_since
            if limp_s > SILENCE_LIMIT_S and self._running:
                # Goals of where the joints are would let a hand with torque sink.
                self._stop("somebody switched torque on: the hand is limp no more", diagnostics.ERROR)
        else:
            self._handover.on_others()

    def _on_goals(self, message: JointState) -> None:
        assert isinstance(self._source, StayingSource)
        try:
            self._source.add_goals(message)
        except ValueError as error:
            self.fail(f"joint_goals: {error}")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """End a run that a reset would let go on from elsewhere: keys and pads stay where they are, others do not."""
        goes_on = self._source.limp or isinstance(self._source, StayingSource)
        if self._driver.hear(message) and self._running and self._driver.latched and not goes_on:
            self._running = False  # so that a new start is among what to type
            self._stop(self._held(), diagnostics.ERROR)

    def _held(self) -> str:
        """Why the driver obeys nobody until it is reset, and what to type; empty while it obeys, or has said nothing.

        An emergency stop counts from its key on: what the driver says of it comes a moment later.
        """
        if self._estop_asked is not None:
            return "the driver has not answered the emergency stop yet"
        cause = self._driver.trouble if self._driver.latched else None
        if cause is None:
            return ""
        reset = "dynamixel_driver/reset_guard"
        go_on = self.how_to_call(reset) if self._running else self.how_to_call(reset, "~/start")
        return f"{cause.detail}; to go on, {go_on}"

    def _on_pad(self, message: Joy) -> None:
        assert isinstance(self._source, GamepadSource)
        self._source.add_pad(message, time.monotonic())

    def _command(self) -> None:
        due = self._source.command()
        if self._source.finished:
            self._stop(self._source.finished + self._unheard())
        if due is None:
            return
        stamp_ns, positions = due
        reach = reach_ns(self._spec.control_period, self.get_clock().now().nanoseconds - stamp_ns)
        self._commands.publish(command_message(self._spec.joint_names, positions, stamp_ns, self._mode, reach))
        self._commanded = time.monotonic()
        self._steps += 1
        self._diagnostics.report(diagnostics.OK, "running", steps=self._steps)
        if self._steps == self._max_steps and not self._source.starts_by_itself:
            self._stop(f"done after {self._steps} steps")

    def _unheard(self) -> str:
        """Why nothing of what was commanded moved the hand; empty where the driver sent some of it."""
        if not self._steps or self._obeyed is not None:
            return ""
        cause = self._driver.trouble
        return f". The driver has sent none of the commands: {cause.detail if cause else 'see its diagnostics'}"

    def _watch(self) -> None:
        line, held = self._source.poll(), self._held()
        if held and isinstance(self._source, StayingSource):
            self._source.on_hold()  # what was asked for meanwhile is not done at the reset
        if line and held:
            line = f"nothing moves: {held}"
        elif line and not self._running:
            line = f"not in command ({self.how_to_call('~/start')} to command): {line}"
        for text in (line, self._handover.watch(), self._recorder.watch()):
            if text:
                self.get_logger().info(text)
        self._do_what_keys_ask_for()
        now = time.monotonic()
        if self._estop_asked is not None and now - self._estop_asked > ESTOP_ANSWER_S:
            self._estop_asked = None
            self.get_logger().error("the driver does not answer the emergency stop: cut the servos' power")
        if self._running and now - (self._obeyed or self._began) > SILENCE_LIMIT_S and self._may_hold():
            self._source.on_hold()  # a target that was left far away would be run to when the driver obeys again
        if self._running:
            if not self._driver.is_there and now - self._began > DRIVER_WAIT_S:
                self._source.on_obeyed()  # another controller takes the commands, and does not say so
            self._judge_inputs(now)

    def _do_what_keys_ask_for(self) -> None:
        if self._source.wants_estop:
            self._source.wants_estop = False
            self._stop_hand()
        if self._source.wants_handover:
            self._source.wants_handover = False
            self._hand_over_and_tell()
        if isinstance(self._source, KeyboardSource):
            if self._recorder.is_there and not self._source.recorder:
                self.get_logger().info(f"a recorder is there: {RECORDER_HELP}")
            self._source.recorder = self._recorder.is_there
            for key in self._source.take_keys:
                self._recorder.press(key)
            for line in self._source.shown:
                self.get_logger().info(line)
            self._source.take_keys.clear()
            self._source.shown.clear()

    def _judge_inputs(self, now: float) -> None:
        """Name what does not come. Nodes of a graph start together, so for the first message there is more patience."""
        source = self._source.topic
        seen = {"camera/image_raw": self._seen_picture, source: self._seen_state}
        never = " and ".join(self.resolve_topic_name(topic) for topic, came in seen.items() if not came)
        if never and now - self._began < self._patience_s:
            if now - self._began > SILENCE_LIMIT_S:
                self._diagnostics.report(diagnostics.OK, "waiting", f"for the first message on {never}")
            self._heard = self._commanded = now  # silence counts from when all have come
        elif never:
            detail = f"nothing has come on {never} since the start: is the node that publishes it running?"
            reason = "state_missing" if self._seen_picture else "camera_too_old"
            self._diagnostics.report(diagnostics.ERROR, reason, detail)
        elif now - self._heard > SILENCE_LIMIT_S:
            detail = f"no picture for {SILENCE_LIMIT_S} s, so no commands"
            self._diagnostics.report(diagnostics.ERROR, "camera_too_old", detail)
        elif now - self._commanded > SILENCE_LIMIT_S:
            detail = f"nothing on {source} that belongs to the pictures, so no commands"
            self._diagnostics.report(diagnostics.ERROR, "state_missing", detail)

    def _may_hold(self) -> bool:
        """Whether the driver may be holding, latched or limp; before the first command was sent, it may not be there.

        A take that is done again waits for it at its first pose; it has nothing to wind up.
        """
        return self._obeyed is not None or not isinstance(self._source, ReplaySource)

    def _stop_hand(self) -> None:
        """Nobody waits for the answer: whoever pressed looks at the hand."""
        go_on = self.how_to_call("dynamixel_driver/reset_guard", "~/start")
        self.get_logger().warning(f"EMERGENCY STOP; to go on, {go_on}")
        if self._estop.service_is_ready():
            self._estop_asked = self._estop_asked or time.monotonic()
        else:
            self.get_logger().error("no driver hears the emergency stop: cut the servos' power")
        # Also to one that is only half discovered: it may hear it.
        self._estop.call_async(Trigger.Request()).add_done_callback(self._on_hand_stopped)
        self._handover.cancel()
        self._stop("emergency stop")

    def _on_hand_stopped(self, future: Future) -> None:
        self._estop_asked = None
        answer: Trigger.Response = future.result()
        if not answer.success:
            self.get_logger().error(f"the emergency stop failed: {answer.message}")

    def _hand_over(self) -> tuple[bool, str]:
        """Give control to the policy, or take it back; returns whether that can be, and what comes of it."""
        if held := self._held():
            return False, f"nobody takes over: {held}"
        if not self._running and not self._handover.is_possible:
            return False, f"no policy runner is there, and nobody commands; to command, {self.how_to_call('~/start')}"
        if not self._running:
            self._handover.to_human()
            return True, f"taking over: {self._mode} commands"
        if not self._handover.is_possible:
            return False, f"no policy runner is there to take over; {self._mode} goes on"
        self._stop("the policy commands")  # first, for a runner does not start while somebody commands
        self._handover.to_policy()
        return True, "handed over: the policy commands"

    def _hand_over_and_tell(self) -> tuple[bool, str]:
        done, text = self._hand_over()
        self.get_logger().info(text)  # whoever pressed a key, here or at the recorder, reads it
        return done, text

    def _let_go(self) -> None:
        """Make the hand limp, so that it can be led."""
        if not self._torque.service_is_ready():
            again = self.how_to_call("~/start")
            self._stop(f"no driver is there to switch torque off; start it, then {again}")
            return
        self._torque.call_async(SetBool.Request(data=False)).add_done_callback(self._on_let_go)

    def _on_let_go(self, future: Future) -> None:
        answer: SetBool.Response = future.result()
        if answer.success:
            self._limp_since = time.monotonic()
            self.get_logger().info("the hand is limp: lead its fingers")
        else:
            self._stop(f"the hand is not limp: {answer.message}")

    def _take_over(self) -> None:
        """Command after the policy, unless the driver holds by then."""
        if held := self._held():
            self.get_logger().warning(f"{self._mode} does not take over: {held}")
        else:
            self._start()

    def _start(self) -> None:
        self._source.begin()
        self._ticker = Ticker(self._spec.control_rate_hz)
        self._begin_ns = self.get_clock().now().nanoseconds
        self._began = self._heard = self._commanded = time.monotonic()
        self._obeyed = None
        self._running, self._steps, self._limp_since = True, 0, None
        self._diagnostics.report(diagnostics.OK, "running", steps=0)
        if self._source.limp:
            self._let_go()

    def _stop(self, why: str, level: bytes = diagnostics.OK) -> None:
        self._running = False
        self._diagnostics.report(level, "idle", why, steps=self._steps)

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if held := self._held():
            response.success, response.message = False, held
            return response
        if self._handover.goes_on:
            self._handover.to_human()
        else:
            self._start()
        response.success = self._running or not self._source.limp
        response.message = "started" if response.success else "the hand is not limp: no driver is there to let go"
        return response

    def _on_hand_over(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._hand_over_and_tell()
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, f"stopped after {self._steps} steps"
        self._handover.cancel()
        if self._running:
            self._stop(response.message)
        return response


def main() -> int:
    """Run the node; returns the exit code."""
    return run(Teleop)


if __name__ == "__main__":
    sys.exit(main())
