"""Node `twin`: a simulated robot that the other nodes cannot tell from a real one.

Hosts MuJoCo in real time, the emulated servo bus on a pseudo-terminal and a server of camera frames.

Publishes: `twin/state` (JointState: the claw's joints and, last, the valve) with the stamp of each camera frame.
Serves: `twin/reset` (Trigger: the next start), `twin/kick` (Trigger: disturb valve and claw).
It judges all that is written to its servos by the robot's limits, whoever wrote it: `unsafe_command` on /diagnostics.
The parameter `faults` breaks things while it runs, and `next_seed` chooses the start of the next reset; the others are
read when it is configured.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from rclpy.service import Service
from rclpy.timer import Timer
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from vmail_core.robot import load_robot
from vmail_hardware.cameras import FrameServer
from vmail_hardware.emulator import EmulatedBus, WireCheck
from vmail_hardware.emulator.fault_script import FaultScript
from vmail_nodes import diagnostics
from vmail_nodes.lifecycle import REALTIME_PRIORITY, ManagedNode, NodeError, run
from vmail_nodes.messages import joint_state_message
from vmail_nodes.qos import SENSOR_PUBLISHER
from vmail_nodes.twin_faults import TWIN_KINDS, BrokenCamera, TwinFaults
from vmail_sim.dclaw import valve
from vmail_sim.dclaw.model import VALVE_JOINT
from vmail_sim.twin import CameraLoop, ClawPlant, Frame

WATCH_PERIOD_S = 0.2
FAULT_PERIOD_S = 0.02
TORQUE_OFF_PATIENCE_S = 3.0
BUS_PATIENCE_S = 4.0  # the driver takes a second to let go; launch tools kill what has not ended after five
BUS_QUIET_S = 0.3  # a driver that has not spoken for so long has closed its port
QUIET_S = 0.5  # longer than the driver's command_timeout_s
QUIET_PATIENCE_S = 1.5
ALARM_S = 3.0  # how long an unsafe command is the twin's state
# The bus emulator's answers wait for a thread that renders or simulates to let go of the interpreter.
SWITCH_INTERVAL_S = 0.0005


class Twin(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("twin", REALTIME_PRIORITY)
        self._faults = TwinFaults()
        self._eye = BrokenCamera(self._faults)
        self._script, self._script_began = FaultScript([]), 0.0
        self.add_on_set_parameters_callback(self._on_parameters)
        self.parameter("faults", "", "What breaks, and when, from now on: like 'silent=32@10+2 camera=black@20'.")
        self.parameter("next_seed", -1, "Seed of the start of the next reset; -1 goes on with `seed`.", -1, 2**31 - 2)
        self._diagnostics = diagnostics.Diagnostics(self, hardware_id="simulated")
        self._running = contextlib.ExitStack()  # what `deactivate` has to stop
        self._endpoints: list[Service | Timer] = []
        self._state_publisher = self.create_publisher(JointState, "twin/state", SENSOR_PUBLISHER)
        self._frames: FrameServer | None = None
        self._episode = 0

    def configure(self) -> None:
        """Build the scene; time does not run, and neither camera nor servos can be found yet."""
        self.require_wall_time()
        self._robot = load_robot(self.parameter("robot", "dclaw", "Name of a robot, or path to its YAML file."))
        task = self.parameter("task", "dclaw_valve3_ccw", "Task whose scene and starts are simulated.")
        seed = self.parameter("seed", 0, "Seed of starts and kicks.", 0, 2**31 - 2)
        starts = self.parameter("starts", "wide", "Starts of episodes: wide or fixed.")
        bus_path = self.parameter("bus_path", "/tmp/vmail-twin/bus", "Where the emulated servo port appears.")
        frames_path = self.parameter("frames_path", "/tmp/vmail-twin/frames.sock", "Socket that serves camera frames.")
        rate = self.parameter("camera_rate_hz", 10.0, "Pictures a second.", 0.1, 120.0)
        width = self.parameter("camera_width", 0, "Pixels; 0 takes the robot's.", 0, 4096)
        height = self.parameter("camera_height", 0, "Pixels; 0 takes the robot's.", 0, 4096)
        kick = self.parameter("kick", "both", "What a kick disturbs: valve, claw or both.")
        self._kick = valve.require("kick", kick, valve.KICKS)
        self._kick_at_step = self.parameter(
            "kick_at_step",
            -1,
            "Control step, counted from an episode's first command, of a kick; -1 is never.",
            -1,
            10**6,
        )
        size = (width or self._robot.camera_width, height or self._robot.camera_height)
        self._plant = ClawPlant(self._robot, task, seed, starts)
        self._frames_path = frames_path
        checked = self.parameter("check_commands", True, "Judge what is written to the servos by the robot's limits.")
        self._check = WireCheck(self._robot) if checked else None
        self._unsafe, self._alarm_until = 0, -math.inf
        self._bus = EmulatedBus(bus_path, self._robot, self._plant, self._faults, check=self._check)
        self._make_camera = lambda: CameraLoop(self._plant, rate, *size, self._on_frame)
        self._state_names = [*self._robot.joint_names, VALVE_JOINT]

    def activate(self) -> None:
        """Let time run, then offer camera and servos, which others may be waiting for, ready for use."""
        self._camera = self._make_camera()
        self._running.callback(self._camera.stop)
        self._plant.start()
        self._running.callback(self._plant.stop)
        try:
            self._camera.start()
        except RuntimeError as error:
            raise NodeError(str(error)) from error
        self._arm_kick()
        self._frames = FrameServer(self._frames_path)
        self._running.callback(self._frames.close)
        self._bus.start()
        self._running.callback(self._bus.stop)
        self._running.callback(self._await_driver)
        self._endpoints = [
            self.create_service(Trigger, "twin/reset", self._on_reset),
            self.create_service(Trigger, "twin/kick", self._on_kick),
            self.create_timer(WATCH_PERIOD_S, self._report),
            self.create_timer(FAULT_PERIOD_S, self._break),
        ]

    def deactivate(self) -> None:
        """Unplug the servos and stop time, once whoever drives them has switched torque off."""
        self._running.close()
        self._frames = None
        self.destroy_endpoints(self._endpoints)

    def _await_quiet(self) -> None:
        """A driver holds the last goals once its commander is silent for a while: after a reset that would pull."""
        deadline = time.monotonic() + QUIET_PATIENCE_S
        while self._plant.quiet_seconds() < QUIET_S and time.monotonic() < deadline:
            time.sleep(0.02)

    def _await_driver(self) -> None:
        """A graph's nodes are often all stopped at once: leave a driver the time to let go and to make sure of it."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < BUS_PATIENCE_S:
            holding = np.any(self._plant.torque_enabled()) and waited < TORQUE_OFF_PATIENCE_S
            if not holding and self._bus.silent_seconds() > BUS_QUIET_S:
                break
            time.sleep(0.02)
        self._report_torque()

    def _on_frame(self, frame: Frame) -> None:
        """Runs in the camera's thread. The state goes first: whoever has the picture can have its state."""
        snapshot = frame.snapshot
        positions = np.append(snapshot.joints, snapshot.valve_angle)
        velocities = np.append(snapshot.velocities, snapshot.valve_velocity)
        stamp_ns = snapshot.stamp_ns + round(1e9 * self._faults.clock_jump_s)
        self._state_publisher.publish(joint_state_message(self._state_names, positions, velocities, None, stamp_ns))
        image, frames = self._eye.see(frame.image), self._frames
        if image is not None and frames is not None:
            frames.publish(stamp_ns, image)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._await_quiet()
        seed = self.get_parameter("next_seed").value
        self._plant.random_start(None if seed < 0 else seed)
        self._bus.hold_present()
        self._arm_kick()
        self._episode += 1
        response.success = True
        response.message = f"episode {self._episode}: valve at {self._plant.snapshot().valve_angle:.3f} rad"
        self.get_logger().info(response.message)
        return response

    def _on_kick(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._plant.kick(self._kick)
        response.success, response.message = True, f"kicked: {self._kick}"
        self.get_logger().info(response.message)
        return response

    def _arm_kick(self) -> None:
        if self._kick_at_step >= 0:
            self._plant.arm_kick(self._kick, self._kick_at_step)

    def _report(self) -> None:
        error = self._camera.error or self._plant.error
        if error is not None:
            self.fail(f"the simulation stopped: {error!r}")
        elif self._check is None or not self._alarm(self._check):
            self._report_torque()

    def _alarm(self, check: WireCheck) -> bool:
        """Whether something unsafe was written to the servos a moment ago; if so, that is the state."""
        now = time.monotonic()
        if check.count > self._unsafe:
            self._unsafe, self._alarm_until = check.count, now + ALARM_S
        if now < self._alarm_until:
            self._diagnostics.report(diagnostics.ERROR, "unsafe_command", str(check.last), unsafe_commands=self._unsafe)
        return now < self._alarm_until

    def _report_torque(self) -> None:
        on = [i for i, enabled in zip(self._robot.servo_ids, self._plant.torque_enabled(), strict=True) if enabled]
        if self._check is not None:
            self._diagnostics.set_values(unsafe_commands=self._check.count)
        torque = "torque_on" if len(on) == len(self._robot.servo_ids) else "torque_partly_on" if on else "torque_off"
        self._diagnostics.report(
            diagnostics.OK,
            torque,
            f"episode {self._episode}",
            torque_on_ids=on,
            lost_seconds=round(self._plant.lost_seconds, 3),
        )

    def _break(self) -> None:
        """Let the faults of the script come and go."""
        for change in self._script.apply(self._faults, time.monotonic() - self._script_began):
            self.get_logger().warning(f"fault {change}")

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "faults":
                try:
                    script = FaultScript(parameter.value.split(), TWIN_KINDS)
                except ValueError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                self._script.apply(self._faults, math.inf)  # what the last one broke is whole again
                self._script, self._script_began = script, time.monotonic()
                self._break()
        return SetParametersResult(successful=True)


def main() -> int:
    """Run the node; returns the exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return run(Twin)


if __name__ == "__main__":
    sys.exit(main())
