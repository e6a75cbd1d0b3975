"""A driver as a process, on an emulated bus: one for each file of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from driver_bench import SPEC, Commander, is_active
from driver_process import start_driver
from ros_harness import Collected, NodeProcess, Ros, until
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from vmail_hardware.emulator import EmulatedBus, Faults, WireCheck
from vmail_nodes.qos import SENSOR_SUBSCRIBER

# Emulated servos and commands are as late as the machine is busy. No test here is about how soon an age is noticed.
PATIENCE = {"reply_timeout_ms": 40.0, "command_timeout_s": 1.0}


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedBus]:
    """Nine emulated servos. Whatever the tests here do to the driver, it writes them nothing unsafe."""
    check = WireCheck(SPEC)
    with EmulatedBus(tmp_path_factory.mktemp("bus") / "servos", SPEC, check=check) as emulated:
        yield emulated
    assert not check.count, check.violations


@pytest.fixture(scope="module")
def ros(module_ros: Ros) -> Ros:
    """One probe for the module."""
    return module_ros


@pytest.fixture(scope="module")
def processes() -> list[NodeProcess]:
    """Drivers started so far."""
    return []


@pytest.fixture
def driver(
    ros: Ros, bus: EmulatedBus, module_start_node: Callable[..., NodeProcess], processes: list[NodeProcess]
) -> NodeProcess:
    """A driver on that bus, waiting for commands with torque on and the joints 0.1 rad off the rest pose."""
    vars(bus.faults).update(vars(Faults()))
    until(bus.path.exists, "the bus is plugged in")
    if processes and processes[-1].process.poll() is None and not is_active(ros):
        processes[-1].end()  # a test before failed
    if not processes or processes[-1].process.poll() is not None:
        processes.append(start_driver(module_start_node, {"port": str(bus.path), **PATIENCE}))
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    bus.plant.push(np.clip(SPEC.rest + 0.1, SPEC.lower, SPEC.upper))
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    return processes[-1]


@pytest.fixture(scope="module")
def states(ros: Ros) -> Collected:
    """What the driver reads: one message for each tick that found all servos."""
    return ros.collect(JointState, "joint_states", SENSOR_SUBSCRIBER)


@pytest.fixture
def commander(ros: Ros, driver: NodeProcess) -> Iterator[Commander]:
    """Commands the rest pose, and the driver obeys."""
    commander = Commander(ros, SPEC.rest.copy())
    ros.wait_reason("dynamixel_driver", "ok")
    yield commander
    commander.stop()
