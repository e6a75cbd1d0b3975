"""Latencies of one robot, as figures with a date, and the file that keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vmail_core.robot import RobotSpec
from vmail_hardware.user_files import keep_file, user_folder

# Every figure, in milliseconds, in the order in which they are told.
WHAT = {
    "bus_read": "read all joints",
    "bus_write_read": "write all goals, read all joints",
    "camera_age": "a picture's stamp to its arrival",
    "camera_period": "from picture to picture, by their stamps",
    "camera_jitter": "how far that is off its median",
    "camera_motion": "a joint's motion to the stamp of its picture",
    "action": "goals written to the joint's first motion",
}
REACTION = ("camera_motion", "camera_age", "action")  # what lies between light and motion, but for the policy


class LatencyError(ValueError):
    """Latencies cannot be measured or read; the message says why and the next step."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One latency.

    Attributes:
        p50_ms, p99_ms: median, and what 99 of 100 stay below.
        count: of how many.
        of: the port or camera.
        made: day and time, ISO 8601.
        lost: how many brought nothing, and are not counted.
    """

    p50_ms: float
    p99_ms: float
    count: int
    of: str
    made: str
    lost: int = 0


def figure(seconds: Sequence[float] | np.ndarray, of: str, made: str, lost: int = 0) -> Figure:
    """A figure of measured seconds, of which there is at least one."""
    p50, p99 = np.percentile(np.asarray(seconds, np.float64) * 1e3, [50, 99])
    return Figure(round(float(p50), 3), round(float(p99), 3), len(seconds), of, made, lost)


@dataclasses.dataclass(frozen=True)
class Latencies:
    """Of one robot.

    Attributes:
        robot: its name.
        made: day and time of the newest figure, ISO 8601.
        figures: by the names of WHAT; some may not have been measured.
    """

    robot: str
    made: str
    figures: dict[str, Figure]

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all; one that was there is kept beside it with its date. Returns the path."""
        path = Path(path)
        keep_file(path, yaml.safe_dump(dataclasses.asdict(self), sort_keys=False), self.made)
        return path

    def updated(self, figures: dict[str, Figure], made: str) -> Latencies:
        """With these figures; others stay, with their own date."""
        merged = self.figures | figures
        return Latencies(self.robot, made, {name: merged[name] for name in WHAT if name in merged})

    def notes(self) -> dict[str, str]:
        """For a take's notes: `latency_made`, and two numbers for each figure."""
        notes = {"latency_made": self.made}
        for name, found in self.figures.items():
            notes |= {f"latency_{name}_p50_ms": f"{found.p50_ms:g}", f"latency_{name}_p99_ms": f"{found.p99_ms:g}"}
        return notes

    def reaction_ms(self) -> float | None:
        """Milliseconds from light to motion, without what the policy takes; None where a part was not measured."""
        if not all(name in self.figures for name in REACTION):
            return None
        return sum(self.figures[name].p50_ms for name in REACTION)


def default_path(spec: RobotSpec) -> Path:
    """Where the latencies of the robot of this name are kept for this user."""
    return user_folder("latency") / f"{spec.name}.yaml"


def find_latencies(spec: RobotSpec, choice: str) -> Latencies | None:
    """The latencies that a node uses: `choice` is "auto", "none" or a file.

    "auto" takes this user's for the robot of that name, if there are any. Raises as `load_latencies`.
    """
    if choice == "none" or (choice == "auto" and not default_path(spec).is_file()):
        return None
    return load_latencies(default_path(spec) if choice == "auto" else choice, spec)


def load_latencies(path: str | Path, spec: RobotSpec) -> Latencies:
    """Read latencies.

    Raises:
        FileNotFoundError: there are none.
        LatencyError: the file is damaged, or of another robot.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no latencies at {path}; `vmail latency --port DEVICE` measures them")
    try:
        plain: dict[str, Any] = yaml.safe_load(path.read_text())
        figures = {str(name): Figure(**values) for name, values in plain["figures"].items()}
        found = Latencies(str(plain["robot"]), str(plain["made"]), figures)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise LatencyError(f"{path} is damaged ({error}): remove it and run `vmail latency`") from error
    if found.robot != spec.name:
        raise LatencyError(f"{path} is of robot {found.robot}, not of {spec.name}: run `vmail latency` with this robot")
    return found
