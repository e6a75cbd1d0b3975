"""Torque that comes on and moves nothing: goals are where the joints are, and that is made sure of before any force."""

from __future__ import annotations

import time

import numpy as np

from vmail_hardware.bus_errors import BusWriteError
from vmail_hardware.control_table import TICKS_PER_TURN, WATCHDOG_TRIPPED
from vmail_hardware.servo_group import ServoGroup
from vmail_hardware.torque_ramp import ramp

_ATTEMPTS = 4
_MOST_OUTSIDE_TICKS = 13  # 0.02 rad: a joint that rests at its stop may be so far past the servo's own limit
_SHORT_WATCHDOG = 2  # units of 20 ms
_SILENCE_S = 0.08  # in which that has run out
_MOST_AWAY_TICKS = 20  # 0.03 rad: a joint that sinks may be so far from where it was a moment ago


def switch_on(servos: ServoGroup, watchdog: int, ramp_s: float) -> None:
    """Switch the torque of every servo on, over so many seconds where it is not on in full already.

    Torque first comes on without force (Goal PWM 0), for a servo then forgets the turns that it has counted while it
    was limp, and shows another position than before: a goal of before would be a whole turn away. Without force, too,
    servos that were limp must show that their bus watchdog stops them, where one is wanted: that takes 0.1 s.

    Args:
        servos: all of them.
        watchdog: what their bus watchdogs are set to, 0 for none.
        ramp_s: seconds.

    Raises:
        BusWriteError: a servo did not obey, its bus watchdog does not work, or its joint stands where its goal may not
            be, or does not stay at it.
        BusReadError: a servo is silent.
    """
    held = _held(servos)
    free = held < 1.0
    servos.require("bus_watchdog", 0)  # a tripped watchdog refuses goals
    servos.require("profile_acceleration", 0)
    servos.require("profile_velocity", 0)
    goals = _aim(servos, free)
    servos.require("goal_pwm", *np.rint(held * servos.pwm_limit).astype(int).tolist())
    servos.require("torque_enable", 1)
    if watchdog and not held.all():
        _require_watchdogs(servos, held == 0.0)
    _aim_until_there(servos, free, goals)
    servos.require("bus_watchdog", watchdog)
    if ramp_s and free.any():
        ramp(servos, held, 1.0, ramp_s)  # its writes feed the watchdog
    servos.require("goal_pwm", *servos.pwm_limit.tolist())


def _require_watchdogs(servos: ServoGroup, limp: np.ndarray) -> None:
    """Let the bus be silent until the watchdogs of limp servos (N,) have tripped, then clear them.

    Raises:
        BusWriteError: some have not, several times: packets get lost.
    """
    testing = [servo_id for servo_id, one in zip(servos.ids, limp, strict=True) if one]
    for _ in range(_ATTEMPTS):
        servos.write("bus_watchdog", np.where(limp, _SHORT_WATCHDOG, 0).tolist())
        time.sleep(_SILENCE_S)
        found = servos.values("bus_watchdog")
        awake = [servo_id for servo_id in testing if found.get(servo_id) != WATCHDOG_TRIPPED]
        if not awake:
            break
    servos.require("bus_watchdog", 0)
    if awake:
        raise BusWriteError(
            f"{servos.link.port_name}: torque stays off: the bus watchdog of {servos.names(awake)} did not stop them "
            "when the bus was silent, so nothing would if computer or cable failed. Update their firmware with "
            "DYNAMIXEL Wizard 2.0, or replace them",
            awake,
        )


def _held(servos: ServoGroup) -> np.ndarray:
    """(N,) share of its force that each servo has already."""
    limit = np.maximum(servos.pwm_limit, 1)
    return np.asarray(servos.known("torque_enable") * np.clip(servos.known("goal_pwm") / limit, 0.0, 1.0))


def _aim(servos: ServoGroup, free: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Goal = present position.

    A servo with all of its force may be pushed past what it accepts as a goal: it gets the nearest, which is no farther
    away than the one that it pursues.

    Args:
        servos: all of them.
        free: (N,) of servos that do not have all of their force yet.
        before: (N,) goals of before, which the others keep: each new one would let a joint under load sink further.

    Returns:
        (N,) goals in ticks.

    Raises:
        BusWriteError: a free joint stands where its servo accepts no goal, and would be driven from there.
    """
    present = servos.known("present_position")
    goals = np.clip(present, *servos.goal_range)
    outside = free & (np.abs(present - goals) > _MOST_OUTSIDE_TICKS)
    if before is not None:
        outside |= free & (np.abs(present - before) > TICKS_PER_TURN // 2)
        goals = np.where(free, goals, before)
    if outside.any():
        raise _refusal(servos, outside, present, None)
    servos.require("goal_position", *goals.tolist())
    return goals


def _aim_until_there(servos: ServoGroup, free: np.ndarray, goals: np.ndarray) -> None:
    """Aim at where the joints are until they are there: one that sinks or is led by hand may need it several times.

    Raises:
        BusWriteError: as `_aim`, or a joint is elsewhere each time.
    """
    for _ in range(_ATTEMPTS):
        goals = _aim(servos, free, goals)
        present = servos.known("present_position")
        away = free & (np.abs(present - goals) > _MOST_AWAY_TICKS)
        if not away.any():
            return
    raise _refusal(servos, away, present, goals)


def _refusal(servos: ServoGroup, which: np.ndarray, present: np.ndarray, goals: np.ndarray | None) -> BusWriteError:
    """Joints that would be driven: from where no goal may be, or from where they have moved to since."""
    stand, found = servos.angles(present), np.flatnonzero(which)
    names = [f"{servos.names([servos.ids[i]])} stands at {stand[i]:.2f} rad" for i in found]
    if goals is not None:
        aims = servos.angles(goals)
        told = "; ".join(f"{name}, a moment ago at {aims[i]:.2f} rad" for i, name in zip(found, names, strict=True))
        step = "Hold them still, then switch torque on again"
    else:
        ends = np.sort([servos.angles(np.array(end)) for end in servos.goal_range], axis=0)
        spans = [f"its servo goes from {ends[0, i]:.2f} to {ends[1, i]:.2f} rad" for i in found]
        told = "; ".join(f"{name}, {span}" for name, span in zip(names, spans, strict=True))
        step = (
            "Move them inside by hand, then switch torque on again. A joint that is inside has a servo that counts "
            "from elsewhere: switch its power off and on"
        )
    ids = [servos.ids[i] for i in found]
    return BusWriteError(f"{servos.link.port_name}: torque would move joints and stays off: {told}. {step}", ids)
