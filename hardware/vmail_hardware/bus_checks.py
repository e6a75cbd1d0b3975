"""What must be right before a bus is used: the port, its latency, and how the servos are set up."""

from __future__ import annotations

import dataclasses
import grp
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.bus_errors import BusOpenError
from vmail_hardware.control_table import (
    POSITION_MODE,
    RAD_PER_TICK,
    RETURN_DELAY_UNIT_S,
    ServoModel,
    hardware_error_names,
)

LEAST_FIRMWARE = 38  # the first with a bus watchdog
REQUIRED_SHUTDOWN = 0x34  # overload, electrical shock, overheating: the factory's setting
_MAX_LATENCY_MS = 1
PSEUDO_TERMINALS = range(136, 144)  # major numbers of Linux for their device files
PORT_NAMES = ("serial/by-id/*", "dynamixel-*", "ttyUSB*", "ttyACM*")
"""Below /dev, the most lasting first."""
RULES = (Path("/etc/udev/rules.d"), Path("/usr/lib/udev/rules.d"))
UDEV_RULE = Path(__file__).parent / "udev" / "99-vmail-dynamixel.rules"


@dataclasses.dataclass(frozen=True)
class ServoSettings:
    """How one servo is set up, as read from its control table."""

    servo_id: int
    joint_name: str
    firmware_version: int
    return_delay_time: int
    drive_mode: int
    operating_mode: int
    homing_offset: int
    pwm_limit: int
    max_position_limit: int
    min_position_limit: int
    shutdown: int
    hardware_error_status: int

    @property
    def wrong(self) -> dict[str, int]:
        """EEPROM registers that are not as vmail needs them, with the value that they need."""
        # With a homing offset a servo starts outside of 0 to 4095, or counts a turn more once its torque is on.
        wanted = {"return_delay_time": 0, "drive_mode": 0, "operating_mode": POSITION_MODE, "homing_offset": 0}
        found = {name: value for name, value in wanted.items() if getattr(self, name) != value}
        if self.shutdown & REQUIRED_SHUTDOWN != REQUIRED_SHUTDOWN:
            found["shutdown"] = self.shutdown | REQUIRED_SHUTDOWN
        return found


SETTINGS = tuple(field.name for field in dataclasses.fields(ServoSettings))[2:]  # the names of registers


def check_port(port: str) -> None:
    """Check that the device file is there and may be used.

    Raises:
        BusOpenError: it is missing, not a serial device, or not permitted.
    """
    path = Path(port)
    try:
        mode = path.stat().st_mode
    except OSError:  # also one that goes away just now
        raise BusOpenError(_missing(port)) from None
    if not stat.S_ISCHR(mode):
        raise BusOpenError(f"{port} is not a serial device; give the adapter's device file, e.g. /dev/ttyUSB0")
    if not os.access(path, os.R_OK | os.W_OK):
        raise BusOpenError(f"no permission for {port}; {_permission_step(path)}")


def is_device_name(port: str) -> bool:
    """Whether a port is named as those of real devices are, and not by a path of somebody's own."""
    return os.path.abspath(port).startswith("/dev/")


def _connected() -> list[str]:
    return sorted(str(device) for pattern in PORT_NAMES for device in Path("/dev").glob(pattern))


def _missing(port: str) -> str:
    """What is to be said of a port that is not there: what is, and the step that fits the name."""
    found = _connected()
    there = f"serial devices here: {', '.join(found)}" if found else "no serial device is connected"
    if not is_device_name(port):
        step = f"give the adapter's device file, or start emulated servos there: `vmail fake-bus --path {port}`"
    elif os.path.abspath(port).startswith("/dev/pts/"):
        step = "the program behind this pseudo-terminal has ended: start it again"
    elif Path(port).name.startswith("dynamixel-") and not any((rules / UDEV_RULE.name).is_file() for rules in RULES):
        step = f"such names come from a udev rule: `sudo cp {UDEV_RULE} {RULES[0]}/`, then plug the adapter in again"
    elif found:
        step = "give one of them, or plug in the adapter of this name"
    else:
        step = "plug in the servos' USB adapter; if `lsusb` then shows it, and no device comes, look at `sudo dmesg`"
    return f"no device {port} ({there}); {step}"


def _permission_step(path: Path) -> str:
    """How a user gets the permission: by the group that has it, or by the rule that gives it to one."""
    try:
        group = grp.getgrgid(path.stat().st_gid).gr_name
    except KeyError:
        group = "root"
    if group == "root":
        return (
            f"`sudo cp {UDEV_RULE} {RULES[0]}/`, plug in again, and `sudo usermod -aG dialout $USER`, then log in anew"
        )
    return f"run `sudo usermod -aG {group} $USER`, log out and log in again"


def is_pseudo_terminal(port: str) -> bool:
    """Whether a program answers at the port, such as an emulated bus or the twin, and no adapter."""
    path = Path(port).resolve()
    return path.exists() and os.major(path.stat().st_rdev) in PSEUDO_TERMINALS


def check_latency_timer(port: str, sys_root: Path = Path("/sys")) -> None:
    """Check that a USB serial adapter passes answers on after 1 ms. Other devices have no such timer.

    Raises:
        BusOpenError: the timer is longer; the message says how to set it now and for good.
    """
    device = Path(port).resolve().name
    timer = sys_root / "bus" / "usb-serial" / "devices" / device / "latency_timer"
    try:
        latency_ms = int(timer.read_text())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # the adapter goes away just now
        raise BusOpenError(f"{port}: {timer} cannot be read ({error}); plug the adapter in again") from error
    if latency_ms > _MAX_LATENCY_MS:
        raise BusOpenError(
            f"{port}: the USB latency timer is {latency_ms} ms, which is too slow for 100 Hz. "
            f"Now: `echo 1 | sudo tee {timer}`. For good: `sudo cp {UDEV_RULE} /etc/udev/rules.d/`, then plug in again"
        )


