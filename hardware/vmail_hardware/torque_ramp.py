"""Torque that comes and goes gradually: nothing jumps when it is switched on, nothing drops when it is switched off."""

from __future__ import annotations

import time

import numpy as np

from vmail_hardware.servo_group import ServoGroup

STEPS = 20


def ramp(servos: ServoGroup, start: float | np.ndarray, end: float, seconds: float) -> None:
    """Take the servos' Goal PWM from one share of its limit to another, by equal steps.

    Args:
        servos: all of them; in position mode Goal PWM bounds the force (e-Manual, Goal PWM(100)).
        start, end: shares of full force, of all servos or of each (N,).
        seconds: how long it takes.

    Raises:
        BusError: as writing does.
    """
    for share in np.linspace(start, end, STEPS + 1)[1:]:
        servos.write("goal_pwm", np.rint(share * servos.pwm_limit).astype(int).tolist())
        time.sleep(seconds / STEPS)
