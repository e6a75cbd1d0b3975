"""Torque that comes and goes gradually: nothing jumps when it is switched on, nothing drops when it is switched off."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from vmail_hardware.bus_errors import BusWriteError
from vmail_hardware.control_table import WATCHDOG_TRIPPED
from vmail_hardware.servo_group import ServoGroup

STEPS = 20
LONGEST_STEP_S = 0.1  # each write feeds the servos' bus watchdogs


def wake(servos: ServoGroup, watchdog: int) -> None:
    """Have servos whose bus watchdog has tripped obey again, where they stand: they refuse every goal, of force, too.

    Args:
        servos: all of them; one that is silent keeps nobody waiting.
        watchdog: what their bus watchdogs are set to, 0 for none.

    Raises:
        BusLostError: the port went away.
    """
    found, present = servos.values("bus_watchdog"), servos.values("present_position")
    for servo_id, lowest, highest in zip(servos.ids, *servos.goal_range, strict=True):
        if found.get(servo_id) == WATCHDOG_TRIPPED and servo_id in present:
            stands = min(max(present[servo_id], lowest), highest)
            with contextlib.suppress(BusWriteError):  # then its force goes at once, at the end
                servos.write_one(servo_id, "bus_watchdog", 0)
                servos.write_one(servo_id, "goal_position", stands)
                servos.write_one(servo_id, "bus_watchdog", watchdog)


def ramp(servos: ServoGroup, start: float | np.ndarray, end: float, seconds: float) -> None:
    """Take the servos' Goal PWM from one share of its limit to another, by equal steps.

    Args:
        servos: all of them; in position mode Goal PWM bounds the force (e-Manual, Goal PWM(100)).
        start, end: shares of full force, of all servos or of each (N,).
        seconds: how long it takes.

    Raises:
        BusError: as writing does.
    """
    steps = max(STEPS, int(np.ceil(seconds / LONGEST_STEP_S)))
    for share in np.linspace(start, end, steps + 1)[1:]:
        servos.write("goal_pwm", np.rint(share * servos.pwm_limit).astype(int).tolist())
        time.sleep(seconds / steps)
