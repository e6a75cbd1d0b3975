"""What one read of the bus tells about the joints and about one servo's health."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class JointState:
    """Every joint at one moment, in the order of `RobotSpec.joint_names`.

    Attributes:
        position: (N,) rad.
        velocity: (N,) rad/s.
        current_ma: (N,) mA, signed like the joint's motion.
        time: wall clock in seconds (`time.time()`) at which the servos were asked.
        alerts: ids of the servos whose answer carried the hardware-alert bit.
        temperature_c, voltage_v: (N,) degrees Celsius and volts of the servos, where they were read, too.
    """

    position: np.ndarray
    velocity: np.ndarray
    current_ma: np.ndarray
    time: float
    alerts: tuple[int, ...] = ()
    temperature_c: np.ndarray | None = None
    voltage_v: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class ServoHealth:
    """One servo's slow readings.

    Attributes:
        servo_id: Dynamixel id.
        joint_name: the joint that it drives.
        hardware_error: register 70 as it stands, 0 when all is well.
        errors: names of the bits that are set in `hardware_error` ("overload", "overheating", ...).
        temperature_c: inner temperature in degrees Celsius.
        voltage_v: input voltage in volts.
        torque_enabled: whether the motor is powered now.
        watchdog_tripped: the servo heard nothing for too long and ignores goals until torque is set again.
    """

    servo_id: int
    joint_name: str
    hardware_error: int
    errors: tuple[str, ...]
    temperature_c: float
    voltage_v: float
    torque_enabled: bool
    watchdog_tripped: bool
