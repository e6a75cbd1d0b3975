"""What goes into the guard and what comes out of it."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np


class Reason(enum.StrEnum):
    """Why the goals are what they are."""

    OK = "ok"
    JOINT_LIMIT = "joint_limit"
    SPEED_LIMIT = "speed_limit"
    ACCELERATION_LIMIT = "acceleration_limit"
    SLOWED_BY_LOAD = "slowed_by_load"
    SLOWED_BY_HEAT = "slowed_by_heat"
    SELF_COLLISION = "self_collision"
    NO_COMMAND_YET = "no_command_yet"
    COMMAND_TOO_OLD = "command_too_old"
    COMMAND_NOT_FINITE = "command_not_finite"
    COMMAND_WRONG_SIZE = "command_wrong_size"
    COMMAND_STAMP_IN_FUTURE = "command_stamp_in_future"
    COMMAND_OUT_OF_ORDER = "command_out_of_order"
    TWO_COMMANDERS = "two_commanders"
    STATE_MISSING = "state_missing"
    BUS_SILENT = "bus_silent"
    OVER_TEMPERATURE = "over_temperature"
    LOW_VOLTAGE = "low_voltage"
    OVER_CURRENT = "over_current"
    HARDWARE_ERROR = "hardware_error"
    SERVO_WATCHDOG = "servo_watchdog"
    TORQUE_LOST = "torque_lost"
    ESTOP = "estop"

    @property
    def holds(self) -> bool:
        """Whether the robot stands still for it. Not so for ok, for limits that only clip, and for a late arrival."""
        return self not in _MOVING

    @property
    def is_of_robot(self) -> bool:
        """Whether the robot itself is in trouble, and must stop where it is."""
        return self.is_latched or self in (Reason.OVER_TEMPERATURE, Reason.LOW_VOLTAGE)

    @property
    def is_latched(self) -> bool:
        """Whether only `Guard.reset` ends it."""
        return self in _LATCHED


_MOVING = frozenset(
    {
        Reason.OK,
        Reason.JOINT_LIMIT,
        Reason.SPEED_LIMIT,
        Reason.ACCELERATION_LIMIT,
        Reason.SLOWED_BY_LOAD,
        Reason.SLOWED_BY_HEAT,
        Reason.SELF_COLLISION,
        Reason.COMMAND_OUT_OF_ORDER,
    }
)
_LATCHED = frozenset(
    {Reason.OVER_CURRENT, Reason.HARDWARE_ERROR, Reason.SERVO_WATCHDOG, Reason.TORQUE_LOST, Reason.ESTOP}
)


@dataclasses.dataclass(frozen=True)
class Command:
    """What a commander asks for.

    Attributes:
        positions: (N,) rad, not rate-limited.
        stamp: seconds; the time of the camera frame that it was computed from, not of its sending.
        commander: who asks, by name.
    """

    positions: np.ndarray
    stamp: float
    commander: str = ""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What to do now.

    Attributes:
        goals: (N,) rad to write now, None to write nothing (what was written last stands).
        holding: the robot is to stand still.
        reason: why.
        detail: one sentence for people.
        fresh: `goals` come from the command of this very call.
        anew: the robot's trouble has changed the pose that is held, so it is to be written, also within a hold.
    """

    goals: np.ndarray | None
    holding: bool
    reason: Reason
    detail: str
    fresh: bool = False
    anew: bool = False
