"""What the emulated servos move: a protocol that a simulator implements, and a small plant without one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

_SHORTEST_STEP_S = 1e-4  # the questions of one sync read share one step


# Positions (rad), velocities (rad/s) and currents (mA, signed like the motion) of N joints at one moment. Lists: a host
# waits for them, and so few numbers are taken faster from those than from arrays.
Measured = tuple[list[float], list[float], list[float]]


class Plant(Protocol):
    """N joints in the order of `RobotSpec.joint_names`, as joint angles (not servo angles).

    The emulator calls these methods from its own thread, at any time and hundreds of times a second: they must
    return at once (a copy of the newest values) and must not wait for a simulation step.

    Attributes:
        pushes: how often a joint was moved by hand so far; what was measured before the last is told to nobody.
    """

    pushes: int

    def measured(self) -> Measured:
        """Positions (rad), velocities (rad/s) and currents (mA) of every joint now, N each."""
        ...

    def set_goals(self, goals: np.ndarray, strength: np.ndarray) -> None:
        """Take over goals (N,) rad and the share of its force that each joint has (N,): 1 is all, 0 is limp.

        Called once per instruction that changed any of them.
        """
        ...


class FirstOrderPlant:
    """Joints that approach their goals with one time constant and a speed limit. For tests and `vmail fake-bus`.

    Time is read from `clock`, so a test can drive it; state is integrated when it is asked for.
    """

    def __init__(
        self,
        start: np.ndarray,
        time_constant_s: float = 0.05,
        max_speed: float = 6.0,
        stiffness_ma_per_rad: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at rest at the angles `start` (N,) rad, limp.

        Args:
            start: (N,) rad.
            time_constant_s: seconds in which 63 % of a small step is done.
            max_speed: rad/s.
            stiffness_ma_per_rad: current per rad of distance to the goal.
            clock: monotonic seconds.
        """
        joints = len(start)
        self._position: list[float] = np.asarray(start, np.float64).tolist()
        self._velocity, self._strength = [0.0] * joints, [0.0] * joints
        self._goal = list(self._position)
        self._time_constant = time_constant_s
        self._max_speed = max_speed
        self._stiffness = stiffness_ma_per_rad
        self.pushes = 0
        self._clock = clock
        self._time = clock()
        self._lock = threading.Lock()

    def measured(self) -> Measured:
        """Joints now: velocities are means over the time since the last question, currents as far as goals are."""
        with self._lock:
            self._advance()
            joints = zip(self._position, self._goal, self._strength, strict=True)
            currents = [self._stiffness * strength * (goal - position) for position, goal, strength in joints]
            return self._position, self._velocity, currents  # lists that nobody changes: new ones take their place

    def positions(self) -> np.ndarray:
        """(N,) rad now."""
        return np.array(self.measured()[0])

    def set_goals(self, goals: np.ndarray, strength: np.ndarray) -> None:
        """Take over goals (N,) rad and shares of force (N,)."""
        with self._lock:
            self._advance()
            self._goal = np.asarray(goals, np.float64).tolist()
            self._strength = np.asarray(strength, np.float64).tolist()

    def push(self, positions: np.ndarray) -> None:
        """Put the joints at (N,) rad by hand, however strong they are."""
        with self._lock:
            self._advance()
            self._position = np.asarray(positions, np.float64).tolist()
            self.pushes += 1

    def _advance(self) -> None:
        now = self._clock()
        elapsed = now - self._time
        if elapsed < _SHORTEST_STEP_S:
            return
        self._time = now
        most = self._max_speed
        per_s = (1.0 - math.exp(-elapsed / self._time_constant)) / elapsed
        # Joint by joint: for so few, numpy takes longer.
        joints = zip(self._position, self._goal, self._strength, strict=True)
        self._velocity = [
            strength * min(max((goal - position) * per_s, -most), most) for position, goal, strength in joints
        ]
        self._position = [
            position + velocity * elapsed for position, velocity in zip(self._position, self._velocity, strict=True)
        ]
