"""Where teleoperation commands come from: an expert that sees the twin's full state, or keys in a terminal.

The others are in files of their own: `gamepad_source`, `leader_source`, `kinesthetic_source` and `replay_source`.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from sensor_msgs.msg import JointState

from vmail_core.robot import RobotSpec
from vmail_nodes.joint_source import StayingSource
from vmail_nodes.keyboard import (
    ESTOP_KEY,
    HANDOVER_KEY,
    HELP_KEY,
    LOWER_KEYS,
    NO_JOINTS,
    RAISE_KEYS,
    RECORDER_HELP,
    SHOW_KEY,
    JointKeys,
    help_line,
)
from vmail_nodes.messages import ns_from_time, positions_from_joint_state, velocities_from_joint_state
from vmail_nodes.take_keys import SPECIAL_KEYS, Keys, open_keys

REMEMBERED = 20  # states or frames that wait for their partner; more than two means that one of them is lost
SETTLED_S = 0.7  # after its last key a joint is there, or stuck
SAME_RAD = 0.02  # nearer than that, what is asked for and what the guard lets through are the same


class Source(Protocol):
    """Gives desired joint positions for camera frames. `command` returns each frame at most once."""

    topic: str
    message_type: type
    starts_by_itself: bool
    finished: str  # why it has nothing more to command; empty while it has
    wants_estop: bool  # somebody asks for an emergency stop
    wants_handover: bool  # somebody asks that control passes to the policy, or comes back
    limp: bool  # whether the hand's torque is to be off

    def open(self) -> None:
        """Take over devices."""

    def close(self) -> None:
        """Give them back; any number of times."""

    def begin(self) -> None:
        """A new episode starts now."""

    def add_state(self, message: Any) -> None:
        """A message of `topic`. Raises ValueError when it lacks joints."""

    def add_frame(self, stamp_ns: int) -> None:
        """A camera frame arrived."""

    def command(self) -> tuple[int, np.ndarray] | None:
        """The stamp of the frame that is due and desired positions (N,) rad, or None when nothing is due."""

    def on_hold(self) -> None:
        """The driver does not obey any more; called again and again until it does."""

    def on_obeyed(self) -> None:
        """The driver sent a command, or there is no driver of vmail's that would say so."""

    def poll(self) -> str:
        """Called 20 times a second; returns a line for the log, or nothing."""


class ExpertSource:
    """A state-feedback expert on `twin/state`, paired with camera frames by their equal stamps."""

    topic = "twin/state"
    message_type = JointState
    starts_by_itself = False
    finished = ""
    wants_estop = wants_handover = limp = False

    def __init__(self, spec: RobotSpec, task: str, expert: str) -> None:
        """Load the expert (a task's name or a file). Raises FileNotFoundError or ValueError with the next step."""
        # Imported here: keyboard teleoperation runs on computers without the simulator.
        from vmail_sim.dclaw.model import VALVE_JOINT
        from vmail_sim.dclaw.valve import parse_task, valve_state
        from vmail_sim.experts import load_expert

        self._spec, self._expert, self._valve_state = spec, load_expert(expert), valve_state
        self._prongs, _direction = parse_task(task)
        self._names = [*spec.joint_names, VALVE_JOINT]
        self.begin()

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def begin(self) -> None:
        """Forget the last action, as an episode of the task does."""
        self._last_action = np.zeros(self._spec.action_size, np.float32)
        self._states: collections.OrderedDict[int, tuple[np.ndarray, np.ndarray]] = collections.OrderedDict()
        self._frame: int | None = None

    def add_state(self, message: JointState) -> None:
        """Keep the twin's state until its frame comes."""
        self._states[ns_from_time(message.header.stamp)] = (
            positions_from_joint_state(message, self._names),
            velocities_from_joint_state(message, self._names),
        )
        while len(self._states) > REMEMBERED:
            self._states.popitem(last=False)

    def add_frame(self, stamp_ns: int) -> None:
        """The newest frame is the one to act on."""
        self._frame = stamp_ns

    def command(self) -> tuple[int, np.ndarray] | None:
        """The expert's request, once frame and state of one stamp are both here."""
        if self._frame is None or self._frame not in self._states:
            return None
        stamp_ns, (positions, velocities) = self._frame, self._states[self._frame]
        self._frame = None
        state = self._valve_state(
            self._prongs, positions[:-1], velocities[:-1], positions[-1], velocities[-1], self._last_action
        )
        self._last_action = self._expert(state)
        return stamp_ns, self._spec.desired_positions(self._last_action)

    def on_hold(self) -> None:
        """The expert sees where the joints are, at every step."""

    def on_obeyed(self) -> None:
        """The expert waits for nobody."""

    def poll(self) -> str:
        """Nothing to watch."""
        return ""


