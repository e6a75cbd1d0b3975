"""Commands from a recorded take: the hand does again what it was asked to do then, picture by picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vmail_core.episodes.bag_reading import JOINTS, REQUEST, SENT, Bag
from vmail_core.episodes.kinesthetic import with_led_commands
from vmail_core.robot import RobotSpec
from vmail_nodes.joint_source import JointSource

NEAR_RAD, PATIENCE_STEPS = 0.06, 50
UNOBEYED_STEPS = 300  # that a driver may take to obey


class ReplaySource(JointSource):
    """First moves to where the take began, then gives its commands, one for each camera frame. See `Source`."""

    def __init__(self, spec: RobotSpec, take: str) -> None:
        """Read the take.

        Raises:
            ValueError: it cannot be read, was recorded with another robot, or holds no commands.
        """
        if not take:
            raise ValueError("no take to replay: give its folder, take:=takes/take_0001")
        self._take = Path(take)
        requested, sent, self._first = {}, {}, None
        with Bag(self._take, spec) as bag:
            for event in with_led_commands(bag.events()):
                if event.topic == REQUEST:
                    requested[event.stamp_ns] = event.value
                elif event.topic == SENT:
                    sent[event.stamp_ns] = event.value
                elif event.topic == JOINTS and not sent:
                    self._first = event.value  # where the joints were when the first command was sent
        # What was asked for, as far as it was obeyed: the guard limits it anew, for where the joints are now.
        self._commands = [requested.get(stamp, sent[stamp]) for stamp in sorted(sent)]
        if not self._commands or self._first is None:
            raise ValueError(f"{take} holds no commands with joint states before them: nothing to replay")
        super().__init__(spec)

    def begin(self) -> None:
        """From the take's first pose on."""
        super().begin()
        self._next, self._waited, self._said = 0, 0, ""
        self._there = self._obeyed = False

    def on_obeyed(self) -> None:
        """The driver sent what was commanded: from now on the take may go on."""
        self._obeyed = True

    def command(self) -> tuple[int, np.ndarray] | None:
        """The take's first pose until the driver obeys and the joints are there, then its commands, then none.

        `finished` says how it ended.
        """
        due = self.due()
        if due is None:
            return None
        stamp_ns, present = due
        assert self._first is not None
        if not self._there:
            # Not before the driver obeys: what ran on meanwhile, it would jump into.
            near = bool(np.abs(present - self._first).max() < NEAR_RAD)
            self._there = near and self._obeyed
            self._waited += 1
            if not near and self._waited > PATIENCE_STEPS:
                self.finished = self._why_not_there(present)
                return None
            if not self._obeyed and self._waited > UNOBEYED_STEPS:
                self.finished = f"{self._take.name} was not begun: the driver does not obey"
                return None
            return stamp_ns, self._first.copy()
        if self._next == len(self._commands):
            self.finished = f"replayed {self._take.name}: {self._next} commands"
            return None
        self._next += 1
        return stamp_ns, self._commands[self._next - 1].copy()

    def _why_not_there(self, present: np.ndarray) -> str:
        assert self._first is not None
        far = int(np.argmax(np.abs(present - self._first)))
        seconds = PATIENCE_STEPS * self._spec.control_period
        return (
            f"{self._spec.joint_names[far]} does not reach where {self._take.name} began: after {seconds:.0f} s it is "
            f"at {present[far]:+.2f} rad, not {self._first[far]:+.2f}. Clear what is in its way, or move the hand near "
            "that pose, then start again"
        )

    def on_hold(self) -> None:
        """Half of a take is not the take: end."""
        self.finished = self.finished or f"the driver did not obey command {self._next} of {self._take.name}"

    def poll(self) -> str:
        """Says once that the replay proper begins."""
        if self._there and not self._said:
            self._said = f"replaying {self._take.name}, {len(self._commands)} commands"
            return self._said
        return ""
