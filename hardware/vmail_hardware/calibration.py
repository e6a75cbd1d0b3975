"""Where a hand's joints are: the servo angle of each joint's zero, and the travel that it was moved through.

Horns are screwed on by hand and servos are replaced, so two hands of one robot differ. The order matters: the joints
are swept through all of their travel first, which tells where a servo's angle wraps around, and only then put into the
home pose, which must lie inside of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vmail_core.robot import RobotSpec
from vmail_core.yaml_errors import in_one_line
from vmail_hardware.user_files import keep_file, user_folder

TURN_RAD = 2.0 * np.pi
LEAST_TRAVEL_RAD = 0.2  # a joint that was moved less was forgotten
TOLERANCE_RAD = 0.1  # a joint that stands farther outside of its travel is not the one that was calibrated
ARRAYS = ("direction", "zero_rad", "lowest", "highest")
STEADY_RAD = 0.02  # how far joints may move while the home pose is read


class CalibrationError(ValueError):
    """A calibration cannot be made, read or used; the message names joint or file and the next step."""


class Sweep:
    """The travel of N joints as servo angles, unwrapped: a joint that passes a servo's zero goes on counting."""

    def __init__(self, spec: RobotSpec) -> None:
        """Nothing has moved yet."""
        self._spec = spec
        self._last: np.ndarray | None = None
        self.angle = np.zeros(spec.action_size)
        self.lowest, self.highest = np.full((2, spec.action_size), np.nan)

    def add(self, servo_rad: np.ndarray) -> None:
        """Servo angles (N,) rad as they are read, any number of turns off."""
        servo_rad = np.asarray(servo_rad, np.float64)
        if self._last is None:
            self.angle = servo_rad.copy()
        else:
            step = servo_rad - self._last
            self.angle = self.angle + step - TURN_RAD * np.round(step / TURN_RAD)
        self._last = servo_rad.copy()
        self.lowest, self.highest = np.fmin(self.lowest, self.angle), np.fmax(self.highest, self.angle)

    @property
    def travel(self) -> np.ndarray:
        """(N,) rad from the lowest angle to the highest so far."""
        return self.highest - self.lowest

    def unmoved(self) -> list[str]:
        """Joints that have hardly moved."""
        moved = self.travel >= LEAST_TRAVEL_RAD
        return [name for name, enough in zip(self._spec.joint_names, moved, strict=True) if not enough]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Of one hand.

    Attributes:
        robot: name of the robot.
        made: day and time, ISO 8601.
        servos: servo id to model number, in the robot's order.
        direction: (N,) +1 or -1 of the robot then: zeros and travel hold for it alone.
        zero_rad: (N,) servo angle at which each joint reads 0.
        lowest, highest: (N,) rad, ends of each joint's travel, as joint angles.
    """

    robot: str
    made: str
    servos: dict[int, int]
    direction: np.ndarray
    zero_rad: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    def digest(self) -> str:
        """SHA-256 of the file's content: takes note it."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        plain = dataclasses.asdict(self)
        for name in ARRAYS:
            plain[name] = [round(float(value), 6) for value in plain[name]]
        return yaml.safe_dump(plain, sort_keys=False)

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all; one that was there is kept beside it with its date. Returns the path."""
        path = Path(path)
        keep_file(path, self._text(), self.made)
        return path

    def apply(self, spec: RobotSpec) -> RobotSpec:
        """The robot with this hand's zeros.

        Raises:
            CalibrationError: it is of another robot or of other servos, or the robot's limits leave the joints' travel
                or what their servos can reach.
        """
        if self.robot != spec.name or tuple(self.servos) != spec.servo_ids:
            raise CalibrationError(
                f"the calibration of {self.made} is of robot {self.robot} with servos {list(self.servos)}, not of "
                f"{spec.name} with {list(spec.servo_ids)}: run `vmail calibrate` with this robot"
            )
        turned = np.flatnonzero(self.direction != spec.direction)
        if len(turned):
            raise CalibrationError(
                f"{_name(spec, int(turned[0]))} has another direction in the robot's file than when it was calibrated, "
                f"on {self.made[:10]}: run `vmail calibrate` again"
            )
        beyond = (spec.lower < self.lowest - TOLERANCE_RAD) | (spec.upper > self.highest + TOLERANCE_RAD)
        if beyond.any():
            joint = int(np.argmax(beyond))
            raise CalibrationError(
                f"{_name(spec, joint)} travels from {self.lowest[joint]:.2f} to {self.highest[joint]:.2f} rad, but its "
                f"limits in the robot's file are {spec.lower[joint]:.2f} and {spec.upper[joint]:.2f}: tighten them, or "
                "run `vmail calibrate` again and move it all the way"
            )
        return self._within_the_servos(dataclasses.replace(spec, zero_rad=self.zero_rad))

    def _within_the_servos(self, spec: RobotSpec) -> RobotSpec:
        """The robot, if its limits lie where its servos can go: their own angles from 0 to one turn."""
        ends = np.stack([spec.zero_rad + spec.direction * limit for limit in (spec.lower, spec.upper)])
        out = (ends.min(0) < 0.0) | (ends.max(0) >= TURN_RAD)
        if out.any():
            joint = int(np.argmax(out))
            raise CalibrationError(
                f"the limits of {_name(spec, joint)} in the robot's file, {spec.lower[joint]:.2f} and "
                f"{spec.upper[joint]:.2f} rad, reach past the servo's own zero, which it cannot cross in position "
                "mode: tighten them, or turn its horn and run `vmail calibrate` again"
            )
        return spec

    def check(self, spec: RobotSpec, servos: dict[int, int], positions: np.ndarray) -> None:
        """Make sure that these are the servos, and that the joints stand where they can stand.

        A horn that was turned a little, so that the joint is still within its travel, cannot be told from here.

        Args:
            spec: the calibrated robot.
            servos: id to model number, as found.
            positions: (N,) rad, read with the calibrated robot.

        Raises:
            CalibrationError: a servo is of another model, or a joint stands outside of its travel.
        """
        other = [servo_id for servo_id, number in self.servos.items() if servos.get(servo_id) != number]
        if other:
            raise CalibrationError(
                f"servo {other[0]} is of another model than on {self.made[:10]}: run `vmail calibrate`"
            )
        outside = (positions < self.lowest - TOLERANCE_RAD) | (positions > self.highest + TOLERANCE_RAD)
        if outside.any():
            joint = int(np.argmax(outside))
            raise CalibrationError(
                f"{_name(spec, joint)} stands at {positions[joint]:.2f} rad, outside of the travel from "
                f"{self.lowest[joint]:.2f} to {self.highest[joint]:.2f} that was calibrated on {self.made[:10]}: its "
                "horn was turned or the servo replaced; run `vmail calibrate`"
            )


def calibrate(
    spec: RobotSpec, sweep: Sweep, home_reads: Sequence[np.ndarray], home: np.ndarray, servos: dict[int, int]
) -> Calibration:
    """A calibration from a sweep and what was read in the home pose.

    Args:
        spec: the robot.
        sweep: of all joints, which has also seen the way to the home pose.
        home_reads: servo angles (N,) rad, several in a row, with the hand in the home pose.
        home: (N,) joint angles of the home pose.
        servos: id to model number.

    Raises:
        CalibrationError: joints were not swept, moved while the pose was read, are out of their travel there, or a
            servo's own zero lies within the travel.
    """
    unmoved = sweep.unmoved()
    if unmoved:
        raise CalibrationError(f"{', '.join(unmoved)} hardly moved: move every joint from one end to the other")
    reads = np.asarray(home_reads, np.float64)
    if np.ptp(reads, axis=0).max() > STEADY_RAD:
        joint = spec.joint_names[int(np.argmax(np.ptp(reads, axis=0)))]
        raise CalibrationError(f"{joint} moved while the home pose was read: hold the hand still")
    pose = reads.mean(0)
    _refuse_wrapped(spec, sweep, pose)
    # The sweep may have counted turns that the servo does not: what it reads now is what it will read.
    turns = np.round((sweep.angle - pose) / TURN_RAD) * TURN_RAD
    zero = pose - spec.direction * home
    ends = np.sort(np.stack([(end - turns - zero) * spec.direction for end in (sweep.lowest, sweep.highest)]), axis=0)
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Calibration(spec.name, made, servos, spec.direction, zero, ends[0], ends[1])


def _refuse_wrapped(spec: RobotSpec, sweep: Sweep, pose: np.ndarray) -> None:
    """In position mode a servo goes from 0 to one turn and never across: the travel must lie between.

    That is so without a homing offset, and the bus opens no servo that has one.
    """
    turns = np.round((sweep.angle - pose) / TURN_RAD) * TURN_RAD
    lowest, highest = sweep.lowest - turns, sweep.highest - turns
    wrapped = (lowest < 0.0) | (highest > TURN_RAD)
    elsewhere = wrapped & ((pose < 0.0) | (pose >= TURN_RAD))
    if elsewhere.any():
        raise CalibrationError(
            f"{_name(spec, int(np.argmax(elsewhere)))} was turned past the servo's own zero, and the servo counts "
            "turns since: switch the servos' power off and on, then calibrate again"
        )
    if wrapped.any():
        joint = int(np.argmax(wrapped))
        middle = np.rad2deg(lowest[joint] + highest[joint]) / 2.0
        raise CalibrationError(
            f"{_name(spec, joint)} passes the servo's own zero within its travel, which no servo can cross in position "
            f"mode: turn its horn by about {180.0 - middle:.0f} degrees, then calibrate again"
        )


def _name(spec: RobotSpec, joint: int) -> str:
    return f"{spec.joint_names[joint]} (servo {spec.servo_ids[joint]})"


def default_path(spec: RobotSpec) -> Path:
    """Where the calibration of the robot of this name is kept for this user."""
    return user_folder("calibration") / f"{spec.name}.yaml"


def find_calibration(spec: RobotSpec, choice: str) -> Calibration | None:
    """The calibration that a node uses: `choice` is "auto", "none" or a file.

    "auto" takes this user's for the robot of that name, if there is one. Raises as `load_calibration`.
    """
    if choice == "none" or (choice == "auto" and not default_path(spec).is_file()):
        return None
    return load_calibration(default_path(spec) if choice == "auto" else choice)


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Raises:
        FileNotFoundError: there is none.
        CalibrationError: it is damaged.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no calibration at {path}; `vmail calibrate --port DEVICE` makes one")
    try:
        plain: dict[str, Any] = yaml.safe_load(path.read_text())
        arrays = {name: np.array([float(v) for v in plain[name]]) for name in ARRAYS}
        servos = {int(servo_id): int(model) for servo_id, model in plain["servos"].items()}
        made = Calibration(str(plain["robot"]), str(plain["made"]), servos, **arrays)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = in_one_line(error) if isinstance(error, yaml.YAMLError) else error
        raise CalibrationError(f"{path} is damaged ({reason}): remove it and run `vmail calibrate`") from error
    if any(len(array) != len(servos) or not np.isfinite(array).all() for array in arrays.values()):
        raise CalibrationError(f"{path} is damaged (not a number for each servo): remove it and run `vmail calibrate`")
    return made
