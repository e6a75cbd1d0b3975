"""What the tests of the bus share."""

from __future__ import annotations

import time
from collections.abc import Callable

from vmail_core.robot import RobotSpec
from vmail_hardware.control_table import RAD_PER_TICK
from vmail_hardware.emulator import EmulatedBus

TICK = RAD_PER_TICK


def wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def torque(emulated: EmulatedBus, spec: RobotSpec) -> list[int]:
    return [emulated.servo(servo_id).get("torque_enable") for servo_id in spec.servo_ids]


def plug_in_again(emulated: EmulatedBus) -> None:
    emulated.faults.unplugged = False
    wait_until(emulated.path.exists)
