"""Breaks things by the schedule of soak_faults, and notes what the nodes make of it."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from soak_faults import ESTOP, KICK, Event

from vmail.ros_client import RosClient, ServiceRefused
from vmail_nodes.diagnostics import reason_of, value_of
from vmail_nodes.qos import SENSOR_RECORDER
from vmail_nodes.raw_message import stamp_ns as stamp_of

RECOVERY_S = 30.0
DRIVER, TWIN = "dynamixel_driver", "twin"
WAITING = ("no_command_yet", "command_too_old")  # also what the driver says when its operator lets it stand
SILENCE_S = 0.7  # from a commander's last command until the driver says so, and some


@dataclasses.dataclass
class Outcome:
    """What came of an event.

    Attributes:
        event: it.
        at: seconds since the start.
        moving: whether the hand moved when it began.
        holds: reasons with which the driver held, in order, without those that the operator was the cause of.
        hold_after: seconds from its beginning to the first of them.
        recovered_after: seconds from its end until the driver obeyed commands again; None where it did not.
    """

    event: Event
    at: float
    moving: bool
    holds: list[str] = dataclasses.field(default_factory=list)
    hold_after: float | None = None
    recovered_after: float | None = None


class Watch(RosClient):
    """At work in `run`. What it found may be read from other threads.

    Attributes:
        outcomes: of the events that are over.
        reasons: how often each node changed to each of its reasons.
        unsafe: how many unsafe commands the twin has counted, and the first of them in words.
        stray: reasons with which the driver held while nothing was broken: of a machine that was busy, for example.
        silence: the longest time without a word from each node, seconds.
        ticks: joint states in each second in which all was well.
        doing: the event that is going on.
    """

    def __init__(
        self, events: Iterator[Event], commanded: Callable[[int, int], bool], check: Callable[[], None]
    ) -> None:
        """`commanded` says whether the operator had somebody command from one time to another."""
        super().__init__("soak_watch", check)
        self.outcomes: list[Outcome] = []
        self.reasons: collections.Counter[tuple[str, str]] = collections.Counter()
        self.unsafe, self.unsafe_texts = 0, list[str]()
        self.stray: collections.Counter[str] = collections.Counter()
        self.silence: collections.defaultdict[str, float] = collections.defaultdict(float)
        self.ticks: list[int] = []
        self.doing = ""
        self._events, self._commanded = events, commanded
        self._began = time.monotonic()
        self._heard: dict[str, float] = {}
        self._last: dict[str, str] = {}
        self._driver: list[tuple[int, str]] = []  # its changes since the event, or the quiet, in progress began
        self._ok_ns = 0
        self._stamps: list[int] = []
        self.node.create_subscription(JointState, "joint_states", self._on_joints, SENSOR_RECORDER, raw=True)

    def run(self) -> None:
        """Event after event, until `check` raises."""
        for event in self._events:
            self._quiet(event.gap)
            self._let_happen(event)

    def hear(self, status: DiagnosticStatus, stamp_ns: int) -> None:
        """A node's status."""
        now, reason, name = time.monotonic(), reason_of(status), status.name
        self.silence[name] = max(self.silence[name], now - self._heard.get(name, now))
        self._heard[name] = now
        if name == DRIVER and reason == "ok":
            self._ok_ns = stamp_ns
        if self._last.get(name) != reason:
            self._last[name] = reason
            self.reasons[name, reason] += 1
            if name == DRIVER:
                self._driver.append((stamp_ns, reason))
        if name == TWIN:
            counted = int(value_of(status, "unsafe_commands") or 0)
            if counted > self.unsafe:
                self.unsafe = counted
                self.unsafe_texts.append(f"{now - self._began:.1f} s, {self.doing or 'all well'}: {status.message}")

    def _quiet(self, seconds: float) -> None:
        """All is well for so long: count the driver's ticks in each whole second, by their stamps."""
        self._stamps.clear()
        self._driver.clear()
        self.spin(seconds)
        self.stray.update(reason for _, reason in self._holds())
        stamps = np.array(self._stamps)
        if stamps.size:
            whole = (stamps[-1] - stamps[0]) // 10**9
            self.ticks += np.bincount((stamps - stamps[0]) // 10**9, minlength=whole)[:whole].tolist()

    def _let_happen(self, event: Event) -> None:
        began_ns = time.time_ns()
        moving = self._last.get(DRIVER) == "ok" and self._commanded(began_ns, began_ns)
        outcome = Outcome(event, round(time.monotonic() - self._began, 1), moving)
        self.doing = event.script or event.kinds[0]
        self._driver.clear()
        self._cause(event)
        self.spin(event.seconds)
        ended_ns = time.time_ns()
        try:
            self.wait(lambda: self._ok_ns > ended_ns, RECOVERY_S, lambda: "the driver did not go on")
            outcome.recovered_after = (self._ok_ns - ended_ns) * 1e-9
        except TimeoutError:
            outcome.recovered_after = None
        held = self._holds()
        outcome.holds = [reason for _, reason in held]
        outcome.hold_after = (held[0][0] - began_ns) * 1e-9 if held else None
        self.outcomes.append(outcome)
        self.doing = ""

    def _holds(self) -> list[tuple[int, str]]:
        """When and why the driver held of late, where it was not for an operator that let it stand."""
        return [(at_ns, reason) for at_ns, reason in self._driver if reason != "ok" and self._is_own(reason, at_ns)]

    def _is_own(self, reason: str, stamp_ns: int) -> bool:
        return reason not in WAITING or self._commanded(stamp_ns - round(SILENCE_S * 1e9), stamp_ns)

    def _cause(self, event: Event) -> None:
        try:
            if event.kinds == (KICK,):
                self.trigger(f"{TWIN}/kick")
            elif event.kinds == (ESTOP,):
                self.trigger(f"{DRIVER}/estop")
            else:
                self.set_parameter(TWIN, "faults", event.script)
        except (ServiceRefused, TimeoutError) as error:
            self.reasons["soak", str(error)] += 1

    def _on_joints(self, data: bytes) -> None:
        self._stamps.append(stamp_of(data))
