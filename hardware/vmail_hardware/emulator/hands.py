"""Somebody's hands on an emulated robot: they move its joints while these are limp, for calibration and as a leader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.emulator.plant import FirstOrderPlant

SPEED_RAD_S = 1.5
HELP = (
    "keys: s moves every joint from one end to the other, z puts the hand into its zero pose, r into its rest pose, "
    "w waves until another key, space stops"
)


class Hands:
    """Moves a plant's joints from waypoint to waypoint."""

    def __init__(self, plant: FirstOrderPlant, spec: RobotSpec, limp: Callable[[], bool]) -> None:
        """`limp` tells whether all torque is off: nobody is strong enough to move joints that hold."""
        self._plant, self._spec, self._limp = plant, spec, limp
        self._waypoints: Iterator[np.ndarray] = iter(())
        self._target: np.ndarray | None = None
        self._moved = 0.0

    def press(self, key: str, now: float) -> str:
        """Do what a key says from `now` (s) on; returns a line that tells, or nothing for an unknown key."""
        lower, upper, rest = self._spec.lower, self._spec.upper, self._spec.rest
        acts: dict[str, tuple[str, Iterator[np.ndarray]]] = {
            "s": ("moving every joint from end to end", iter((lower, upper, rest))),
            "z": ("to the zero pose", iter((np.zeros_like(rest),))),
            "r": ("to the rest pose", iter((rest,))),
            "w": ("waving", self._wave()),
            " ": ("letting go", iter(())),
        }
        if key not in acts:
            return HELP if key == "?" else ""
        if not self._limp():
            return "the joints hold, their torque is on: they cannot be moved by hand"
        text, self._waypoints = acts[key]
        self._target, self._moved = None, now
        return text

    def move(self, now: float) -> None:
        """Go on with what was begun; call it often."""
        elapsed, self._moved = now - self._moved, now
        if self._target is None:
            self._target = next(self._waypoints, None)
        if self._target is None or not self._limp():
            return
        present, reach = self._plant.positions(), SPEED_RAD_S * elapsed
        self._plant.push(present + np.clip(self._target - present, -reach, reach))
        if np.abs(self._target - present).max() <= reach:
            self._target = None

    def _wave(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        while True:
            yield rng.uniform(self._spec.lower, self._spec.upper)
