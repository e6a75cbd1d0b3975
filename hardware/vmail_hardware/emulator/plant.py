"""What the emulated servos move: a protocol that a simulator implements, and a small plant without one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

_SHORTEST_STEP_S = 1e-4  # the questions of one sync read share one step


class Plant(Protocol):
    """N joints in the order of `RobotSpec.joint_names`, as joint angles (not servo angles).

    The emulator calls these methods from its own thread, at any time and hundreds of times a second: they must
    return at once (a copy of the newest values) and must not wait for a simulation step.
    """

    def positions(self) -> np.ndarray:
        """(N,) rad now."""
        ...

    def velocities(self) -> np.ndarray:
        """(N,) rad/s now."""
        ...

    def currents_ma(self) -> np.ndarray:
        """(N,) mA now, signed like the joint's motion."""
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
        self._position = np.array(start, np.float64)
        self._velocity = np.zeros_like(self._position)
        self._goal = self._position.copy()
        self._strength = np.zeros(self._position.shape)
        self._time_constant = time_constant_s
        self._max_speed = max_speed
        self._stiffness = stiffness_ma_per_rad
        self._clock = clock
        self._time = clock()
        self._lock = threading.Lock()

    def positions(self) -> np.ndarray:
        """(N,) rad now."""
        with self._lock:
            self._advance()
            return self._position.copy()

    def velocities(self) -> np.ndarray:
        """(N,) rad/s: mean over the time since the last question."""
        with self._lock:
            self._advance()
            return self._velocity.copy()

    def currents_ma(self) -> np.ndarray:
        """(N,) mA, proportional to the distance that is left."""
        with self._lock:
            self._advance()
            return self._strength * self._stiffness * (self._goal - self._position)

    def set_goals(self, goals: np.ndarray, strength: np.ndarray) -> None:
        """Take over goals (N,) rad and shares of force (N,)."""
        with self._lock:
            self._advance()
            self._goal = np.array(goals, np.float64)
            self._strength = np.array(strength, np.float64)

    def push(self, positions: np.ndarray) -> None:
        """Put the joints at (N,) rad by hand, however strong they are."""
        with self._lock:
            self._advance()
            self._position = np.array(positions, np.float64)

    def _advance(self) -> None:
        now = self._clock()
        elapsed = now - self._time
        if elapsed < _SHORTEST_STEP_S:
            return
        self._time = now
        farthest = self._max_speed * elapsed
        step = (self._goal - self._position) * (1.0 - math.exp(-elapsed / self._time_constant))
        step = self._strength * np.minimum(np.maximum(step, -farthest), farthest)  # np.clip is three times as slow
        self._position = self._position + step
        self._velocity = step / elapsed
