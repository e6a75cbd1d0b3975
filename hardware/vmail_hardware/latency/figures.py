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
CAMERA_FIGURES = tuple(name for name in WHAT if name.startswith("camera_"))
REACTION = ("camera_motion", "camera_age", "action")  # what lies between light and motion, but for the policy
ENOUGH_FOR_P99 = 100


class LatencyError(ValueError):
    """Latencies cannot be measured or read; the message says why and the next step."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One latency.

    Attributes:
        p50_ms, p99_ms: median, and what 99 of 100 stay below; of fewer than 100 the largest.
        count: of how many.
        of: the port, or the camera's name.
        made: day and time, ISO 8601.
        lost: how many brought nothing, and are not counted.
        size: of a camera's pictures, like "640x480".
    """

    p50_ms: float
    p99_ms: float
    count: int
    of: str
    made: str
    lost: int = 0
    size: str = ""

    @property
    def place(self) -> str:
        """Of what it is, with the size of a camera's pictures, for people."""
        return f"{self.of} {self.size}".rstrip()

    @property
    def late_name(self) -> str:
        """What `p99_ms` is: fewer than 100 have no 99th of 100."""
        return "p99" if self.count >= ENOUGH_FOR_P99 else "max"


def figure(seconds: Sequence[float] | np.ndarray, of: str, made: str, lost: int = 0, size: str = "") -> Figure:
    """A figure of measured seconds, of which there is at least one."""
    late = 99 if len(seconds) >= ENOUGH_FOR_P99 else 100
    p50, p99 = np.percentile(np.asarray(seconds, np.float64) * 1e3, [50, late])
    return Figure(round(float(p50), 3), round(float(p99), 3), len(seconds), of, made, lost, size)


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
        """With these figures; others stay, with their own date, but those of another camera or size of picture."""
        seen = {(figures[name].of, figures[name].size) for name in CAMERA_FIGURES if name in figures}
        fitting = {
            name: known
            for name, known in self.figures.items()
            if name not in CAMERA_FIGURES or not seen or (known.of, known.size) in seen
        }
        merged = fitting | figures
        return Latencies(self.robot, made, {name: merged[name] for name in WHAT if name in merged})

    def notes(self) -> dict[str, str]:
        """For a take's notes: `latency_made`, and for each figure two numbers, its date, and of what it is."""
        notes = {"latency_made": self.made}
        for name, found in self.figures.items():
            notes |= {
                f"latency_{name}_p50_ms": f"{found.p50_ms:g}",
                f"latency_{name}_{found.late_name}_ms": f"{found.p99_ms:g}",
                f"latency_{name}_made": found.made,
                f"latency_{name}_of": found.place,
            }
        return notes

    def oldest(self) -> str:
        """Day and time of the oldest figure, ISO 8601."""
        return min([found.made for found in self.figures.values()], default=self.made)

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
        plain: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        figures = {name: _figure(values) for name, values in plain["figures"].items()}
        if unknown := figures.keys() - WHAT.keys():
            raise ValueError(f"figures {', '.join(map(str, unknown))} are not known")
        found = Latencies(str(plain["robot"]), str(plain["made"]), figures)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise LatencyError(f"{path} is damaged ({_one_line(error)}): remove it and run `vmail latency`") from error
    if found.robot != spec.name:
        raise LatencyError(f"{path} is of robot {found.robot}, not of {spec.name}: run `vmail latency` with this robot")
    return found


def _figure(values: dict[str, Any]) -> Figure:
    """A figure as it was written. Raises TypeError or ValueError for anything else."""
    found = Figure(**values)
    numbers = (found.p50_ms, found.p99_ms, found.count, found.lost)
    if not all(isinstance(number, int | float) and np.isfinite(number) for number in numbers):
        raise ValueError(f"of {found.of}: {numbers} are not all numbers")
    if not all(isinstance(text, str) for text in (found.of, found.made, found.size)):
        raise ValueError(f"of {found.of}: of, made and size are text")
    return found


def _one_line(error: Exception) -> str:
    """YAML's errors show the place on lines of their own."""
    return " ".join(str(error).split())
