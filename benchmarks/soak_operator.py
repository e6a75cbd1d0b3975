"""Does what an operator would do, for hours: starts, takes, expert and policy by turns, and mends what is broken."""

from __future__ import annotations

import collections
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from std_srvs.srv import SetBool

from vmail.ros_client import RosClient, ServiceRefused
from vmail.takes import read_take
from vmail_core.robot import RobotSpec
from vmail_hardware.guard import Reason
from vmail_nodes.diagnostics import reason_of

COMMANDERS = ("teleop", "policy_runner")
BUSY = {"teleop": ("running", "waiting", "camera_too_old", "state_missing"), "policy_runner": ("running", "waiting")}
NEEDS_RESET = tuple(reason.value for reason in Reason if reason.is_latched)
NEEDS_TORQUE = ("torque_off", "torque_may_be_on")
TAKE_S, REACTION_S, LOOK_S = (3.0, 10.0), (0.2, 1.0), 0.2
AGAIN_S = 1.3  # a node says how it is once a second
DISCARDED, REGRETTED = 0.2, 0.1  # share of takes that are discarded at once, and right after they were kept
NOTHING_ON = "has no messages on"  # a topic that an import needs
KEPT_ON_DISK = 5  # the others are deleted once they have been read
COUNTS = re.compile(r"kept (.+): (\d+) frames, (\d+) commands")


class Operator(RosClient):
    """At work in `run`. The numbers may be read from other threads.

    Attributes:
        takes: how many were kept, put aside ("rejected"), discarded, not begun and failed.
        trouble: what is wrong with takes, one line each; must stay empty.
        calls: services that refused or did not answer, with how often.
    """

    def __init__(self, folder: Path, robot: RobotSpec, seed: int, check: Callable[[], None]) -> None:
        """Takes go to `folder`."""
        super().__init__("soak_operator", check)
        self.takes: collections.Counter[str] = collections.Counter()
        self.trouble: list[str] = []
        self.calls: collections.Counter[str] = collections.Counter()
        self._folder, self._robot, self._draw = folder, robot, random.Random(seed)
        self._commanding: list[tuple[int, bool]] = [(0, False)]
        self._called: dict[str, float] = {}

    def commanded(self, since_ns: int, until_ns: int) -> bool:
        """Whether somebody was to command all the time from one moment to another."""
        log = list(self._commanding)
        before = [on for at_ns, on in log if at_ns <= since_ns][-1:]
        return all(before + [on for at_ns, on in log if since_ns < at_ns <= until_ns])

    def run(self) -> None:
        """Take after take, until `check` raises."""
        while True:
            for commander in COMMANDERS:
                self._take(commander)

    def _take(self, commander: str) -> None:
        draw = self._draw
        for other in COMMANDERS:
            self._ask(f"{other}/stop")
        self._note(False)
        self._ask("twin/reset")
        recording, said = self._ask("demo_recorder/start")
        if not recording:
            self.takes["not begun"] += 1
        if "recorded already" in said:  # one whose end was never answered
            self._discard()
        self._ask(f"{commander}/start")
        self._note(True)
        end, reaction = time.monotonic() + draw.uniform(*TAKE_S), draw.uniform(*REACTION_S)
        while time.monotonic() < end:
            self.spin(LOOK_S)
            self._mend(commander, reaction)
        if recording:
            self._end_take()
        self._tidy()

    def _mend(self, commander: str, reaction: float) -> None:
        """Look at the lamps, and do what they ask for."""
        driver = self._reason("dynamixel_driver")
        if driver in NEEDS_RESET:
            self.spin(reaction)
            self._ask("dynamixel_driver/reset_guard")
        elif driver in NEEDS_TORQUE and self._due("torque"):
            self._ask("dynamixel_driver/torque", on=True)
        if self._reason(commander) not in BUSY[commander] and self._due(commander):
            self._ask(f"{commander}/start")

    def _end_take(self) -> None:
        fate = self._draw.random()
        if fate < DISCARDED:
            self._discard()
            return
        kept, said = self._ask("demo_recorder/stop")
        if kept:
            self._read(said)
            self.takes["kept"] += 1
            if fate < DISCARDED + REGRETTED:
                self._discard()
        elif "is not kept" in said:
            self.takes["rejected"] += 1
        else:
            self.takes["failed"] += 1
            self.trouble.append(said)

    def _discard(self) -> None:
        done, said = self._ask("demo_recorder/discard")
        self.takes["discarded" if done else "failed"] += 1
        left = sorted(path.name for path in self._folder.glob(".discarded-*"))
        if left or not done:
            self.trouble.append(f"discarding left {', '.join(left)} behind: {said}")

    def _read(self, said: str) -> None:
        """Make sure that a take holds what the recorder says."""
        found = COUNTS.search(said)
        if not found:
            self.trouble.append(f"the recorder says of a take that it kept: {said}")
            return
        take = read_take(Path(found[1]), self._robot)
        if take.trouble or (take.pictures, take.commands) != (int(found[2]), int(found[3])):
            held = take.trouble or f"{take.pictures} frames and {take.commands} commands are in it"
            self.trouble.append(f"{said}; but {held}")

    def read_all(self) -> None:
        """Make sure that all takes that lie there can be read, once the recorder has ended."""
        kept, put_aside = self._folder.glob("take_*"), (self._folder / ".rejected").glob("take_*")
        self.trouble += [take.trouble for take in (read_take(path, self._robot) for path in kept) if take.trouble]
        for take in (read_take(path, self._robot) for path in put_aside):
            if take.trouble and NOTHING_ON not in take.trouble:  # no command, say, is why it was put aside
                self.trouble.append(take.trouble)
        self.trouble += [f"{path} was left behind" for path in self._folder.glob(".discarded-*")]

    def _tidy(self) -> None:
        """An hour of takes would fill a disk."""
        for folder in (self._folder, self._folder / ".rejected", self._folder / ".discarded"):
            takes = sorted(folder.glob("take_*"), key=lambda path: path.stat().st_mtime)
            for take in takes[:-KEPT_ON_DISK]:
                shutil.rmtree(take)

    def _ask(self, service: str, on: bool | None = None) -> tuple[bool, str]:
        """Call a service; whether it was done, and what was said."""
        try:
            if on is None:
                return True, self.trigger(service)
            answer = self.call(SetBool, service, SetBool.Request(data=on))
            return answer.success, answer.message
        except ServiceRefused as error:
            self.calls[f"{service} refused"] += 1
            return False, str(error)
        except TimeoutError as error:
            self.calls[f"{service} did not answer"] += 1
            return False, str(error)

    def _due(self, what: str) -> bool:
        now = time.monotonic()
        due = now - self._called.get(what, 0.0) > AGAIN_S
        if due:
            self._called[what] = now
        return due

    def _reason(self, node: str) -> str:
        status = self.status.get(node)
        return reason_of(status) if status is not None else ""

    def _note(self, commanding: bool) -> None:
        self._commanding.append((time.time_ns(), commanding))
