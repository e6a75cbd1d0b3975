"""Whether a take is worth keeping, judged while it is recorded: rates, gaps, pictures, joints, idle ends.

What is wrong with a take is seldom seen by whoever demonstrates, and seldom found again in a hundred of them.
"""

from __future__ import annotations

import dataclasses
import enum
import zlib

import numpy as np

from vmail_core.robot import RobotSpec

SLOW = 0.8  # of the policy's rate: below it, pictures come too rarely
GAP_PERIODS, LONG_GAP_PERIODS = 2.5, 6.0  # between pictures, in control periods: to be told, and too long
JOINTS_GAP_S = 0.15  # between joint states
COMMANDS_GAP_S = 1.0  # between commands: longer than control takes to pass from a person to a policy
DARK, BRIGHT, MOST_UNSEEN = 10.0, 245.0, 0.1  # mean grey level; share of pictures beyond
FROZEN_S = 1.0  # of pictures that are the same to the last byte, which a sensor's noise forbids
SATURATED, SATURATED_SHARE = 0.01, 0.5  # nearness to a joint's limit, in its range; share of the take
MOVED_RAD, IDLE_S = 0.03, 2.0  # what counts as motion; how long none at start or end is worth a word
LEAD_S = 0.3  # of a take lie before its start: its first command's picture, and where a hand may still come to rest
SET_BACK_S = 0.2  # of a clock; less than that, and a driver goes on
MOST_AHEAD = 0.5  # share of the pictures that are stamped more than a control period after the newest joint state
TRIM = "trim it"  # what ends a remark that `vmail takes --trim` mends
SAMPLED_BYTES = 97  # of a picture every so many are looked at


REJECTED = ".rejected"
"""Folder beside takes, of those that are no good."""


class Verdict(enum.IntEnum):
    """What should become of the take."""

    ACCEPT = 0
    WARN = 1
    REJECT = 2


@dataclasses.dataclass(frozen=True)
class Remark:
    """One thing that is wrong, and how wrong."""

    verdict: Verdict
    text: str


