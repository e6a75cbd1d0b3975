"""dynamixel_driver as a process, on an emulated bus of this test: what reaches the servos, and what does not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_harness import NodeProcess, Ros
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus, Faults
from vmail_nodes.messages import command_message, latency_ns, positions_from_command, positions_from_joint_state
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, SENSOR_SUBSCRIBER

pytestmark = pytest.mark.xdist_group("driver")  # its tests share processes

SPEC = load_robot("dclaw")
TICK = 2 * np.pi / 4096


class Commander:
    """Publishes desired positions at 10 Hz, stamped now, until stopped."""

    def __init__(self, ros: Ros, positions: np.ndarray) -> None:
        """Begins once the driver listens."""
        self.positions = positions
        self._publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SPEC.control_period):
            self._publisher.publish(command_message(SPEC.joint_names, self.positions, time.time_ns()))

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedBus]:
    """Nine emulated servos."""
    with EmulatedBus(tmp_path_factory.mktemp("bus") / "servos", SPEC) as emulated:
        yield emulated


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
    if not processes or processes[-1].process.poll() is not None:
        processes.append(module_start_node("vmail_nodes.dynamixel_driver", {"port": str(bus.path)}))
        processes[-1].wait_output("torque on")
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    bus.plant.push(np.clip(SPEC.rest + 0.1, SPEC.lower, SPEC.upper))
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "no_command_yet")
    return processes[-1]


@pytest.fixture
def commander(ros: Ros, driver: NodeProcess) -> Iterator[Commander]:
    """Commands the rest pose, and the driver obeys."""
    commander = Commander(ros, SPEC.rest.copy())
    ros.wait_reason("dynamixel_driver", "ok")
    yield commander
    commander.stop()


def torque(bus: EmulatedBus) -> list[int]:
    return [bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids]


def goals(bus: EmulatedBus) -> np.ndarray:
    ticks = np.array([bus.servo(servo_id).get("goal_position") for servo_id in SPEC.servo_ids])
    return (ticks * TICK - SPEC.zero_rad) * SPEC.direction


def test_reads_at_rate_and_reports_where_the_joints_are(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    states = ros.collect(JointState, "joint_states", SENSOR_SUBSCRIBER)
    states.wait_for(1)
    states.clear()
    messages = states.wait_for(100)
    assert 0.5 < states.arrived[99] - states.arrived[0] < 2.0  # 100 Hz on a busy machine
    assert list(messages[-1].name) == list(SPEC.joint_names)
    np.testing.assert_allclose(
        positions_from_joint_state(messages[-1], SPEC.joint_names), bus.plant.positions(), atol=TICK
    )


def test_obeys_commands_within_the_speed_limit_and_says_what_it_sent(
    ros: Ros, bus: EmulatedBus, driver: NodeProcess
) -> None:
    sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    before = bus.plant.positions()
    desired = np.zeros(SPEC.action_size)
    commander = Commander(ros, desired)
    first = sent.wait_for(1)[0]
    written = positions_from_command(first, SPEC.joint_names)
    np.testing.assert_allclose(written, SPEC.limit_step(desired, before), atol=1.5 * TICK)
    assert np.abs(written - desired).max() > 0.5  # the far joints were held back
    assert 0 < latency_ns(first) < 100e6
    sent.wait_for(12)
    commander.stop()
    np.testing.assert_allclose(bus.plant.positions(), desired, atol=0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_torque_is_off_after_a_signal(bus: EmulatedBus, driver: NodeProcess, number: signal.Signals) -> None:
    assert torque(bus) == [1] * SPEC.action_size
    driver.signal(number)
    driver.signal(signal.SIGINT)  # a second one must not cut the switching off short
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_torque_is_off_after_a_signal_with_a_servo_that_loses_answers(bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.lose_next = 20
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_says_so_when_torque_may_still_be_on(bus: EmulatedBus, driver: NodeProcess) -> None:
    bus.faults.unplugged = True
    time.sleep(0.2)
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 1
    assert "torque may still be on" in driver.output


def change_state(ros: Ros, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return ros.call(ChangeState, "dynamixel_driver/change_state", request).success


def test_torque_follows_the_lifecycle(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    assert torque(bus) == [0] * SPEC.action_size
    assert change_state(ros, Transition.TRANSITION_CLEANUP)
    assert change_state(ros, Transition.TRANSITION_CONFIGURE)
    assert change_state(ros, Transition.TRANSITION_ACTIVATE)
    assert torque(bus) == [1] * SPEC.action_size
    np.testing.assert_allclose(goals(bus), bus.plant.positions(), atol=1.5 * TICK)
    assert change_state(ros, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_holds_when_commands_stop_and_goes_on_with_the_next(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    commander.stop()
    ros.wait_reason("dynamixel_driver", "command_too_old", timeout=3.0)
    assert torque(bus) == [1] * SPEC.action_size
    again = Commander(ros, SPEC.rest)
    ros.wait_reason("dynamixel_driver", "ok", timeout=3.0)
    again.stop()


def test_a_hold_is_written_once_and_does_not_fight(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    commander.stop()
    ros.wait_reason("dynamixel_driver", "command_too_old", timeout=3.0)
    time.sleep(0.2)  # for the emulated servos to take the hold's goals
    held = goals(bus)
    elsewhere = np.clip(held + 0.3, SPEC.lower, SPEC.upper)
    bus.plant.push(elsewhere)
    bus.hold_present()
    time.sleep(0.5)
    np.testing.assert_allclose(goals(bus), elsewhere, atol=1.5 * TICK)


def test_not_a_number_holds(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    commander.positions = np.where(np.arange(SPEC.action_size) == 4, np.nan, 0.0)
    status = ros.wait_reason("dynamixel_driver", "command_not_finite", timeout=3.0)
    assert "MFJ21" in status.message
    time.sleep(0.3)
    np.testing.assert_allclose(goals(bus), SPEC.rest, atol=1.5 * TICK)  # the last good command stands


def test_a_command_for_other_joints_holds(ros: Ros, driver: NodeProcess) -> None:
    publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    publisher.publish(command_message(["a", "b"], np.zeros(2), time.time_ns()))
    ros.wait_reason("dynamixel_driver", "command_wrong_size", timeout=3.0)


def test_a_command_from_an_old_picture_is_refused(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    before = goals(bus)
    publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    publisher.publish(command_message(SPEC.joint_names, np.zeros(SPEC.action_size), time.time_ns() - 10**9))
    ros.wait_reason("dynamixel_driver", "command_too_old", timeout=3.0)
    np.testing.assert_allclose(goals(bus), before, atol=1.5 * TICK)


def test_a_silent_servo_holds_by_name_and_recovers(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.silent_ids = {21}
    status = ros.wait_reason("dynamixel_driver", "bus_silent", timeout=3.0)
    assert "21" in status.message
    bus.faults.silent_ids = set()
    ros.wait_reason("dynamixel_driver", "ok", timeout=3.0)


def test_one_lost_answer_changes_nothing(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    ros.diagnostics.clear()
    bus.faults.lose_next = 2
    time.sleep(1.5)
    reasons = {s.message for m in ros.diagnostics.messages for s in m.status if s.name == "dynamixel_driver"}
    assert reasons == {"ok"}


def test_an_unplugged_port_is_named_and_recovers_into_a_hold(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost", timeout=3.0)
    commander.stop()
    moved = np.clip(SPEC.rest + 0.15, SPEC.lower, SPEC.upper)
    bus.plant.push(moved)
    time.sleep(0.7)  # long enough for the servos' own watchdogs
    bus.faults.unplugged = False
    ros.wait_reason("dynamixel_driver", "no_command_yet", timeout=5.0)
    assert torque(bus) == [1] * SPEC.action_size
    np.testing.assert_allclose(goals(bus), bus.plant.positions(), atol=0.02)


def test_estop_latches_until_reset(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    ros.wait_reason("dynamixel_driver", "estop", timeout=3.0)
    time.sleep(0.3)
    ros.wait_reason("dynamixel_driver", "estop", timeout=3.0)
    assert torque(bus) == [1] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "ok", timeout=3.0)


def test_torque_service(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    assert torque(bus) == [0] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "torque_off", timeout=3.0)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok", timeout=3.0)


def test_a_hardware_error_latches(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.hardware_errors = {11: 0x04}
    status = ros.wait_reason("dynamixel_driver", "hardware_error", timeout=3.0)
    assert "11" in status.message


def test_a_missing_port_is_one_clear_error(start_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    process = start_node("vmail_nodes.dynamixel_driver", {"port": str(tmp_path / "nowhere")})
    assert process.wait(30.0) == 1
    assert f"no device {tmp_path / 'nowhere'}" in process.output
    assert "Traceback" not in process.output
