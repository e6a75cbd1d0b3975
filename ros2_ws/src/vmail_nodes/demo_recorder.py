"""Records demonstrations: one bag a take, started and stopped by services or keys.

    python -m vmail_nodes.demo_recorder --ros-args -p output:=demos -p task:=dclaw_valve3_ccw

Messages are stored as they arrived, without decoding them. Services of type std_srvs/Trigger: `~/start` begins a take,
`~/stop` keeps it, `~/discard` deletes it; where none is in progress it puts the last one, which was kept, aside into
`.discarded`. A take that is no good is put aside into `.rejected`, with the reason. `~/next`, `~/again` and `~/end` do
what the keys →, ← and Esc do, for those who press them where the keyboard teleoperates.
"""

from __future__ import annotations

import collections
import functools
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.episodes.bag_reading import KINESTHETIC
from vmail_core.episodes.quality import REJECTED, TRIM
from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.calibration import find_calibration
from vmail_hardware.latency import find_latencies
from vmail_nodes.diagnostics import ERROR, OK, WARN, Diagnostics
from vmail_nodes.lifecycle import ManagedNode, NodeError, run
from vmail_nodes.prompts import AUTO, SILENT, Prompts
from vmail_nodes.qos import DIAGNOSTICS, SENSOR_RECORDER
from vmail_nodes.raw_message import commander, stamp_ns
from vmail_nodes.recorder_keys import SERVICES as KEY_SERVICES
from vmail_nodes.take import DISCARDED, Take, TakeError, TakeSummary, next_take, number_of, set_aside
from vmail_nodes.take_inputs import Inputs
from vmail_nodes.take_keys import DISCARD, HANDOVER, HELP, NEXT, Keys, open_keys
from vmail_nodes.take_notes import TakeNotes
from vmail_nodes.take_quality import OFF, REJECT, TakeGate

CAMERA, JOINTS, TWIN = "camera/image_raw", "joint_states", "twin/state"
REQUEST, SENT = "joint_commands", "joint_commands_sent"
INFO, NEWS = "camera/camera_info", "/diagnostics"
TOPICS: dict[str, tuple[type, str, QoSProfile]] = {
    CAMERA: (Image, "sensor_msgs/msg/Image", SENSOR_RECORDER),
    INFO: (CameraInfo, "sensor_msgs/msg/CameraInfo", SENSOR_RECORDER),
    JOINTS: (JointState, "sensor_msgs/msg/JointState", SENSOR_RECORDER),
    REQUEST: (JointTrajectory, "trajectory_msgs/msg/JointTrajectory", SENSOR_RECORDER),
    SENT: (JointTrajectory, "trajectory_msgs/msg/JointTrajectory", SENSOR_RECORDER),
    TWIN: (JointState, "sensor_msgs/msg/JointState", SENSOR_RECORDER),
    NEWS: (DiagnosticArray, "diagnostic_msgs/msg/DiagnosticArray", DIAGNOSTICS),
}
SENSORS = (CAMERA, INFO, JOINTS, TWIN)
SERVICES = ("start", "stop", "discard")
FLUSH_S = 0.5
POLL_S = 0.05


class TakeRejected(NodeError):
    """A take that was recorded whole, and is no good."""


