"""What tests of the guard begin with: joint states, servos' health, and a guard that has obeyed a command."""

from __future__ import annotations

import dataclasses

import numpy as np

from vmail_core.robot import load_robot
from vmail_hardware.guard import Command, Guard
from vmail_hardware.joint_state import JointState, ServoHealth

SPEC = load_robot("dclaw")
REACH = SPEC.max_joint_speed * SPEC.control_period
PERIOD = SPEC.control_period


def state(position: np.ndarray | None = None, time: float = 0.0, **changes: object) -> JointState:
    position = SPEC.rest.copy() if position is None else position
    plain = JointState(position=position, velocity=np.zeros(9), current_ma=np.zeros(9), time=time)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def health(**changes: object) -> ServoHealth:
    plain = ServoHealth(10, "FFJ10", 0, (), 35.0, 12.0, True, False)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def moving_guard(goal_offset: float = 0.1) -> tuple[Guard, np.ndarray]:
    """A guard that has obeyed one command at time 0, and the goals that it gave."""
    guard = Guard(SPEC)
    decision = guard.check(Command(SPEC.rest + goal_offset, 0.0), state(), 0.0)
    assert decision.fresh and decision.goals is not None
    return guard, decision.goals
