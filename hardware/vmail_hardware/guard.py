"""The guard between whoever commands and the servos. It holds; it never jumps.

Pure: no clock, no device, no thread. The driver tells it the time, what was commanded and what the joints do, and
writes what comes back. Every reason is a name, so that diagnostics and tests can rely on it.
"""

from __future__ import annotations

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.commanders import Commanders
from vmail_hardware.guard_limits import Limits
from vmail_hardware.guard_types import Command, Decision, Reason
from vmail_hardware.joint_state import JointState, ServoHealth
from vmail_hardware.standing import Settling, close_goals, standing_goals

__all__ = ["Command", "Decision", "Guard", "Reason"]

_PROMPT = 0.85  # of a control period; a command that comes sooner after the last one is too soon
_RECENT_S = 0.03  # a joint state is older only where a read failed
_DISPUTE = 3.5  # control periods in which two who command by turns are in dispute
_IMPOSSIBLE_ANGLE_RAD = 4.0 * np.pi  # servos turn once in position mode, and a joint's zero lies within that turn


class Guard:
    """Decides what is written to the servos.

    A good command is turned into goals once, when it comes, as the simulator does, `spec.limit_step` from the present
    position, and then as `Limits` says. Between commands nothing is written while all is well. When something is wrong
    it holds a pose: the last goals when the commander is at fault, the present position when the robot is. At an
    emergency stop joints that stand keep their goals, the others stop where they are (`standing_goals`). The pose held
    is never farther from the present position than one control period's travel, so a claw that somebody pushes gives
    way instead of fighting.

    Holds end by themselves with the next good command, except latched ones, which need `reset`.
    """

    def __init__(
        self,
        spec: RobotSpec,
        command_timeout_s: float = 0.35,
        state_timeout_s: float = 0.1,
        future_tolerance_s: float = 0.05,
        over_current_s: float = 0.1,
        temperature_hysteresis_c: float = 5.0,
        voltage_hysteresis_v: float = 0.3,
    ) -> None:
        """Start in a hold, without a command.

        Args:
            spec: limits of joints, speed, acceleration, current and temperature, and how the fingers are built.
            command_timeout_s: a command older than this (by its stamp) is not obeyed, and the last one obeyed ends.
                The default is three control periods at 10 Hz and some.
            state_timeout_s: joint states older than this count as a silent bus.
            future_tolerance_s: how far ahead of `now` a stamp may lie, for clocks that differ a little.
            over_current_s: how long a current must stay above the limit, and over how long it is smoothed to slow a
                joint down before that; contact gives short peaks.
            temperature_hysteresis_c: how far below the limit a servo must cool before motion goes on.
            voltage_hysteresis_v: how far above the limit a supply must come back before motion goes on.
        """
        self._spec = spec
        self._command_timeout = command_timeout_s
        self._state_timeout = state_timeout_s
        self._future_tolerance = future_tolerance_s
        self._over_current_s = over_current_s
        self._cool_enough_c = spec.max_temperature_c - temperature_hysteresis_c
        self._limits = Limits(spec)
        self._commanders = Commanders(_DISPUTE * spec.control_period)
        self._load_ma = np.zeros(spec.action_size)
        self._load_time = -np.inf
        self._temperature = dict.fromkeys(spec.servo_ids, -np.inf)
        self._voltage_enough = spec.min_voltage_v + voltage_hysteresis_v
        self._hot: dict[int, float] = {}
        self._weak: dict[int, float] = {}
        self._errors: dict[int, str] = {}
        self._current_high_since = np.full(spec.action_size, np.nan)
        self._pose: np.ndarray | None = None
        self._accepted_stamp: float | None = None
        self._obeyed = -np.inf  # when the last command was, by the clock of `check`
        self._latched: tuple[Reason, str] | None = None
        self._latches: list[Reason] = []  # all since the last reset
        self._stopped_by = np.inf  # time of the state that a stop went by, where that was an old one
        self._overloaded = np.zeros(spec.action_size, bool)  # joints whose current has been too high for too long
        self._settling = Settling(spec.action_size)
        self._holding = False  # since before this call
        self._begins = False  # a hold that is to look at how the joints stand
        self.forget_pose()

    @property
    def latched(self) -> Reason | None:
        """The reason that waits for `reset`, if any."""
        return self._latched[0] if self._latched else None

    @property
    def latches(self) -> tuple[Reason, ...]:
        """Everything that has latched since the last reset, also beneath `latched`, as it came."""
        return tuple(self._latches)

    def estop(self, detail: str = "emergency stop") -> None:
        """Stop, and hold until `reset`."""
        self._latch(Reason.ESTOP, detail)

    def reset(self) -> None:
        """End a latched hold. The robot stands until a new command comes; a cause that persists latches again.

        Joints that stand keep the goals that they are held at: with where they are, a little below, they would sink.
        """
        self._latched = None
        self._latches.clear()
        self._errors.clear()
        self._current_high_since[:] = np.nan
        self._commanders.reset()
        self._forget_command(Reason.NO_COMMAND_YET, "nobody commands yet")
        self._stopped_for_robot, self._begins = False, True

    def forget_pose(self) -> None:
        """The joints were limp, or the port was away, and they may be anywhere: the next hold is where they are then.

        Also of a latched hold, which goes on.
        """
        self._forget_command(Reason.NO_COMMAND_YET, "nobody commands yet")
        self._pose = None
        self._stopped_for_robot = self._begins = False

    def update_health(self, health: ServoHealth, torque_on: bool) -> None:
        """Take in one servo's health.

        Args:
            health: as `DynamixelBus.read_health` gives it.
            torque_on: whether the driver has switched torque on, and so expects it.
        """
        name = f"servo {health.servo_id} ({health.joint_name})"
        if health.hardware_error:
            self._errors[health.servo_id] = f"{name} reports {' and '.join(health.errors)}"
            self._latch(Reason.HARDWARE_ERROR, "; ".join(self._errors.values()))
        elif health.watchdog_tripped:
            self._latch(Reason.SERVO_WATCHDOG, f"{name} heard nothing for too long")
        elif torque_on and not health.torque_enabled:
            self._latch(Reason.TORQUE_LOST, f"{name} lost its torque; check its power")
        self._note_supply(health.servo_id, health.temperature_c, health.voltage_v)

    def _note_supply(self, servo_id: int, temperature_c: float, voltage_v: float) -> None:
        self._temperature[servo_id] = temperature_c
        if temperature_c > self._spec.max_temperature_c:
            self._hot[servo_id] = temperature_c
        elif servo_id in self._hot:
            self._hot[servo_id] = temperature_c
            if temperature_c <= self._cool_enough_c:
                del self._hot[servo_id]
        if voltage_v < (self._voltage_enough if servo_id in self._weak else self._spec.min_voltage_v):
            self._weak[servo_id] = voltage_v
        else:
            self._weak.pop(servo_id, None)

    def check(self, command: Command | None, state: JointState | None, now: float) -> Decision:
        """Decide what to write.

        Args:
            command: a command that has just come, given once; None at the ticks between commands.
            state: the newest state known, None if there is none. Pass the last one again when a read failed.
            now: seconds, in the clock of the stamps and of `state.time`.
        """
        if state is None:
            return self._blind(Reason.STATE_MISSING, "no joint state yet")
        trouble = self._state_trouble(state, now)
        if trouble is not None:
            return self._blind(*trouble)
        self._watch_robot(state)
        robot = self._latched or self._heat() or self._supply()
        if robot is not None:
            anew = self._stop(state, robot[0], now)
            self._forget_command(*robot)
            return self._hold(state, *robot, anew)
        if command is None:
            return self._between_commands(state, now)
        refusal = self._refusal(command, now)
        if refusal is not None and not refusal[0].holds:
            return self._decide(None, *refusal)
        if refusal is not None:
            self._forget_command(*refusal)
            return self._hold(state, *refusal)
        return self._obey(command, state, now)

    # A good command ----------------------------------------------------------------------------------------

    def _obey(self, command: Command, state: JointState, now: float) -> Decision:
        asked, hottest = np.asarray(command.positions, np.float64), max(self._temperature.values())
        desired = self._paced(asked, now)
        stay = state.position
        if self._pose is not None:
            stay = self._near(close_goals(self._pose, stay, state.current_ma, self._spec), stay)
        goals, reason, detail = self._limits.apply(desired, state, self._load_ma, hottest, stay)
        if reason is Reason.OK and np.any(desired != asked):
            reason, detail = (
                Reason.SPEED_LIMIT,
                "commands come faster than the robot's rate: limited by the time between",
            )
        self._accepted_stamp, self._obeyed = command.stamp, now
        self._pose = goals.copy()
        self._settling.note(goals, now)
        self._stopped_for_robot = self._begins = self._holding = False
        return self._decide(goals, reason, detail, fresh=True)

    def _paced(self, desired: np.ndarray, now: float) -> np.ndarray:
        """Limit the step from the last goals by the time since then, where commands come much faster than they should.

        Each command may lead a joint by a whole control period's travel. At ten times the rate that would let it run
        at nearly twice its speed limit. At the robot's own rate nothing changes, for there simulator and import reckon
        with `limit_step` alone; what comes a little early, as pictures do, counts as that.
        """
        elapsed = max(0.0, now - self._obeyed)
        if self._pose is None or elapsed > _PROMPT * self._spec.control_period:
            return desired
        travel = self._spec.max_joint_speed * elapsed
        return np.clip(desired, self._pose - travel, self._pose + travel)

    def _refusal(self, command: Command, now: float) -> tuple[Reason, str] | None:
        positions = np.asarray(command.positions)
        size = self._spec.action_size
        if positions.shape != (size,):
            return Reason.COMMAND_WRONG_SIZE, f"command has shape {positions.shape}, the robot has {size} joints"
        if not np.all(np.isfinite(positions)) or not np.isfinite(command.stamp):
            bad = np.flatnonzero(~np.isfinite(positions))
            return Reason.COMMAND_NOT_FINITE, f"not a number: {self._names(bad) or 'the stamp'}"
        age = now - command.stamp
        if age > self._command_timeout:
            return Reason.COMMAND_TOO_OLD, f"its picture was {age:.3f} s old, the limit is {self._command_timeout} s"
        if age < -self._future_tolerance:
            return Reason.COMMAND_STAMP_IN_FUTURE, f"its stamp is {-age:.3f} s ahead; synchronise the clocks"
        accepted = self._accepted_stamp
        if accepted is not None and command.stamp < accepted <= now + self._future_tolerance:
            return Reason.COMMAND_OUT_OF_ORDER, f"it is {accepted - command.stamp:.3f} s older than the last one"
        disputed = self._commanders.refusal(command.commander, now)
        return (Reason.TWO_COMMANDERS, disputed) if disputed else None

    # Holding -----------------------------------------------------------------------------------------------

    def _between_commands(self, state: JointState, now: float) -> Decision:
        if self._accepted_stamp is not None:
            age = now - self._accepted_stamp
            if -self._future_tolerance <= age <= self._command_timeout:
                return self._decide(None, Reason.OK, "waiting for the next command")
            late = f"no command for {age:.3f} s, the limit is {self._command_timeout} s"
            self._forget_command(Reason.COMMAND_TOO_OLD, late)
        before, _ = self._idle
        if before.is_of_robot:  # a temperature of then would tell nothing about now
            self._forget_command(Reason.NO_COMMAND_YET, f"no command since {before} was over")
        return self._hold(state, *self._idle)

    def _blind(self, reason: Reason, detail: str) -> Decision:
        """Where the joints are is not known: nothing can be written safely, and no command goes on later.

        The servos go on to hold their goals meanwhile. Whether they do is looked at when the joints are seen again.
        """
        self._forget_command(Reason.NO_COMMAND_YET, "no command since joint states came back")
        self._stopped_for_robot, self._begins = False, True
        return self._decide(None, *(self._latched or (reason, detail)))

    def _hold(self, state: JointState, reason: Reason, detail: str, anew: bool = False) -> Decision:
        """Stay at the held pose, as far as it is within reach of the present position."""
        if self._begins or self._pose is None:
            self._pose, self._begins = self._where_it_stands(state), False
        goals = self._near(self._pose, state.position)
        if not self._holding:  # what is written is what the servos pursue, and what a stop is to know
            self._pose, self._holding = goals, True
        return self._decide(goals, reason, detail, anew=anew)

    def _near(self, pose: np.ndarray, present: np.ndarray) -> np.ndarray:
        """The pose within one period's travel of the present, and never farther outside the limits than it."""
        reach = self._spec.max_joint_speed * self._spec.control_period
        goals = np.clip(pose, np.minimum(self._spec.lower, present), np.maximum(self._spec.upper, present))
        return np.clip(goals, present - reach, present + reach)

    def _stop(self, state: JointState, reason: Reason, now: float) -> bool:
        """Hold from the moment on at which the robot was found to be in trouble.

        Where the present position is, which takes the load off the servos as far as it comes from pushing. An
        emergency stop tells of no load, so joints that stand do not give up their goals for it and sink. A joint that
        is overloaded while it is held so is held where it is then. A stop that went by an old state, for reads failed,
        is done anew by the next one: the joints moved on meanwhile, and would be driven back. Returns whether the pose
        is another than before.
        """
        if self._stopped_for_robot and self._pose is not None and state.time <= self._stopped_by:
            self._pose = np.where(self._overloaded, state.position, self._pose)
            return bool(self._overloaded.any())
        self._pose = self._where_it_stands(state) if reason is Reason.ESTOP else state.position.copy()
        self._stopped_for_robot, self._begins = True, False
        self._stopped_by = state.time if now - state.time > _RECENT_S else np.inf
        return True

    def _where_it_stands(self, state: JointState) -> np.ndarray:
        if self._pose is None:
            return state.position.copy()
        stay = standing_goals(self._pose, state.position, state.velocity, state.current_ma, self._spec)
        return np.where(self._settling.settled(state.time), stay, state.position)

    def _forget_command(self, reason: Reason, detail: str) -> None:
        self._idle = (reason, detail)
        self._accepted_stamp = None

    # The robot ---------------------------------------------------------------------------------------------

    def _state_trouble(self, state: JointState, now: float) -> tuple[Reason, str] | None:
        size = self._spec.action_size
        for values in (state.position, state.velocity, state.current_ma):
            if np.shape(values) != (size,) or not np.all(np.isfinite(values)):
                return Reason.STATE_MISSING, f"joint state is not {size} finite numbers"
        impossible = np.flatnonzero(np.abs(state.position) > _IMPOSSIBLE_ANGLE_RAD)
        if impossible.size:
            return Reason.STATE_MISSING, f"no servo in position mode has such an angle: {self._names(impossible)}"
        age = now - state.time
        if not -self._future_tolerance <= age <= self._state_timeout:
            return Reason.BUS_SILENT, f"joint state is {age:.3f} s old, the limit is {self._state_timeout} s"
        return None

    def _watch_robot(self, state: JointState) -> None:
        if state.alerts and self._latched is None:
            ids = ", ".join(str(servo_id) for servo_id in state.alerts)
            self._latch(Reason.HARDWARE_ERROR, f"hardware alert of servo {ids}")
        if state.temperature_c is not None and state.voltage_v is not None:
            supplies = zip(self._spec.servo_ids, state.temperature_c.tolist(), state.voltage_v.tolist(), strict=True)
            for servo in supplies:
                self._note_supply(*servo)
        share = np.clip((state.time - self._load_time) / self._over_current_s, 0.0, 1.0)
        self._load_ma, self._load_time = self._load_ma + share * (state.current_ma - self._load_ma), state.time
        high = np.abs(state.current_ma) > self._spec.max_current_ma
        since = np.fmin(self._current_high_since, state.time)  # which a clock that was set back is not behind
        self._overloaded = high & (state.time - since >= self._over_current_s)
        self._current_high_since = np.where(high & ~self._overloaded, since, np.nan)
        too_long = np.flatnonzero(self._overloaded)
        if too_long.size:
            most = float(np.max(np.abs(state.current_ma[too_long])))
            limit = self._spec.max_current_ma
            self._latch(Reason.OVER_CURRENT, f"{most:.0f} mA in {self._names(too_long)}, the limit is {limit:.0f} mA")

    def _heat(self) -> tuple[Reason, str] | None:
        if not self._hot:
            return None
        servo_id, temperature = max(self._hot.items(), key=lambda item: item[1])
        return (
            Reason.OVER_TEMPERATURE,
            f"servo {servo_id} has {temperature:.0f} C; motion goes on below {self._cool_enough_c:.0f} C",
        )

    def _supply(self) -> tuple[Reason, str] | None:
        if not self._weak:
            return None
        servo_id, voltage = min(self._weak.items(), key=lambda item: item[1])
        return (
            Reason.LOW_VOLTAGE,
            f"servo {servo_id} has {voltage:.1f} V: check its supply; motion goes on at {self._voltage_enough:.1f} V",
        )

    def _latch(self, reason: Reason, detail: str) -> None:
        if reason not in self._latches:
            self._latches.append(reason)
        told_more = self._latched is not None and self._latched[0] is reason is Reason.HARDWARE_ERROR
        if self._latched is None or told_more or reason is Reason.ESTOP:
            self._latched = (reason, detail)

    def _names(self, indices: np.ndarray) -> str:
        return ", ".join(self._spec.joint_names[index] for index in indices)

    @staticmethod
    def _decide(
        goals: np.ndarray | None, reason: Reason, detail: str, fresh: bool = False, anew: bool = False
    ) -> Decision:
        return Decision(goals=goals, holding=reason.holds, reason=reason, detail=detail, fresh=fresh, anew=anew)
