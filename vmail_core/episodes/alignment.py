"""Which picture, which joints, which action at this tick: the one alignment of bag import and live runner.

Messages go in as they arrive; rows come out as contract 2 has them. `LiveAlignment` gives the row of a frame when the
frame arrives, and the frames' stamps alone decide which are ticks. `BagAlignment` knows what was commanded: a tick is
a frame that a command carries the stamp of, and the frame that the last one led to closes the run. A row continues the
one before it only if a command was sent for that one. Both give the same runs for the same messages in the same order.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np

from vmail_core.episodes.frames import resize_frame
from vmail_core.episodes.ticker import GAP_PERIODS, Ticker
from vmail_core.robot import RobotSpec

__all__ = ["BagAlignment", "LiveAlignment", "Row", "Ticker", "action_of_tick", "resize_frame", "segments"]

# Two ticks of a Dynamixel position register (2 pi / 4096 rad), and some for rounding.
SENT_TOLERANCE = 2 * 2 * np.pi / 4096 + 1e-4
# The driver limits a step from a reading of its own, which joint_states may bring a little before or after the command.
_PRESENT_BEFORE_NS = 40_000_000
_PRESENT_AFTER_NS = 20_000_000
_HISTORY_NS = 2_000_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One tick.

    Attributes:
        stamp_ns: the frame's stamp.
        image: (H, W, 3) uint8, at the size that the model sees.
        joint_positions: (A,) float32 rad, the last joint state stamped at or before the frame.
        action: (A,) float32, the action that led to this frame; zero where a run begins.
        first: whether a run begins here: the row does not continue the one before it.
        reason: why it begins; empty in the middle of a run.
    """

    stamp_ns: int
    image: np.ndarray
    joint_positions: np.ndarray
    action: np.ndarray
    first: bool
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Message:
    """Positions (A,) rad with a stamp; `order` counts messages in order of arrival."""

    order: int
    stamp_ns: int
    positions: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Frame:
    order: int
    stamp_ns: int
    tolerance_ns: int
    image: np.ndarray
    joints: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Sent(_Message):
    """With the stamp of the last joint state that came before it."""

    joints_ns: int


def action_of_tick(
    robot: RobotSpec, request: np.ndarray | None, sent: np.ndarray, present: Iterable[np.ndarray]
) -> np.ndarray:
    """Give the action that a tick is stored with: what was asked for, unless the guard changed it.

    Args:
        robot: the robot spec.
        request: (A,) rad from `joint_commands`; None when that message was lost.
        sent: (A,) rad from `joint_commands_sent`, after the guard.
        present: joint positions (A,) rad, any of which the guard may have limited the step from.

    Returns:
        (A,) float32. The request's action where `sent` is that request after `RobotSpec.limit_step`, which the
        simulator and the guard apply alike; otherwise (a hold) the action of `sent` itself.
    """
    readings = np.array(list(present), np.float64)
    if request is not None and readings.size:
        # limit_step is monotone in the present position, so the readings' range bounds what the guard may have sent.
        lowest = robot.limit_step(request, readings.min(axis=0)) - SENT_TOLERANCE
        highest = robot.limit_step(request, readings.max(axis=0)) + SENT_TOLERANCE
        if np.all(sent >= lowest) and np.all(sent <= highest):
            return robot.action_of(request)
    return robot.action_of(sent)


def segments(rows: Iterable[Row]) -> list[list[Row]]:
    """Split rows into runs without a break. Runs of a single row hold no action and are left out."""
    runs: list[list[Row]] = []
    for row in rows:
        if row.first:
            runs.append([])
        runs[-1].append(row)
    return [run for run in runs if len(run) > 1]