def check_directions(spec: RobotSpec) -> None:
    """Refuse any but +1 and -1, with which a goal would not be where the joint is. Raises ValueError."""
    wrong = np.flatnonzero(np.abs(spec.direction) != 1.0)
    if len(wrong):
        joint = int(wrong[0])
        raise ValueError(
            f"robot {spec.name}: direction of {spec.joint_names[joint]} is {spec.direction[joint]:g} in its file: give "
            "1, or -1 where the joint turns against its servo"
        )


def check_models(port: str, spec: RobotSpec, found: dict[int, int]) -> None:
    """Check that every servo answered its ping and is of a model that the robot may have.

    Args:
        port: device, for the message.
        spec: the robot.
        found: servo id to model number, of those that answered.

    Raises:
        BusOpenError: naming every servo concerned.
    """
    if not found:
        raise BusOpenError(
            f"{port}: no servo answers at {spec.servo_baud} baud. Check the servos' power supply and the bus cable; "
            "if they blink when power comes on, their baud rate is another: scan with DYNAMIXEL Wizard 2.0"
        )
    missing = [servo_id for servo_id in spec.servo_ids if servo_id not in found]
    if missing:
        raise BusOpenError(
            f"{port}: no answer from {name_servos(spec, missing)}. "
            "Check the cable between the last servo that answers and the first that does not"
        )
    other = [servo_id for servo_id in spec.servo_ids if found[servo_id] not in spec.servo_models]
    if other:
        models = ", ".join(f"{servo_id}: {found[servo_id]}" for servo_id in other)
        raise BusOpenError(
            f"{port}: servo models that robot {spec.name} does not list ({models}). "
            f"It lists {list(spec.servo_models)}; if these servos are right, add them to servo.models of its YAML file"
        )


def check_settings(port: str, spec: RobotSpec, model: ServoModel, settings: list[ServoSettings]) -> None:
    """Check every servo's set-up, and report all that is wrong at once.

    Raises:
        BusOpenError: naming servo, register and the value that it needs.
    """
    problems: list[str] = []
    for index, servo in enumerate(settings):
        problems += [f"{_label(servo)} {text}" for text in _problems(spec, index, servo, model)]
    if not problems:
        return
    step = "Set them with DYNAMIXEL Wizard 2.0"
    if any(servo.wrong for servo in settings):
        step = (
            "`setup_servos: true` in launch/config/nodes/dynamixel_driver.yaml (the bus's configure=True) sets what "
            "can be set; or use DYNAMIXEL Wizard 2.0"
        )
    raise BusOpenError(f"{port}: servos are not ready for robot {spec.name}: {'; '.join(problems)}. {step}")


def check_zeros_stayed(port: str, spec: RobotSpec, configured: list[ServoSettings]) -> None:
    """Refuse servos that had a homing offset until they were configured: the joints' zeros are others now.

    Raises:
        BusOpenError: naming the servos.
    """
    moved = [servo.servo_id for servo in configured if servo.homing_offset]
    if moved:
        raise BusOpenError(
            f"{port}: the homing offset of {name_servos(spec, moved)} was taken out just now, so their joints' zeros "
            "are others than before: run `vmail calibrate`, or set zero_rad in the robot's file, then start again"
        )


def name_servos(spec: RobotSpec, servo_ids: Iterable[int]) -> str:
    """Ids and joints for messages, like: servo 20 (MFJ20), servo 21 (MFJ21)."""
    names = dict(zip(spec.servo_ids, spec.joint_names, strict=True))
    return ", ".join(f"servo {servo_id} ({names.get(servo_id, 'not a joint')})" for servo_id in servo_ids)


def _label(servo: ServoSettings) -> str:
    return f"servo {servo.servo_id} ({servo.joint_name})"


def _problems(spec: RobotSpec, index: int, servo: ServoSettings, model: ServoModel) -> list[str]:
    texts = []
    for name, value in servo.wrong.items():
        found = getattr(servo, name)
        why = f", {found * RETURN_DELAY_UNIT_S * 1e6:.0f} us an answer" if name == "return_delay_time" else ""
        why = f", {found * RAD_PER_TICK:.2f} rad" if name == "homing_offset" else why
        texts.append(f"has {name} ({model[name].address}) = {found}{why}, needs {value}")
    if servo.firmware_version < LEAST_FIRMWARE:
        texts.append(
            f"has firmware {servo.firmware_version}, which knows no bus watchdog; {LEAST_FIRMWARE} does: update it"
        )
    lowest, highest = goal_range_ticks(spec)[index]
    if lowest < servo.min_position_limit or highest > servo.max_position_limit:
        texts.append(
            f"allows goals {servo.min_position_limit} to {servo.max_position_limit} (52, 48), "
            f"its joint limits need {lowest} to {highest}"
        )
    if servo.hardware_error_status:
        names = " and ".join(hardware_error_names(servo.hardware_error_status))
        texts.append(f"reports {names}: let it cool down or free it, then switch its power off and on")
    return texts


def goal_range_ticks(spec: RobotSpec) -> list[tuple[int, int]]:
    """For each joint the (lowest, highest) goal in ticks that its limits allow."""
    ends = [(spec.zero_rad + spec.direction * limit) / RAD_PER_TICK for limit in (spec.lower, spec.upper)]
    lowest, highest = np.rint(np.minimum(*ends)), np.rint(np.maximum(*ends))
    return [(int(low), int(high)) for low, high in zip(lowest, highest, strict=True)]
