"""Node `dynamixel_driver`: the only one that touches the servo bus, with the guard between commands and motors.

Reads the joints at 100 Hz and writes a command the moment it arrives. On trouble it holds: it writes the pose to hold
when that begins and is then silent, with the reason on /diagnostics. Torque is off whenever the process ends.

Subscribes: `joint_commands`. Publishes: `joint_states`, `joint_commands_sent` (what was written, and how long after
the camera frame), `joint_goals` (what the servos pursue, of a command or a hold; no joints while they are limp).
Serves: `~/estop`, `~/reset_guard` (Trigger; it also restarts servos that have shut down), `~/torque` (SetBool).

One thread does everything: reads and writes cannot interleave on the port.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time

import numpy as np
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import JointState as JointStateMessage
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import load_robot
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_checks import check_port
from vmail_hardware.bus_errors import BusError, BusLostError, BusReadError, BusWriteError
from vmail_hardware.calibration import Calibration, CalibrationError, find_calibration
from vmail_hardware.guard import Command, Decision, Guard, Reason
from vmail_hardware.joint_state import JointState, ServoHealth
from vmail_nodes import diagnostics
from vmail_nodes.driver_torque import Torque, state_of
from vmail_nodes.lifecycle import DRIVER_PRIORITY, ManagedNode, NodeError, run
from vmail_nodes.messages import (
    command_message,
    goals_message,
    joint_state_message,
    ns_from_time,
    positions_from_command,
)
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, GOALS, SENSOR_PUBLISHER
from vmail_nodes.realtime import LATENCY_DEVICE, keep_awake

NS = 1e-9
READ_ATTEMPTS = 5
REBOOT_S = 0.5  # a servo is back after 0.3 s
HOLD_WRITES = 3  # nobody acknowledges one: where it got lost, joints would go on to their last goals
INACTIVE = "the driver is not active"
# Servos that need their torque switched on anew.
SHUT_DOWN = frozenset({Reason.HARDWARE_ERROR, Reason.TORQUE_LOST, Reason.SERVO_WATCHDOG})


class DynamixelDriver(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("dynamixel_driver", DRIVER_PRIORITY)
        self._diagnostics = diagnostics.Diagnostics(self)
        self._states = self.create_publisher(JointStateMessage, "joint_states", SENSOR_PUBLISHER)
        self._sent = self.create_publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
        self._goals = self.create_publisher(JointStateMessage, "joint_goals", GOALS)
        self._opened = contextlib.ExitStack()  # what `cleanup` has to close
        self._state: JointState | None = None
        self._torque = Torque()
        self._next_attempt: float | None = None  # to open a port that was lost
        self._held: Reason | None = None  # the hold whose goals were written last, until a command moves on
        self._hold_writes = 0  # of those goals that are still to come
        self._blind = False  # the guard holds without knowing where the joints are
        self._emergency = False  # stopped, and not reset since: no transition of this node ends that
        self._silence = ""  # what the last failed read said
        self._loss = ""  # why the port was lost last
        self._ticks = self._silent_reads = self._limited = 0
        self._endpoints: list[Service | Subscription | Timer] = []
        # At all times, also while the node is not active: nobody presses it twice.
        self.create_service(Trigger, "~/estop", self._on_estop)

    def configure(self) -> None:
        """Open the port and check every servo; torque stays as it is."""
        self.require_wall_time()
        self._spec = load_robot(self.parameter("robot", "dclaw", "Name of a robot, or path to its YAML file."))
        choice = self.parameter(
            "calibration", "auto", "File of `vmail calibrate`; auto: this user's, if there is one; none."
        )
        port = self.parameter("port", "", "Serial port of the servos (/dev/ttyUSB0, or a twin's bus_path).")
        if not port:
            raise NodeError("parameter port is empty: give the serial port of the servos, or a twin's bus_path")
        setup = self.parameter("setup_servos", False, "Write operating mode and return delay where they differ.")
        self._rate = self.parameter("rate_hz", 100.0, "Reads of all joints a second.", 1.0, 500.0)
        self._health_every = self.parameter("health_every", 5, "Ticks between looks at servos' health.", 1, 1000)
        self._reopen_period = self.parameter(
            "reopen_period_s", 0.5, "Seconds between attempts on a lost port.", 0.1, 60.0
        )
        self._ramp = self.parameter(
            "ramp_s", 0.5, "Seconds over which force comes when torque is switched on.", 0.0, 5.0
        )
        self._release = self.parameter("release_s", 1.0, "Seconds over which joints are let go at the end.", 0.0, 10.0)
        self._torque_on_activate = self.parameter("torque_on_activate", True, "Power the joints when activated.")
        timeout = self.parameter("command_timeout_s", 0.35, "Oldest picture that a command may come from.", 0.02, 10.0)
        awake = self.parameter(
            "keep_awake", False, "Keep the processors from sleeping: steadier cycles, for more power and heat."
        )
        wait = self.parameter("wait_s", 0.0, "Seconds to wait for the port to appear.", 0.0, 600.0)
        self.retry(lambda: self._require_port(port), wait, port)
        reply = self.parameter("reply_timeout_ms", 4.0, "Wait for an answer beyond the bytes' own time.", 1.0, 100.0)
        fast = self.parameter("fast_reads", True, "Read all joints with one answer, where the servos know that.")
        calibration = self._calibrate(choice)
        self._guard = Guard(self._spec, command_timeout_s=timeout)
        self._bus = DynamixelBus(port, self._spec, reply_timeout_ms=reply, fast_reads=fast)
        try:
            self._bus.open(configure=setup)
            self._opened.callback(self._close)
            if awake:
                self._keep_awake()
            self._torque.may_be_on = self._bus.torque_is_on()  # a program that was killed has left it so
            self.get_logger().info(f"{port}: joints are read {self._bus.how_it_reads}")
            if calibration is not None:
                calibration.check(self._spec, self._bus.servos, self._read_patiently())
        except (BusError, CalibrationError) as error:
            self._opened.close()
            raise NodeError(str(error)) from error

    def _calibrate(self, choice: str) -> Calibration | None:
        """Take this hand's zeros, where it was calibrated."""
        try:
            calibration = find_calibration(self._spec, choice)
            if calibration is None:
                self.get_logger().info(f"not calibrated (calibration={choice}): zeros are those of the robot's file")
                return None
            self._spec = calibration.apply(self._spec)
        except (OSError, CalibrationError) as error:
            raise NodeError(str(error)) from error
        self.get_logger().info(f"calibrated on {calibration.made}")
        return calibration

    def _keep_awake(self) -> None:
        try:
            self._opened.enter_context(keep_awake())
        except OSError as error:
            advice = ": vmail's udev rules allow to keep them awake" if isinstance(error, PermissionError) else ""
            self.get_logger().warning(
                f"processors may sleep ({LATENCY_DEVICE}: {error.strerror}), so cycles are less even{advice}"
            )

    def _read_patiently(self) -> np.ndarray:
        """Joint angles (N,), asked for again if an answer got lost."""
        for _ in range(READ_ATTEMPTS - 1):
            with contextlib.suppress(BusReadError):
                return self._bus.read().position
        return self._bus.read().position

    def activate(self) -> None:
        """Hold the present pose with torque on, and begin to listen."""
        self._guard.reset()
        if self._emergency:
            self._guard.estop()
        self._state = self._held = self._next_attempt = None
        self._blind = False
        try:
            if not self._bus.is_open:  # the last deactivation had to close it
                self._bus.open()
                self._opened.callback(self._close)
            self._set_torque(self._torque_on_activate)
        except BusError as error:
            raise NodeError(str(error)) from error
        self._endpoints = [
            self.create_subscription(JointTrajectory, "joint_commands", self._on_command, COMMANDS),
            self.create_service(Trigger, "~/reset_guard", self._on_reset_guard),
            self.create_service(SetBool, "~/torque", self._on_torque),
            self.create_timer(1.0 / self._rate, self._tick),
        ]

    def deactivate(self) -> None:
        """Torque off. The port stays open."""
        try:
            self._end_torque()
        finally:
            self._end_endpoints()

    def _end_endpoints(self) -> None:
        """Not while torque may be on: switching it off is tried again, and ROS may lock up in here."""
        if not self._torque.may_be_on:
            self.destroy_endpoints(self._endpoints)

    def _end_torque(self) -> None:
        if self._torque.may_be_on:
            try:
                self._set_torque(False)
            except BusError as error:
                self.get_logger().warning(f"{error}; trying again")
                self._close_at_once()
                return
        self._diagnostics.report(diagnostics.OK, "torque_off", f"torque is off, {INACTIVE}")

    def cleanup(self) -> None:
        """Make sure that torque is off, and close the port."""
        self._opened.close()
        if self._torque.may_be_on:  # an attempt before failed
            self._close()
        self._end_endpoints()

    def _close(self) -> None:
        """Close the port. A driver that was never active lets go gradually, too, of what one that was killed held."""
        if self._torque.may_be_on and self._bus.is_open:
            with contextlib.suppress(BusError):  # then at once
                self._bus.release(self._release)
        self._close_at_once()

    def _close_at_once(self) -> None:
        """Switch torque off with patience, also on a port that was lost, and close it. If it fails, call it again."""
        try:
            self._bus.close()
        except BusError as error:
            self._diagnostics.report(diagnostics.ERROR, "torque_may_be_on", str(error))
            raise NodeError(str(error)) from error
        self._torque.may_be_on = False
        self._diagnostics.report(diagnostics.OK, "torque_off", "torque is off, port closed")

    @staticmethod
    def _require_port(port: str) -> None:
        try:
            check_port(port)
        except BusError as error:
            raise NodeError(str(error)) from error

    def _tick(self) -> None:
        if not self._endpoints:
            return  # it was due as the driver was deactivated
        if self._next_attempt is not None:
            if time.monotonic() >= self._next_attempt:
                self._try_reopen()
            return
        try:
            self._read()
            self._apply(self._guard.check(None, self._state, time.time()))
        except BusLostError as error:
            self._lose(error)

    def _read(self) -> None:
        """Read and publish the joints; a servo's silence leaves the last state to age, which the guard judges."""
        self._ticks += 1
        turn = self._ticks % self._health_every
        try:
            self._state = self._bus.read(supply=turn == 0)
            if self._blind:
                self._begin_anew()
            self._publish_state(self._state)
            if turn == self._health_every // 2:  # not in the tick that reads more anyway
                self._guard.update_health(self._bus.read_health(), self._torque.powered)
        except (BusReadError, BusWriteError) as error:  # the latter where not even the question got out
            self._silent_reads += 1
            self._silence = str(error)
            silent = error.silent_ids if isinstance(error, BusReadError) else error.servo_ids
            self._diagnostics.set_values(silent_ids=list(silent), silent_reads=self._silent_reads)

    def _on_command(self, message: JointTrajectory) -> None:
        if not self._endpoints or self._next_attempt is not None or not self._torque.powered:
            return
        stamp_ns = ns_from_time(message.header.stamp)
        try:
            positions = positions_from_command(message, self._spec.joint_names)
        except ValueError as error:
            # Nothing in it can be trusted: the guard holds as for any command of the wrong size.
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            positions = np.empty(0)
        try:
            if self._state is None or time.time() - self._state.time > 2.0 / self._rate:
                self._read()  # this process was late: the joints may have moved on
            command = Command(positions, stamp_ns * NS, message.header.frame_id)
            self._apply(self._guard.check(command, self._state, time.time()), message)
        except BusLostError as error:
            self._lose(error)

    def _apply(self, decision: Decision, command: JointTrajectory | None = None) -> None:
        """Write what the guard decided, publish what came of a command, and report."""
        goals = self._due(decision)
        if goals is not None and self._torque.powered:
            try:
                self._bus.write_goals(goals)
            except BusWriteError as error:
                self.get_logger().error(str(error), throttle_duration_sec=1.0)
                self._diagnostics.report(diagnostics.ERROR, "bus_write_failed", str(error))
                return
            self._held = decision.reason if decision.holding else None
            self._hold_writes -= decision.holding
            if decision.fresh and command is not None:
                self._limited += decision.reason is not Reason.OK
                self._publish_sent(goals, command)
            self._publish_goals(goals)
        self._report(decision)

    def _due(self, decision: Decision) -> np.ndarray | None:
        """Goals (N,) to write now: those of a command at once, those of a hold a few times, when it begins.

        A hold that were written again and again would fight whoever moves the joints by hand. It begins anew when
        the bus was silent in between, or when the robot itself is found in trouble and must stop where it is, or
        give way.
        """
        if decision.goals is None:
            if decision.holding:
                self._held, self._blind = None, True
            return None
        other = decision.reason.is_of_robot and decision.reason is not self._held
        if self._held is None or other or decision.anew:
            self._hold_writes = HOLD_WRITES
        return decision.goals if self._hold_writes > 0 or not decision.holding else None

    def _publish_state(self, state: JointState) -> None:
        efforts = state.current_ma * self._spec.joint_states_current_scale
        self._states.publish(
            joint_state_message(self._spec.joint_names, state.position, state.velocity, efforts, round(state.time / NS))
        )

    def _publish_goals(self, goals: np.ndarray | None) -> None:
        """None: the servos are limp, or get new goals at the next tick."""
        self._goals.publish(goals_message(self._spec.joint_names, goals, time.time_ns()))

    def _publish_sent(self, goals: np.ndarray, command: JointTrajectory) -> None:
        stamp_ns, commander = ns_from_time(command.header.stamp), command.header.frame_id
        age_ns = max(0, time.time_ns() - stamp_ns)
        self._diagnostics.set_values(
            command_latency_ms=round(age_ns * 1e-6, 2), limited_commands=self._limited, commander=commander
        )
        self._sent.publish(command_message(self._spec.joint_names, goals, stamp_ns, commander, age_ns))

    def _report(self, decision: Decision) -> None:
        state = state_of(self._torque, decision, self._guard.latched, self._silence, self.how_to_call)
        self._diagnostics.report(*state)

    def _set_torque(self, on: bool) -> None:
        if on:
            self._bus.require_answers()  # before anything is touched that holds
        self._torque.wanted, self._torque.refusal = on, ""
        if on:
            self._torque.may_be_on = True  # until proven off, it may be on
            try:
                self._bus.set_torque(True, self._ramp)
            except (BusReadError, BusWriteError) as error:
                self._torque.may_be_on = self._bus.torque_may_be_on
                self._torque.refusal = f"{error}. "
                self._publish_goals(None)
                raise
            self._start_over()  # goals of before may be far away
        elif self._torque.may_be_on:
            self._bus.release(self._release)
        else:
            self._bus.set_torque(False)
        if not on:
            self._publish_goals(None)
        self._torque.may_be_on = on
        self.get_logger().info(f"torque {'on' if on else 'off'}")

    def _lose(self, error: BusLostError) -> None:
        self._next_attempt = time.monotonic() + self._reopen_period
        self._state = self._held = None
        self._guard.check(None, None, time.time())  # lets it forget goals that may be far away by the time of a reopen
        self._loss = f"{error}; trying to open it again"
        self._diagnostics.report(diagnostics.ERROR, "bus_lost", self._loss)

    def _try_reopen(self) -> None:
        """Open a lost port again and hold where the joints are now; old goals may be far away."""
        try:
            self._bus.reopen()
            self._start_over()
            lost = [health for health in self._bus.read_all_health() if self._is_lost(health)]
        except BusError as error:
            self._next_attempt = time.monotonic() + self._reopen_period
            self.get_logger().warning(f"bus still lost: {error}", throttle_duration_sec=5.0)
            return
        self._next_attempt = None
        for health in lost:  # the guard holds; `~/reset_guard` restarts them and gives all their torque again
            self._guard.update_health(dataclasses.replace(health, watchdog_tripped=False), self._torque.wanted)
        if lost and self._torque.wanted:
            return
        try:
            self._set_torque(self._torque.wanted)
        except BusLostError as error:
            self._lose(error)
        except BusError as error:
            self.get_logger().error(str(error))

    def _is_lost(self, health: ServoHealth) -> bool:
        """Whether a servo is not as the port left it: shut down, or limp. Its power may have come back with the port,
        and then only a person may say that the hand is to move again. That its watchdog has tripped is as it should be.
        """
        return bool(health.hardware_error) or (self._torque.wanted and not health.torque_enabled)

    def _start_over(self) -> None:
        """The port was away, or the joints were limp: wait for a new command where they are now. A latch stays."""
        self._publish_goals(None)
        self._guard.forget_pose()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Joint states were missing: wait for a new command. What was latched stays so."""
        self._blind = False
        self._held = None
        if self._guard.latched is None:
            self._guard.reset()

    def _on_estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._emergency = True
        if not self._endpoints:
            response.success = not self._torque.may_be_on
            if self._torque.may_be_on:
                response.message = f"{INACTIVE}, and torque may still be on: cut the servos' power"
            else:
                until = self.how_to_call("~/reset_guard")
                response.message = f"{INACTIVE}; when it is, it holds until {until}"
            return response
        self._guard.estop()
        self._tick()
        if self._next_attempt is not None:  # told all the same: whoever commands by itself ends with it
            self._diagnostics.report(diagnostics.ERROR, str(Reason.ESTOP), f"stopped, and {self._loss}")
        response.success = self._held is Reason.ESTOP or not self._torque.may_be_on
        if response.success:
            response.message = f"holding; to go on, {self.how_to_call('~/reset_guard')}"
        else:
            response.message = "the servos do not hear it now, and go on to their last goals: cut their power"
        return response

    def _on_reset_guard(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        latched, revived = self._guard.latched, ""
        try:
            if SHUT_DOWN.intersection(self._guard.latches):  # an emergency stop hides the others
                self._require_bus()
                revived = self._revive()
        except BusError as error:  # what was latched stays so
            response.success, response.message = False, str(error)
            return response
        self._emergency = False
        self._guard.reset()
        self._held = None
        self._tick()  # whoever hears the answer may begin: nothing may still tell of what was latched
        if self._next_attempt is not None:
            self._diagnostics.report(diagnostics.ERROR, "bus_lost", self._loss)
        again = self._guard.latched
        response.success = again is None
        response.message = f"cleared {latched}{revived}" if latched else "nothing was latched"
        if again is not None:
            response.message += f"; the hand is held again: {again}, see its diagnostics"
        return response

    def _require_bus(self) -> None:
        """Raise BusLostError while the port is away."""
        if self._next_attempt is not None:
            raise BusLostError(
                f"{self._bus.port} is away; the driver opens it by itself once it is back, then try again"
            )

    def _revive(self) -> str:
        """Restart servos that have shut down, and give all their torque again; says which were restarted."""
        failed = self._bus.shut_down_servos()
        for health in failed:
            self._bus.reboot(health.servo_id)
        if failed:
            time.sleep(REBOOT_S)
        if self._torque.wanted:
            self._set_torque(True)
        return "".join(f", restarted servo {health.servo_id} ({health.joint_name})" for health in failed)

    def _let_go(self) -> None:
        """Switch torque off although the port is lost: of servos that can be reached, and of all when it is back."""
        self._torque.wanted = False
        self._bus.close()
        self._torque.may_be_on = False

    def _on_torque(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            if self._next_attempt is not None and not request.data:
                self._let_go()
            else:
                self._require_bus()
                self._set_torque(request.data)
            response.success, response.message = True, f"torque {'on' if request.data else 'off'}"
        except BusError as error:
            response.success, response.message = False, str(error)
        return response


def main() -> int:
    """Run the node; returns the exit code."""
    return run(DynamixelDriver)


if __name__ == "__main__":
    sys.exit(main())