class _Alignment:
    """What both share: joint history, commands, and how a frame becomes a row."""

    def __init__(self, robot: RobotSpec, image_size: tuple[int, int] | None = None) -> None:
        """Align for `robot`; frames are resized to `image_size` (height, width), by default the spec's camera's."""
        self.robot = robot
        self.image_size = image_size or (robot.camera_height, robot.camera_width)
        self.ticker = Ticker(robot.control_rate_hz)
        self._order = 0
        self._joints: collections.deque[_Message] = collections.deque()
        self._requests: dict[int, np.ndarray] = {}
        self._sent: dict[int, _Sent] = {}
        self._last: _Frame | None = None

    @property
    def counts(self) -> collections.Counter[str]:
        """Reason to number of messages that gave no row."""
        return self.ticker.counts

    def on_joint_states(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Note a joint state: positions (A,) rad in the spec's order."""
        message = self._message("joint_states", stamp_ns, positions)
        if self._joints and stamp_ns < self._joints[-1].stamp_ns:
            self.counts["joint state out of order"] += 1
            return
        self._joints.append(message)
        while stamp_ns - self._joints[0].stamp_ns > _HISTORY_NS:
            self._joints.popleft()

    def on_request(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Note a message of `joint_commands`: the frame's stamp and the positions (A,) rad that were asked for."""
        self._requests[stamp_ns] = self._message("joint_commands", stamp_ns, positions).positions

    def on_sent(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Note a message of `joint_commands_sent`: the frame's stamp and the positions (A,) rad that were written."""
        message = self._message("joint_commands_sent", stamp_ns, positions)
        if stamp_ns in self._sent:
            self.counts["command sent twice"] += 1
            return
        newest = self._joints[-1].stamp_ns if self._joints else 0
        self._sent[stamp_ns] = _Sent(message.order, stamp_ns, message.positions, newest)

    def _frame(self, stamp_ns: int, image: np.ndarray) -> _Frame | None:
        """Pair a frame with its joints; None, and counted, when it repeats, is late or has no joint state."""
        self._order += 1
        if not self.ticker.see(stamp_ns):
            return None
        joints = self._joints_at(stamp_ns)
        if joints is None:
            return None
        return _Frame(self._order, stamp_ns, self.ticker.tolerance_ns(), image, joints.positions)

    def _joints_at(self, stamp_ns: int) -> _Message | None:
        """The joint state that goes with a frame; None, and counted, when there is none that is new enough."""
        before = next((joints for joints in reversed(self._joints) if joints.stamp_ns <= stamp_ns), None)
        if before is None:
            self.counts["no joint state before the frame"] += 1
            return None
        if stamp_ns - before.stamp_ns > self.ticker.period_ns:
            self.counts["joint state older than a control period"] += 1
            return None
        return before

    def _row(self, frame: _Frame) -> Row:
        """Make the frame a tick."""
        reason = self._break(frame)
        action = np.zeros(self.robot.action_size, np.float32) if reason else self._action_before(frame)
        self.ticker.take(frame.stamp_ns)
        self._last = frame
        self._forget(frame.stamp_ns)
        image = resize_frame(frame.image, self.image_size)
        return Row(frame.stamp_ns, image, frame.joints.astype(np.float32), action, bool(reason), reason)

    def _break(self, frame: _Frame) -> str:
        """Why the frame does not continue the last one; empty when it does."""
        if self._last is None:
            return "start"
        if frame.stamp_ns - self._last.stamp_ns > GAP_PERIODS * self.ticker.period_ns:
            return f"gap of {(frame.stamp_ns - self._last.stamp_ns) / 1e9:.2f} s between frames"
        sent = self._sent.get(self._last.stamp_ns)
        if sent is None:
            return "no command was sent for the frame before"
        if sent.order > frame.order:
            return "the command for the frame before was sent after this frame"
        return ""

    def _action_before(self, frame: _Frame) -> np.ndarray:
        """The action (A,) that led to this frame, from what had arrived when the frame did."""
        assert self._last is not None
        sent = self._sent[self._last.stamp_ns]
        earliest, latest = sent.joints_ns - _PRESENT_BEFORE_NS, sent.joints_ns + _PRESENT_AFTER_NS
        present = [
            joints.positions
            for joints in self._joints
            if earliest <= joints.stamp_ns <= latest and joints.order < frame.order
        ]
        return action_of_tick(self.robot, self._requests.get(sent.stamp_ns), sent.positions, present)

    def _forget(self, stamp_ns: int) -> None:
        """Drop what no later tick needs, so that a run of days keeps its size."""
        for table in (self._requests, self._sent):
            for old in [stamp for stamp in table if stamp < stamp_ns - _HISTORY_NS]:
                del table[old]

    def _message(self, topic: str, stamp_ns: int, positions: np.ndarray) -> _Message:
        self._order += 1
        positions = np.asarray(positions, np.float64)
        if positions.shape != (self.robot.action_size,) or not np.isfinite(positions).all():
            raise ValueError(
                f"{topic}: needs {self.robot.action_size} finite positions for robot {self.robot.name}; "
                f"got {positions.tolist()}"
            )
        return _Message(self._order, stamp_ns, positions)


class LiveAlignment(_Alignment):
    """For the runner: feed it every message as it arrives; a frame that is a tick comes back as its row.

    The runner commands on each row. A row with `first` set begins a run, as an episode does: its action is zero, and
    the filter starts anew. That happens at the start, after a gap, and when the last command was never sent.

    Attributes:
        unpaired_since_ns: stamp of the first frame of the present run of frames without a new enough joint state; None
            when the last frame had one.
    """

    def __init__(self, robot: RobotSpec, image_size: tuple[int, int] | None = None) -> None:
        """Align for `robot`; frames are resized to `image_size` (height, width), by default the spec's camera's."""
        super().__init__(robot, image_size)
        self.unpaired_since_ns: int | None = None

    def on_image(self, stamp_ns: int, image: np.ndarray) -> Row | None:
        """Give the row of this frame, image (H, W, 3) uint8; None when it is not a tick, and `counts` says why."""
        frame = self._frame(stamp_ns, image)
        if frame is None or not self.ticker.is_due(stamp_ns):
            return None
        return self._row(frame)

    def _joints_at(self, stamp_ns: int) -> _Message | None:
        joints = super()._joints_at(stamp_ns)
        if joints is not None:
            self.unpaired_since_ns = None
        elif self.unpaired_since_ns is None:
            self.unpaired_since_ns = stamp_ns
        return joints


class BagAlignment(_Alignment):
    """For the import: feed it a bag in order of log time, then take `rows()`."""

    def __init__(self, robot: RobotSpec, image_size: tuple[int, int] | None = None) -> None:
        """As for `LiveAlignment`."""
        super().__init__(robot, image_size)
        self._pending: collections.deque[_Frame] = collections.deque()
        self._rows: list[Row] = []
        self._ticks: set[int] = set()
        self._sent_stamps: set[int] = set()

    def on_image(self, stamp_ns: int, image: np.ndarray) -> None:
        """Note a frame (H, W, 3) uint8; whether it is a tick shows when its command comes."""
        frame = self._frame(stamp_ns, image)
        if frame is None:
            return
        self._pending.append(frame)
        if stamp_ns - self._pending[0].stamp_ns > _HISTORY_NS:
            # No command comes this late, and a camera that runs on for minutes must not fill the memory.
            self._close_run(before_ns=stamp_ns)
            self._drop_pending(stamp_ns - _HISTORY_NS)
        if stamp_ns in self._requests or stamp_ns in self._sent:
            self._tick(stamp_ns)  # to a recorder a command can come before its frame, which is larger

    def on_request(self, stamp_ns: int, positions: np.ndarray) -> None:
        """As in the base; the frame with this stamp is now known to be a tick."""
        super().on_request(stamp_ns, positions)
        self._tick(stamp_ns)

    def on_sent(self, stamp_ns: int, positions: np.ndarray) -> None:
        """As in the base; the frame with this stamp is a tick, also where the request was lost."""
        super().on_sent(stamp_ns, positions)
        self._sent_stamps.add(stamp_ns)
        self._tick(stamp_ns)

    def rows(self) -> list[Row]:
        """All rows, after the last message."""
        self._close_run(before_ns=None)
        lost = self._sent_stamps - self._ticks
        if lost:
            self.counts["command without its frame"] = len(lost)
        return self._rows

    def _tick(self, stamp_ns: int) -> None:
        frame = next((frame for frame in self._pending if frame.stamp_ns == stamp_ns), None)
        if frame is not None:
            self._close_run(before_ns=stamp_ns)
            self._add(frame)

    def _close_run(self, before_ns: int | None) -> None:
        """Add the uncommanded frame that the last command led to, if there is one before the next tick."""
        if self._last is None or self._last.stamp_ns not in self._sent:
            return
        due = (frame for frame in self._pending if self.ticker.is_due(frame.stamp_ns, frame.tolerance_ns))
        closing = next(due, None)
        if closing is None or (before_ns is not None and closing.stamp_ns >= before_ns) or self._break(closing):
            return
        self._add(closing)

    def _add(self, frame: _Frame) -> None:
        self._rows.append(self._row(frame))
        self._ticks.add(frame.stamp_ns)
        self._drop_pending(frame.stamp_ns)

    def _drop_pending(self, until_ns: int) -> None:
        while self._pending and self._pending[0].stamp_ns <= until_ns:
            self._pending.popleft()