class Quality:
    """Collects what a take shows. Stamps in ns, of the messages themselves; arrays as they come."""

    def __init__(self, robot: RobotSpec, sensor: bool = True) -> None:
        """Judge by the robot's rate and limits; `sensor` is false for rendered pictures, which may repeat exactly."""
        self._robot, self._sensor = robot, sensor
        self._pictures: list[tuple[float, float]] = []  # time in s, mean grey level
        self._joints: list[tuple[float, np.ndarray]] = []
        self._commands: list[float] = []  # times in s
        self._ahead = 0  # pictures that no joint state goes with, as their stamps are
        self._checksum, self._same_since, self._frozen_s = -1, 0.0, 0.0

    def picture(self, stamp_ns: int, pixels: np.ndarray) -> None:
        """A picture's bytes (n,) uint8, in any layout."""
        now, some = stamp_ns * 1e-9, np.ascontiguousarray(pixels[::SAMPLED_BYTES])
        self._pictures.append((now, float(some.mean())))
        self._ahead += bool(self._joints) and now - self._joints[-1][0] > 1.0 / self._robot.control_rate_hz
        checksum = zlib.adler32(some.data)
        if checksum != self._checksum:
            self._checksum, self._same_since = checksum, now
        self._frozen_s = max(self._frozen_s, now - self._same_since)

    def joints(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Joint angles (N,) rad."""
        self._joints.append((stamp_ns * 1e-9, np.asarray(positions, np.float64)))

    def command(self, stamp_ns: int) -> None:
        """A command that was sent to the servos; its stamp is that of the picture that it answers."""
        self._commands.append(stamp_ns * 1e-9)

    def remarks(self) -> list[Remark]:
        """All that is wrong so far, the worst first."""
        found = [*self._of_pictures(), *self._of_joints(), *self._of_commands(), *self._of_clocks()]
        return sorted(found, key=lambda remark: -remark.verdict)

    def verdict(self) -> Verdict:
        """The worst of the remarks."""
        return max((remark.verdict for remark in self.remarks()), default=Verdict.ACCEPT)

    def _of_pictures(self) -> list[Remark]:
        if len(self._pictures) < 2:
            return [Remark(Verdict.REJECT, "no pictures; is the camera running?")]
        found, (times, greys) = [], np.array(self._pictures).T
        wanted, gaps = self._robot.control_rate_hz, np.diff(times)
        rate = 1.0 / max(float(np.median(gaps)), 1e-9)
        if rate < SLOW * wanted:
            text = f"pictures come {rate:.1f} times a second, the policy needs {wanted:.0f}: check exposure and USB"
            found.append(Remark(Verdict.REJECT, text))
        longest = float(gaps.max())
        if rate >= SLOW * wanted and longest > GAP_PERIODS / wanted:
            verdict = Verdict.REJECT if longest > LONG_GAP_PERIODS / wanted else Verdict.WARN
            found.append(Remark(verdict, f"no picture for {longest:.2f} s; is the machine or the USB bus busy?"))
        unseen = float(np.mean((greys < DARK) | (greys > BRIGHT)))
        if unseen > MOST_UNSEEN:
            text = f"nothing can be seen in {unseen:.0%} of the pictures: check lens cap, light and exposure"
            found.append(Remark(Verdict.REJECT, text))
        elif self._sensor and self._frozen_s > FROZEN_S:
            text = f"the same picture for {self._frozen_s:.1f} s: plug the camera in again"
            found.append(Remark(Verdict.REJECT, text))
        return found

    def _of_commands(self) -> list[Remark]:
        if not self._commands:
            return [Remark(Verdict.REJECT, "nothing was commanded; is the commander running and torque on?")]
        gaps = np.diff(self._commands)
        if not len(gaps) or gaps.max() <= COMMANDS_GAP_S:
            return []
        began = self._commands[int(np.argmax(gaps))] - (self._pictures[0][0] if self._pictures else self._commands[0])
        text = (
            f"no command was sent for {gaps.max():.1f} s, from {began:.1f} s on: did the hand hold, as after an "
            "emergency stop? Such a take is better recorded again"
        )
        return [Remark(Verdict.WARN, text)]

    def _of_clocks(self) -> list[Remark]:
        if not self._pictures or not self._joints:
            return []
        stamps = ([time for time, *_ in part] for part in (self._pictures, self._joints))
        back = max(float(-np.diff(times).min(initial=0.0)) for times in stamps)
        if back > SET_BACK_S:
            text = f"the clock was set back by {back:.1f} s: an import loses what came before it had caught up again"
            return [Remark(Verdict.WARN, text)]
        if self._ahead <= MOST_AHEAD * len(self._pictures):
            return []
        text = "most pictures are stamped long after the joint states that came before: do their clocks differ?"
        return [Remark(Verdict.REJECT, text)]

    def _of_joints(self) -> list[Remark]:
        if len(self._joints) < 2:
            return [Remark(Verdict.REJECT, "no joint states; is the driver running?")]
        robot, found = self._robot, []
        times, angles = np.array([time for time, _ in self._joints]), np.stack([joints for _, joints in self._joints])
        longest = float(np.diff(times).max())
        if longest > JOINTS_GAP_S:
            found.append(Remark(Verdict.WARN, f"no joint states for {longest:.2f} s: look at the driver's diagnostics"))
        margin = SATURATED * (robot.upper - robot.lower)
        at_limit = ((angles <= robot.lower + margin) | (angles >= robot.upper - margin)).mean(0)
        names = [robot.joint_names[i] for i in np.flatnonzero(at_limit > SATURATED_SHARE)]
        if names:
            found.append(Remark(Verdict.WARN, f"{', '.join(names)} at the limit most of the time: limits too tight?"))
        began = np.searchsorted(times, min(times[0] + LEAD_S, times[-1]))
        moving = began + np.flatnonzero(np.abs(angles[began:] - angles[began]).max(1) > MOVED_RAD)
        if not len(moving):
            return [*found, Remark(Verdict.REJECT, "no joint moved")]
        away = np.flatnonzero(np.abs(angles - angles[-1]).max(1) > MOVED_RAD)
        last = away[-1] if len(away) else moving[-1]
        for where, idle in (("first", times[moving[0]] - times[0]), ("last", times[-1] - times[last])):
            if idle > IDLE_S:
                found.append(Remark(Verdict.WARN, f"nothing moves in the {where} {idle:.1f} s: {TRIM}"))
        return found
