"""The episode: contract 2. What was seen, what was done, and where it came from."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

VIA = "via"
"""In the provenance: one dict for each dataset that the episode went through since it was made, in that order."""


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """T frames and the actions between them; `action[t]` is the one that led to frame t.

    The arrays are made read-only: an episode does not change once it exists.

    Attributes:
        image: (T, H, W, 3) uint8, RGB.
        action: (T, A) float32, normalised to [-1, 1]; row 0 is zero, for nothing led to the first frame.
        time: (T,) float64 s, the frames' own stamps, strictly increasing.
        joint_positions: (T, J) float32 rad, the joints at each frame, of which there may be more or fewer than actions;
            None when they were not recorded.
        reward: (T,) float32, the reward that came with frame t; None for demonstrations without one.
        provenance: JSON data: source, bag hash, robot digest, task, operator, simulator version.

    Raises:
        ValueError: an array has the wrong shape, dtype or values; the message names the array.
    """

    image: np.ndarray
    action: np.ndarray
    time: np.ndarray
    joint_positions: np.ndarray | None = None
    reward: np.ndarray | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every array, then lock it."""
        _check_image(self.image)
        steps = self.image.shape[0]
        _check("action", self.action, np.float32, (steps, None))
        _check("time", self.time, np.float64, (steps,))
        if self.joint_positions is not None:
            _check("joint_positions", self.joint_positions, np.float32, (steps, None))
        if self.reward is not None:
            _check("reward", self.reward, np.float32, (steps,))
        _check_values(self)
        _check_provenance(self.provenance)
        for array in self.arrays().values():
            array.setflags(write=False)

    def __len__(self) -> int:
        """T, the number of frames."""
        return int(self.image.shape[0])

    @property
    def steps(self) -> int:
        """T - 1, the number of actions that were taken."""
        return len(self) - 1

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return float(self.time[-1] - self.time[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are present, by name."""
        names = ("image", "action", "time", "joint_positions", "reward")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def _check_image(image: Any) -> None:
    _check("image", image, np.uint8, (None, None, None, 3))
    if image.shape[0] < 2:
        raise ValueError(f"an episode needs at least two frames, one action between them; got {image.shape[0]}")


def _check(name: str, array: Any, dtype: type, shape: tuple[int | None, ...]) -> None:
    wanted = f"{np.dtype(dtype).name} ({', '.join('?' if size is None else str(size) for size in shape)})"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a numpy array {wanted}; got {type(array).__name__}")
    fits = len(array.shape) == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits or 0 in array.shape:
        raise ValueError(f"{name} must be {wanted}; got {array.dtype.name} {array.shape}")


def _check_values(episode: Episode) -> None:
    for name, array in episode.arrays().items():
        if array.dtype != np.uint8 and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ValueError(f"{name} has a value that is not finite in row {row}")
    if np.any(episode.action[0] != 0):
        raise ValueError("action row 0 must be zero: no action led to the first frame")
    if np.any(np.abs(episode.action) > 1):
        row = int(np.argwhere(np.abs(episode.action) > 1)[0][0])
        raise ValueError(f"action row {row} lies outside [-1, 1]: actions are normalised by the robot spec")
    if np.any(np.diff(episode.time) <= 0):
        row = int(np.argmax(np.diff(episode.time) <= 0)) + 1
        raise ValueError(f"time must strictly increase; row {row} does not come after row {row - 1}")


def _check_provenance(provenance: Any) -> None:
    if not isinstance(provenance, dict):
        raise ValueError(f"provenance must be a dict of JSON data; got {type(provenance).__name__}")
    try:
        json.dumps(provenance, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"provenance must be plain JSON data: {error}") from error
