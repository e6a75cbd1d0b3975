"""The claw and its valve, simulated in real time by a thread: what the emulated servos move and measure."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_sim.dclaw import valve
from vmail_sim.dclaw.physics import ValvePhysics, make_physics

# N m per mA of a Dynamixel XM430-W210 at 12 V, from its data sheet's stall torque and current (3.0 N m at 2.3 A).
TORQUE_PER_MA = 3.0 / 2300.0

# After a pause longer than this (a suspended machine) the plant drops the time instead of racing to catch up.
MAX_CATCH_UP_S = 0.5


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The plant at one instant. Angles in rad, speeds in rad/s.

    Attributes:
        stamp_ns: wall clock, nanoseconds since the epoch.
        qpos: all generalised positions, for a renderer.
        joints, velocities: (N,) of the claw.
        valve_angle: unwrapped: full turns add up.
    """

    stamp_ns: int
    qpos: np.ndarray
    joints: np.ndarray
    velocities: np.ndarray
    valve_angle: float
    valve_velocity: float


class ClawPlant:
    """Real-time D'Claw with the physics of the valve tasks. Every method may be called from any thread.

    A thread steps MuJoCo at the model's timestep by the wall clock: it catches up after a delay and never runs
    ahead. A joint whose torque is off gets no actuator force; everything else is as in the task.
    """

    pushes = 0  # nobody moves these joints by hand

    def __init__(self, robot: RobotSpec, task: str, seed: int = 0, starts: str = "wide") -> None:
        """Build the scene of `task`; the claw waits in its first start, with torque off.

        Args:
            robot: names, order and rest pose of the joints, and the control rate.
            task: a D'Claw task of `vmail_sim.task_names()`.
            seed: the n-th `random_start` equals the n-th reset of the task's environment with this seed.
            starts: "wide" or "fixed", as in the task.
        """
        valve.require_claw(robot)
        self.prongs, self.direction = valve.parse_task(task)
        self._robot, self._starts = robot, valve.require("starts", starts, valve.STARTS)
        self._physics = make_physics(self.prongs)
        self._start_random = np.random.RandomState(seed)
        self._kick_random = np.random.RandomState(seed + 1)
        self._gain = self._physics.model.actuator_gainprm[:, 0].copy()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._goals_at = -np.inf
        self._kick_kind = "none"
        self._kick_after: int | None = None  # timesteps from the next goal on
        self._kick_countdown = -1
        self._lost_s = 0.0
        self._error: Exception | None = None
        self._apply_torque(np.zeros(robot.action_size))
        self.random_start()

    @property
    def lost_seconds(self) -> float:
        """Wall-clock time so far that was not simulated because the machine could not keep up."""
        return self._lost_s

    @property
    def error(self) -> Exception | None:
        """What ended the thread, if anything did."""
        return self._error

    def start(self) -> None:
        """Let time run."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="plant", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop time. Safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def measured(self) -> tuple[list[float], list[float], list[float]]:
        """Angles (rad), speeds (rad/s) and motor currents (mA: actuator torque over TORQUE_PER_MA) of N joints."""
        with self._lock:
            physics = self._physics
            angles, speeds = physics.joint_positions(), physics.joint_velocities()
            currents = physics.data.actuator_force / TORQUE_PER_MA
        return angles.tolist(), speeds.tolist(), currents.tolist()

    def positions(self) -> np.ndarray:
        """(N,) joint angles, rad."""
        with self._lock:
            return self._physics.joint_positions()

    def set_goals(self, goals: np.ndarray, strength: np.ndarray) -> None:
        """Servo goals (N,) rad and the share of its force that each servo has (N,), 0 for none."""
        with self._lock:
            self._goals_at = time.monotonic()
            self._physics.set_control(goals)
            self._apply_torque(strength)
            if self._kick_after is not None:
                self._kick_countdown, self._kick_after = self._kick_after, None

    def torque_enabled(self) -> np.ndarray:
        """(N,) bool: which joints are powered."""
        with self._lock:
            return self._physics.model.actuator_gainprm[:, 0] > 0.0

    def quiet_seconds(self) -> float:
        """How long no goals have come."""
        with self._lock:
            return time.monotonic() - self._goals_at

    def reset(self, joints: np.ndarray, valve_angle: float) -> None:
        """Put claw (N,) and valve somewhere, at rest, with servo goals at the new angles: nothing pulls back."""
        with self._lock:
            self._physics.set_claw_and_valve(joints, valve_angle)
            self._kick_countdown, self._kick_after = -1, None

    def random_start(self, seed: int | None = None) -> np.ndarray:
        """Put claw and valve in the next start of the task's distribution; returns the joints (N,).

        With `seed`, in the start that the task's environment draws right after `reseed(seed)`.
        """
        random = self._start_random if seed is None else np.random.RandomState(seed)
        joints, angle = valve.draw_start(random, self._robot.rest, self._starts)
        self.reset(joints, angle)
        return joints

    def kick(self, kind: str = "both") -> None:
        """Disturb valve, claw or both, as the task's kick does."""
        valve.require("kick", kind, valve.KICKS)
        with self._lock:
            valve.kick(self._physics, self._kick_random, kind, self.direction)

    def arm_kick(self, kind: str, control_step: int) -> None:
        """Kick once, `control_step` control periods after the next goal arrives; a reset disarms."""
        valve.require("kick", kind, valve.KICKS)
        substeps = round(self._robot.control_period / self._physics.timestep())
        with self._lock:
            self._kick_kind, self._kick_after = kind, control_step * substeps

    def snapshot(self) -> Snapshot:
        """The plant now, stamped with the wall clock."""
        with self._lock:
            physics = self._physics
            return Snapshot(
                time.time_ns(),
                physics.data.qpos.copy(),
                physics.joint_positions(),
                physics.joint_velocities(),
                physics.valve_angle(),
                physics.valve_velocity(),
            )

    def renderable_copy(self) -> ValvePhysics:
        """Physics that shares this plant's model and has data of its own, for a renderer in another thread."""
        with self._lock:
            return self._physics.copy(share_model=True)

    def advance(self) -> None:
        """Simulate one timestep. The thread calls it by the clock; without `start`, a test does by hand."""
        with self._lock:
            if self._kick_countdown == 0:
                valve.kick(self._physics, self._kick_random, self._kick_kind, self.direction)
            self._kick_countdown = max(self._kick_countdown - 1, -1)
            self._physics.step()

    def _apply_torque(self, strength: np.ndarray) -> None:
        # A position servo's force is gain * goal - bias * angle: both zero is a joint that swings freely.
        gain = self._gain * strength
        self._physics.model.actuator_gainprm[:, 0] = gain
        self._physics.model.actuator_biasprm[:, 1] = -gain

    def _run(self) -> None:
        try:
            self._keep_time()
        except Exception as error:
            self._error = error  # for the owner to read: a thread has nobody to raise to

    def _keep_time(self) -> None:
        timestep = self._physics.timestep()
        due = time.monotonic()
        while not self._stop.is_set():
            behind = time.monotonic() - due
            if behind > MAX_CATCH_UP_S:
                self._lost_s += behind
                due += behind
            elif behind >= 0.0:
                self.advance()
                due += timestep
            else:
                time.sleep(-behind)