class DemoRecorder(ManagedNode):
    """The node `demo_recorder`."""

    def __init__(self) -> None:
        """Nothing is opened before `configure`."""
        super().__init__("demo_recorder")
        self.diagnostics = Diagnostics(self)
        self._take: Take | None = None
        self._kept: TakeSummary | None = None
        self._handover: Client = self.create_client(Trigger, "teleop/hand_over")
        self._keys: Keys | None = None
        self._prompts: Prompts | None = None
        self._active = self._led = False
        self._keyed = self._ending = False  # keys come from another terminal; the last of them was Esc
        self._asked = self._again = False  # now a key from there is dealt with; it begins the next take by itself
        self._told: collections.deque[str] = collections.deque(maxlen=2)  # no key leads to more lines
        self._commands = self._last_command_ns = 0
        self._endpoints: list[Any] = []

    def configure(self) -> None:
        """Read the parameters, look at the output folder, subscribe."""
        self._read_parameters()
        self._names: dict[str, str] = {}
        for topic, (message_type, _, qos) in TOPICS.items():
            callback = functools.partial(self._on_message, topic)
            subscription = self.create_subscription(message_type, topic, callback, qos, raw=True)
            self._names[topic] = subscription.topic_name
            self._endpoints.append(subscription)
        self._inputs = Inputs(self._names[topic] for topic in SENSORS)
        for name, act in zip(SERVICES, (self._start, self._stop, self._discard), strict=True):
            self._endpoints.append(self.create_service(Trigger, f"~/{name}", functools.partial(self._serve, act)))
        for key, name in KEY_SERVICES.items():
            self._endpoints.append(self.create_service(Trigger, f"~/{name}", functools.partial(self._on_key, key)))
        self._endpoints += [self.create_timer(FLUSH_S, self._flush), self.create_timer(POLL_S, self._poll)]

    def activate(self) -> None:
        """Accept takes."""
        self._active = True
        self._keys = open_keys()
        services = " | ".join(self.how_to_call(f"~/{name}") for name in SERVICES)
        elsewhere = f"takes go by → ← and Esc where the keyboard teleoperates, and from any terminal by {services}"
        print(HELP if self._keys else elsewhere, flush=True)
        self._prompts = Prompts(self.get_logger(), self._speech)
        self.diagnostics.report(OK, "idle", f"takes go to {self._output}", take="")

    def deactivate(self) -> None:
        """Keep a take in progress, whole."""
        self._active = False
        try:
            if self._take:
                self._stop()
        except TakeRejected:
            pass  # which is told; it lies whole where it was put
        finally:
            if self._keys:
                self._keys.close()
                self._keys = None
            if self._prompts:
                self._prompts.close()

    def cleanup(self) -> None:
        """Unsubscribe."""
        self.destroy_endpoints(self._endpoints)

    def _read_parameters(self) -> None:
        parameter = self.parameter
        self._output = Path(parameter("output", "demos", "Folder of the takes; made if it is missing.")).expanduser()
        task: str = parameter("task", "", "Name of the task, noted in each take.")
        operator: str = parameter("operator", "", "Who demonstrates, noted in each take.")
        self._robot: RobotSpec = load_robot(parameter("robot", "dclaw", "Robot: a name or a path to a .yaml file."))
        calibration = find_calibration(
            self._robot, parameter("calibration", "auto", "As the driver's; its digest is noted in each take.")
        )
        digest = calibration.digest() if calibration else ""
        latencies = find_latencies(
            self._robot,
            parameter("latencies", "auto", "File of `vmail latency`, noted in each take; auto: this user's; none."),
        )
        late = latencies.notes() if latencies else {}
        self._notes = TakeNotes(
            self.get_namespace(), self._robot, task=task, operator=operator, calibration_digest=digest, **late
        )
        self._max_steps: int = parameter(
            "max_steps", 0, "Commands after which a take ends by itself; 0: never.", 0, 10**6
        )
        self._max_seconds: float = parameter(
            "max_seconds", 0.0, "Seconds after which a take ends; 0: never.", 0.0, 86400.0
        )
        self._quality: str = parameter(
            "quality", "warn", "What becomes of a take that is no good: off, warn or reject."
        )
        if self._quality not in (OFF, "warn", REJECT):
            raise NodeError(f"parameter quality is {self._quality!r}: give off, warn or reject")
        self._max_age: float = parameter("max_age", 1.0, "Oldest frame and joint state to start with, s.", 0.1, 60.0)
        # Read at every look, so that it can be changed while a take goes on.
        parameter("min_free_mb", 200, "Free space that a take needs, to start and to go on, MB.", 0, 10**7)
        self._speech: str = parameter("speech", AUTO, "Spoken prompts: auto, where a program for it is there, or off.")
        if self._speech not in (AUTO, SILENT):
            raise NodeError(f"parameter speech is {self._speech!r}: give auto or off")
        try:
            self._output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NodeError(f"cannot make the output folder {self._output}: {error.strerror}; set `output`") from error

    # What arrives

    def _on_message(self, topic: str, data: bytes) -> None:
        now_ns = self.get_clock().now().nanoseconds
        if topic == NEWS and not self._notes.hear_diagnostics(data):
            return  # of another hand
        if topic == INFO:
            self._notes.hear_camera_info(data)
        self._inputs.note(self._names[topic], now_ns, data)
        if self._take:
            self._write(self._take, topic, now_ns, data)

    def _write(self, take: Take, topic: str, now_ns: int, data: bytes) -> None:
        # A limp hand is led by hand: the poses that it is led to count, each as the command of the one before.
        led = topic == REQUEST and commander(data) == KINESTHETIC
        command = led or topic == SENT
        if led and not self._led:
            command, self._led = False, True
        if command and self._max_steps and self._commands >= self._max_steps:
            return  # the take is full and only waits for the frame that its last command led to
        try:
            take.write(self._names[topic], now_ns, data)
        except TakeError as error:
            self._abandon(error)
            return
        if command:
            self._commands += 1
            self._last_command_ns = stamp_ns(data)
            self._gate.command(self._last_command_ns)
        else:
            self._show_gate(self._names[topic], data)
            if topic == CAMERA and self._is_last_frame(data):
                self._try(self._stop)

    def _show_gate(self, name: str, data: bytes) -> None:
        """All that the take holds of its sensors is judged: `vmail takes`, which reads the take, says the same."""
        if name == self._names[JOINTS]:
            self._gate.joints(data)
        elif name == self._names[CAMERA]:
            self._gate.picture(data)

    def _is_last_frame(self, data: bytes) -> bool:
        if not self._max_steps or self._commands < self._max_steps:
            return False
        # Three quarters of a period: the camera's next frame may come a little early, one in between does not count.
        return stamp_ns(data) - self._last_command_ns >= 0.75e9 * self._robot.control_period

    # What is asked for

    def _serve(self, act: Callable[[], str], _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message, response.success = act(), True
        except (NodeError, OSError) as error:
            response.message, response.success = str(error), False
        return response

    def _on_key(self, key: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """A key that was pressed in another terminal, where its answer is read: so it is not printed here, too."""
        self._keyed = self._asked = True
        try:
            response.success, response.message = self._press(key)
        finally:
            self._asked = False
        return response

    def _start(self) -> str:
        """Begin a take; returns its path."""
        self._check_ready()
        recent = self._inputs.recent()
        path = next_take(self._output)
        topics = {self._names[topic]: kind for topic, (_, kind, _) in TOPICS.items()}
        notes = self._notes.at_start(path.name, simulated=self._inputs.seen(self._names[TWIN]))
        self._gate = TakeGate(self._quality, self._robot, sensor=not self._inputs.seen(self._names[TWIN]))
        try:
            take = Take(path, topics, f"{self.get_fully_qualified_name()}/take", notes, recent[0][1] - 1)
            for name, log_ns, data in recent:
                take.write(name, log_ns, data)
                self._show_gate(name, data)
        except TakeError as error:
            self._abandon(error)
            raise
        self._take, self._kept = take, None
        self._commands, self._led, self._last_command_ns = 0, False, 0
        self._started = time.monotonic()
        self.diagnostics.report(OK, "recording", str(path), quiet=True, take=path.name)
        self._tell(f"{number_of(path)}: recording", f"recording {number_of(path)}")
        return str(path)

    def _check_ready(self) -> None:
        if not self._active:
            raise NodeError("demo_recorder is not active; activate it first")
        if self._take:
            raise NodeError(f"{self._take.path.name} is being recorded already; stop or discard it first")
        silent = self._silent()
        if silent:
            raise NodeError(f"no take was started: {', '.join(silent)}. Is the node that publishes it running?")
        scarce = self._scarce()
        if scarce:
            raise NodeError(scarce)

    def _silent(self) -> list[str]:
        return self._inputs.silent((self._names[CAMERA], self._names[JOINTS]), self._max_age)

    def _scarce(self) -> str:
        """A sentence if the disk has too little space for a take to start or to go on; empty otherwise."""
        least, free_mb = self.get_parameter("min_free_mb").value, shutil.disk_usage(self._output).free / 1e6
        if free_mb >= least:
            return ""
        return f"only {free_mb:.0f} MB are free at {self._output}, a take needs {least} (min_free_mb): free some"

    def _stop(self) -> str:
        """Keep the take, if it is any good; returns what it holds."""
        take = self._take
        if not take:
            raise NodeError("no take is being recorded")
        self._take = None
        try:
            self._kept = take.close(self._notes.at_end())
        except TakeError as error:
            self._abandon(error)
            raise
        frames, commands = self._kept.counts.get(self._names[CAMERA], 0), self._commands
        name, seconds = number_of(take.path), f"{self._kept.seconds:.1f} s"
        good, remarks = self._gate.judge()
        if not good:
            self._kept = None
            text = f"{take.path.name} is not kept: {remarks}. It lies in {set_aside(take.path, REJECTED)}"
            self._report_idle(text)
            self._tell(f"{name} rejected, {seconds}: {remarks}{self._next()}", f"{name} rejected: {remarks}", WARN)
            raise TakeRejected(text)
        text = f"kept {take.path}: {frames} frames, {commands} commands, {seconds}"
        but = f"; but {remarks}" if remarks else ""
        hint = f" (`vmail takes {shlex.quote(str(take.path))} --trim START END`, in s)" if TRIM in remarks else ""
        self._report_idle(f"{text}{but}", frames=frames, commands=commands)
        self._tell(f"{name} kept, {seconds}{but}{hint}{self._next()}", f"{name} kept{but}", WARN if but else OK)
        return f"{text}{but}{hint}"

    def _discard(self) -> str:
        """Delete the take in progress; without one, put the one just kept aside. Returns which."""
        back = ""
        if self._take:
            path, take, self._take = self._take.path, self._take, None
            take.discard()
        elif self._kept and self._kept.path.exists():
            path, self._kept = self._kept.path, None
            # It was kept: one key is too little to lose it for good.
            place = set_aside(path, DISCARDED)
            back = (
                f" after it was kept; to get it back, `mv {shlex.quote(str(place))} {shlex.quote(str(path.parent))}/`"
            )
        else:
            raise NodeError("there is no take to discard")
        text = f"discarded {path}{back}"
        self._report_idle(text)
        self._tell(f"{number_of(path)} discarded{back}{self._next()}", f"{number_of(path)} discarded")
        return text

    def _abandon(self, error: TakeError) -> None:
        """Stop a take that the disk does not accept any more; its written part stays for `vmail recover`."""
        self._take = None
        self.diagnostics.report(ERROR, "write_failed", str(error), quiet=True, take="")
        self._tell(str(error), "the take cannot be written", ERROR)

    def _end_for_space(self, take: Take, scarce: str) -> None:
        """Keep a take that has no room to go on, while it can still be finished."""
        try:
            self._stop()
        except TakeRejected:
            pass  # as it would have been on a larger disk
        except TakeError:
            return  # the disk was full already, which is told
        self.diagnostics.report(ERROR, "disk_low", scarce, quiet=True)
        self._tell(f"{number_of(take.path)} ended by itself: {scarce}", "the disk is nearly full", ERROR)

    # What happens by itself

    def _flush(self) -> None:
        if not self._take:
            return
        try:
            self._take.flush()
            scarce = self._scarce()
        except TakeError as error:
            self._abandon(error)
            return
        except OSError as error:
            self._abandon(
                TakeError(f"{self._output} is gone ({error.strerror}); mount it again, then see what is left")
            )
            return
        if scarce:
            self._end_for_space(self._take, scarce)
            return
        silent = self._silent()
        if silent:
            self.diagnostics.report(WARN, "silent_topic", ", ".join(silent))
        else:
            self.diagnostics.report(OK, "recording", str(self._take.path), commands=self._commands)

    def _poll(self) -> None:
        if self._prompts:
            self._prompts.poll()
        if self._take and self._max_seconds and time.monotonic() - self._started >= self._max_seconds:
            self._try(self._stop)
        for key in self._keys.poll() if self._keys else ():
            if key == HANDOVER:
                self._hand_over()
            else:
                self._press(key)
        if self._ending:
            self.trigger_shutdown()

    def _press(self, key: str) -> tuple[bool, str]:
        """Do what a key means, NEXT, DISCARD or STOP; returns whether all of it was done, and what was told."""
        self._told.clear()
        if self._ending:
            return False, "the recorder ends"
        if key == NEXT:
            done = self._try(self._stop if self._take else self._start)
        elif key == DISCARD:
            there = self._take or (self._kept and self._kept.path.exists())
            self._again = True
            try:
                done = self._try(*([self._discard] if there else []), self._start)
            finally:
                self._again = False
        else:
            done = self._try(self._finish)
        return done, "; ".join(self._told)

    def _finish(self) -> str:
        """Keep a take in progress; the node ends at the next look, once this was answered."""
        self._ending = True
        if self._take:
            self._stop()
        self._told.append("the recorder ends")
        return self._told[-1]

    def _hand_over(self) -> None:
        if not self._handover.service_is_ready():
            self.get_logger().error("no teleop is there to hand control over; start the graph with teleop:=...")
            return
        self._handover.call_async(Trigger.Request())  # teleop says what comes of it

    def _try(self, *acts: Callable[[], str]) -> bool:
        """Do one after the other; the first that fails says why and ends it. Returns whether all was done."""
        try:
            for act in acts:
                act()
        except (TakeRejected, TakeError):
            return False  # which is told
        except (NodeError, OSError) as error:
            self._tell(str(error), "that failed; look at the terminal", ERROR)
            return False
        return True

    def _report_idle(self, detail: str, **values: Any) -> None:
        self.diagnostics.report(OK, "idle", detail, quiet=True, take="", **values)

    def _tell(self, line: str, words: str, level: bytes = OK) -> None:
        self._told.append(line)
        if self._prompts:
            self._prompts.tell("" if self._asked else line, words, level)

    def _next(self) -> str:
        """What whoever records does before the next take, if there will be one."""
        if not self._active or self._ending or self._again:
            return ""
        return f". Set up the scene, then {'press →' if self._keys or self._keyed else self.how_to_call('~/start')}"


def main() -> int:
    """Entry point."""
    return run(DemoRecorder)


if __name__ == "__main__":
    sys.exit(main())