class KeyboardSource(StayingSource):
    """Absolute joint targets moved by keys, sent with every camera frame. Nothing moves before a key is pressed.

    Attributes:
        take_keys: what was pressed of the recorder's keys; whoever serves them empties the list.
        shown: lines that are to be told whoever commands; whoever prints them empties the list.
        recorder: whether a recorder is there, which the help then tells of.
    """

    def __init__(self, spec: RobotSpec, step: float) -> None:
        """Keys move a joint by `step` of its full scale."""
        self.wants_estop = self.wants_handover = False
        self.take_keys: list[str] = []
        self.shown: list[str] = []
        self.recorder = False
        self._keys = JointKeys(spec, step)
        self._terminal: Keys | None = None
        self._show_at = np.inf  # when the joint that was moved last is told of
        self._goal_then: float | None = None  # of that joint, when it was on its way at the last look
        super().__init__(spec)

    def open(self) -> None:
        """Take over the terminal. Raises OSError when there is none."""
        self._terminal = open_keys()
        if self._terminal is None:
            raise OSError(
                "keyboard teleoperation needs a terminal as standard input; "
                "start it in one of its own: python -m vmail_nodes.teleop --ros-args -p mode:=keyboard"
            )
        print(help_line(self._spec), flush=True)

    def close(self) -> None:
        """Restore the terminal."""
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None

    def begin(self) -> None:
        """Start from where the hand is, once that is known."""
        super().begin()
        self._keys.target = None

    def add_state(self, message: JointState) -> None:
        """Where the joints are now. Raises ValueError when the message lacks some."""
        super().add_state(message)
        if self._keys.target is None and self._here is not None:
            self._keys.target = self._here.copy()

    def command(self) -> tuple[int, np.ndarray] | None:
        """The target as the keys left it."""
        if self._keys.target is None or (due := self.due()) is None:
            return None
        return due[0], self._keys.target.copy()

    def on_hold(self) -> None:
        """Keys that were pressed meanwhile count for nothing: go on from where the hand is then."""
        self._keys.target = None

    def poll(self) -> str:
        """Read keys and move the target."""
        return "" if self._terminal is None else self.press(self._terminal.typed(), time.monotonic())

    def press(self, keys: Sequence[str], now: float) -> str:
        """Take keys, as `Keys.typed` gives them, at `now` (seconds of any steady clock); returns as `poll`."""
        keys = [key.lower() if len(key) == 1 else key for key in keys]  # Caps Lock must not be in a stop's way
        self.wants_estop |= ESTOP_KEY in keys
        self.wants_handover |= HANDOVER_KEY in keys
        self.take_keys += [SPECIAL_KEYS[key] for key in keys if key in SPECIAL_KEYS]
        others = {*SPECIAL_KEYS, ESTOP_KEY, HANDOVER_KEY}
        said = [self._press(key, now) for key in keys if key not in others]
        if now >= self._show_at and self._keys.selected is not None:
            self._show(self._keys.selected, now)
        return "; ".join(line for line in said if line)

    def _press(self, key: str, now: float) -> str:
        if key == SHOW_KEY:
            self.shown.append(self._angles(range(self._spec.action_size)))
            return ""
        if key == HELP_KEY:
            self.shown += [help_line(self._spec), *([RECORDER_HELP] if self.recorder else [])]
            return ""
        if key in RAISE_KEYS + LOWER_KEYS:
            self._show_at, self._goal_then = now + SETTLED_S, None
        return self._keys.press(key, self._here)

    def _show(self, joint: int, now: float) -> None:
        """Tell where a joint came to; one that is not where it is asked to be, once it gets no nearer."""
        limited, target = "", self._keys.target
        if target is not None and self._goals is not None and abs(self._goals[joint] - target[joint]) > SAME_RAD:
            before, self._goal_then = self._goal_then, float(self._goals[joint])
            if before is None or abs(self._goal_then - before) > SAME_RAD / 10.0:
                self._show_at = now + SETTLED_S
                return
            limited = f"; {target[joint]:+.2f} was asked for, the guard lets it go no farther"
        self._show_at, self._goal_then = np.inf, None
        self.shown.append(self._angles([joint]) + limited)

    def _angles(self, joints: Iterable[int]) -> str:
        """Where joints (indices) are and what is asked of them, in one line."""
        if self._present is None:
            return NO_JOINTS
        # The driver's goals, as limited by its guard, are what the servos pursue; other controllers tell none.
        asked = self._keys.target if self._goals is None else self._goals
        names = self._spec.joint_names
        measured = {joint: f"{names[joint]} {self._present[joint]:+.2f}" for joint in joints}
        told = [text if asked is None else f"{text} ({asked[joint]:+.2f})" for joint, text in measured.items()]
        return f"rad, measured (commanded): {', '.join(told)}"
