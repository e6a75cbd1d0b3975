"""dynamixel_driver as a process, on an emulated bus of this test: what reaches the servos, and what does not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from driver_process import start_driver
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_harness import Collected, NodeProcess, Ros, until
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import load_robot
from vmail_hardware.emulator import EmulatedBus, Faults, WireCheck
from vmail_hardware.emulator.chain import SYNC_WRITE
from vmail_hardware.emulator.packets import Instruction
from vmail_nodes.diagnostics import reason_of
from vmail_nodes.messages import (
    command_message,
    goals_from_message,
    latency_ns,
    ns_from_time,
    positions_from_command,
    positions_from_joint_state,
)
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, GOALS, SENSOR_SUBSCRIBER

pytestmark = pytest.mark.xdist_group("driver")  # its tests share processes

SPEC = load_robot("dclaw")
TICK = 2 * np.pi / 4096
# Emulated servos and commands are as late as the machine is busy. No test here is about how soon an age is noticed.
PATIENCE = {"reply_timeout_ms": 40.0, "command_timeout_s": 1.0}


class Commander:
    """Publishes desired positions at 10 Hz, stamped now, until stopped."""

    def __init__(self, ros: Ros, positions: np.ndarray, name: str = "") -> None:
        """Begins once the driver listens."""
        self.positions, self._name = positions, name
        self._publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SPEC.control_period):
            self._publisher.publish(command_message(SPEC.joint_names, self.positions, time.time_ns(), self._name))

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._thread.join()


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


def is_active(ros: Ros) -> bool:
    return ros.call(GetState, "dynamixel_driver/get_state").current_state.id == State.PRIMARY_STATE_ACTIVE


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


def torque(bus: EmulatedBus) -> list[int]:
    return [bus.servo(servo_id).get("torque_enable") for servo_id in SPEC.servo_ids]


def goals(bus: EmulatedBus) -> np.ndarray:
    ticks = np.array([bus.servo(servo_id).get("goal_position") for servo_id in SPEC.servo_ids])
    return (ticks * TICK - SPEC.zero_rad) * SPEC.direction


def wait_ticks(states: Collected, count: int) -> list[JointState]:
    """Let the driver read so often; what it wrote before that has reached the servos."""
    states.clear()
    return states.wait_stamped(time.time_ns(), count)


def test_reads_at_rate_and_reports_where_the_joints_are(
    bus: EmulatedBus, driver: NodeProcess, states: Collected
) -> None:
    messages = wait_ticks(states, 100)
    intervals = np.diff([ns_from_time(message.header.stamp) for message in messages]) * 1e-9
    assert np.median(intervals) == pytest.approx(0.01, rel=0.2)  # some are longer on a busy machine
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
    sent.wait_for(12)
    until(lambda: np.allclose(bus.plant.positions(), desired, rtol=0.0, atol=0.02), "the joints arrive")
    commander.stop()
    latencies = [latency_ns(message) for message in sent.messages]
    assert 0 < min(latencies) < 100e6  # the least of them is the driver's, the others may be the machine's


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
    until(lambda: not bus.path.exists(), "the bus is unplugged")
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
    # Either refuses, and may be asked again, when a busy machine keeps the emulated servos from answering in time.
    until(lambda: change_state(ros, Transition.TRANSITION_CONFIGURE), "the driver is configured")
    until(lambda: change_state(ros, Transition.TRANSITION_ACTIVATE), "the driver is active")
    assert torque(bus) == [1] * SPEC.action_size
    np.testing.assert_allclose(goals(bus), bus.plant.positions(), atol=1.5 * TICK)
    assert change_state(ros, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert driver.wait() == 0
    assert torque(bus) == [0] * SPEC.action_size


def test_holds_when_commands_stop_and_goes_on_with_the_next(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    stopped_ns = time.time_ns()
    commander.stop()
    ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=stopped_ns)
    assert torque(bus) == [1] * SPEC.action_size
    again = Commander(ros, SPEC.rest)
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)
    again.stop()


def test_a_hold_is_written_when_it_begins_and_does_not_fight(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    stopped_ns = time.time_ns()
    commander.stop()
    ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=stopped_ns)
    wait_ticks(states, 10)
    held = goals(bus)
    elsewhere = np.clip(held + 0.3, SPEC.lower, SPEC.upper)
    bus.plant.push(elsewhere)
    bus.hold_present()  # on a busy machine the joints have begun to come back
    there = goals(bus)
    assert np.abs(there - held).max() > 0.1
    wait_ticks(states, 50)
    np.testing.assert_allclose(goals(bus), there, atol=1.5 * TICK)


def test_not_a_number_holds(ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected) -> None:
    commander.positions = np.where(np.arange(SPEC.action_size) == 4, np.nan, 0.0)
    status = ros.wait_reason("dynamixel_driver", "command_not_finite", within=3.0)
    assert "MFJ21" in status.message
    wait_ticks(states, 30)
    np.testing.assert_allclose(goals(bus), SPEC.rest, atol=1.5 * TICK)  # the last good command stands


def test_a_command_for_other_joints_holds(ros: Ros, driver: NodeProcess) -> None:
    publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    stamp_ns = time.time_ns()
    publisher.publish(command_message(["a", "b"], np.zeros(2), stamp_ns))
    ros.wait_reason("dynamixel_driver", "command_wrong_size", within=3.0, since_ns=stamp_ns)


def test_two_who_command_at_once_hold_the_hand_until_one_of_them_stops(ros: Ros, driver: NodeProcess) -> None:
    sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
    keyboard = Commander(ros, SPEC.rest.copy(), "keyboard")
    ros.wait_reason("dynamixel_driver", "ok")
    policy = Commander(ros, SPEC.rest + 0.1, "policy")
    status = ros.wait_reason("dynamixel_driver", "two_commanders")
    assert "keyboard, policy" in status.message
    keyboard.stop()
    stopped_ns = time.time_ns()
    ros.wait_reason("dynamixel_driver", "ok", since_ns=stopped_ns)
    # Whose command it was is told with what was sent.
    assert sent.messages[0].header.frame_id == "keyboard"
    sent.wait_until(lambda message: message.header.frame_id == "policy")
    policy.stop()


def test_a_command_from_an_old_picture_is_refused(
    ros: Ros, bus: EmulatedBus, driver: NodeProcess, states: Collected
) -> None:
    before = goals(bus)
    publisher = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    now_ns = time.time_ns()
    publisher.publish(command_message(SPEC.joint_names, np.zeros(SPEC.action_size), now_ns - 2 * 10**9))
    ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=now_ns)
    wait_ticks(states, 5)
    np.testing.assert_allclose(goals(bus), before, atol=1.5 * TICK)


def test_a_silent_servo_holds_by_name_and_recovers(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.silent_ids = {21}
    status = ros.wait_reason("dynamixel_driver", "bus_silent", within=3.0)
    assert "21" in status.message
    bus.faults.silent_ids = set()
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)


def test_one_lost_answer_changes_nothing(ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected) -> None:
    def said(since_ns: int) -> list[DiagnosticStatus]:
        messages = [m for m in list(ros.diagnostics.messages) if ns_from_time(m.header.stamp) >= since_ns]
        return [status for message in messages for status in message.status if status.name == "dynamixel_driver"]

    def silent_reads(status: DiagnosticStatus) -> int:
        return int({pair.key: pair.value for pair in status.values}.get("silent_reads", "0"))

    before = silent_reads(said(0)[-1])
    wait_ticks(states, 1)
    began_ns = time.time_ns()
    bus.faults.lose_next = 2
    until(lambda: any(silent_reads(status) > before for status in said(began_ns)), "the driver notices")
    noticed_ns = time.time_ns()
    until(lambda: said(noticed_ns), "the driver goes on")
    assert bus.faults.lose_next == 0
    reasons = {reason_of(status) for status in said(began_ns)}
    # On a machine that stalled, all answers were late for once: then holding is right.
    unknown_s = np.diff([ns_from_time(message.header.stamp) for message in list(states.messages)]).max() * 1e-9
    assert reasons == {"ok"} or unknown_s > 0.1


def test_a_servo_that_shut_down_while_the_port_was_away_is_named_and_restarted(
    ros: Ros, bus: EmulatedBus, commander: Commander
) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    bus.faults.hardware_errors = {21: 0x04}
    bus.faults.unplugged = False
    status = ros.wait_reason("dynamixel_driver", "hardware_error")
    assert "servo 21 (MFJ21) reports overheating" in status.message
    bus.faults.hardware_errors = {}
    until(lambda: ros.call(Trigger, "dynamixel_driver/reset_guard").success, "the servo is restarted")
    ros.wait_reason("dynamixel_driver", "ok")
    assert torque(bus) == [1] * SPEC.action_size


def test_an_unplugged_port_is_named_and_recovers_into_a_hold(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost", within=3.0)
    commander.stop()
    moved = np.clip(SPEC.rest + 0.15, SPEC.lower, SPEC.upper)
    bus.plant.push(moved)
    servos = [bus.servo(servo_id) for servo_id in SPEC.servo_ids]
    until(lambda: all(servo.get("bus_watchdog") == -1 for servo in servos), "the servos' own watchdogs trip")
    bus.faults.unplugged = False
    ros.wait_reason("dynamixel_driver", "no_command_yet", within=5.0)
    assert torque(bus) == [1] * SPEC.action_size
    np.testing.assert_allclose(goals(bus), bus.plant.positions(), atol=0.02)


def test_power_that_comes_back_with_the_port_moves_nothing(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    for servo_id in SPEC.servo_ids:
        bus.servo(servo_id).reboot()
    bus.faults.unplugged = False
    status = ros.wait_reason("dynamixel_driver", "torque_lost")
    assert "lost its torque" in status.message
    assert torque(bus) == [0] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok")


def test_torque_that_would_move_a_joint_stays_off_and_says_why(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    inside = bus.plant.positions()
    bus.plant.push(np.where(np.arange(SPEC.action_size) == 0, -3.3, inside))  # past where its servo counts
    answer = ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True))
    bus.plant.push(inside)
    assert not answer.success and "servo 10 (FFJ10) stands at" in answer.message
    assert torque(bus) == [0] * SPEC.action_size
    status = ros.wait_reason("dynamixel_driver", "torque_off")
    assert "servo 10 (FFJ10) stands at" in status.message
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success


def test_a_hand_whose_port_comes_back_without_a_servo_can_be_let_go(
    ros: Ros, bus: EmulatedBus, commander: Commander
) -> None:
    bus.faults.unplugged = True
    ros.wait_reason("dynamixel_driver", "bus_lost")
    bus.faults.silent_ids = {21}
    bus.faults.unplugged = False
    until(bus.path.exists, "the port is back")
    answer = ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False))
    assert not answer.success and "servo 21 (MFJ21) did not confirm" in answer.message
    assert torque(bus) == [0] * SPEC.action_size  # servo 21 hears, but does not answer
    bus.faults.silent_ids = set()
    ros.wait_reason("dynamixel_driver", "torque_off")
    assert torque(bus) == [0] * SPEC.action_size


def test_estop_latches_until_reset(ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    ros.wait_reason("dynamixel_driver", "estop", within=3.0)
    wait_ticks(states, 30)
    ros.wait_reason("dynamixel_driver", "estop", within=3.0)
    assert torque(bus) == [1] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)


def test_an_emergency_stop_outlives_the_nodes_transitions(ros: Ros, bus: EmulatedBus, driver: NodeProcess) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    known = Transition
    around = (known.TRANSITION_DEACTIVATE, known.TRANSITION_ACTIVATE)
    right_around = (around[0], known.TRANSITION_CLEANUP, known.TRANSITION_CONFIGURE, around[1])
    for transitions in (around, right_around):
        for transition in transitions:
            assert change_state(ros, transition)
        back_ns = time.time_ns()
        ros.wait_reason("dynamixel_driver", "estop", since_ns=back_ns)
        assert torque(bus) == [1] * SPEC.action_size
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    ros.wait_reason("dynamixel_driver", "no_command_yet")


def test_an_emergency_stop_of_a_driver_that_is_not_active_holds_when_it_is(
    ros: Ros, bus: EmulatedBus, driver: NodeProcess
) -> None:
    assert change_state(ros, Transition.TRANSITION_DEACTIVATE)
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert answer.success and "not active" in answer.message
    activated_ns = time.time_ns()
    assert change_state(ros, Transition.TRANSITION_ACTIVATE)
    ros.wait_reason("dynamixel_driver", "estop", since_ns=activated_ns)
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success


def test_an_emergency_stop_arrives_though_its_first_packet_gets_lost(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, lost = bus._chain.handle, threading.Event()

    def lose_one(instruction: Instruction, *rest: object) -> bytes:
        if instruction.code == SYNC_WRITE and not lost.is_set():
            lost.set()
            return b""
        return hear(instruction, *rest)

    stopped_ns = time.time_ns()
    commander.stop()
    ros.wait_reason("dynamixel_driver", ("command_too_old", "no_command_yet"), since_ns=stopped_ns)
    wait_ticks(states, 10)
    led = np.clip(goals(bus) + 0.3, SPEC.lower, SPEC.upper)
    bus.plant.push(led)
    bus.hold_present()
    bus.servo(12).set("goal_position", bus.servo(12).get("goal_position") + 30)  # where it is on its way to
    monkeypatch.setattr(bus._chain, "handle", lose_one)
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    wait_ticks(states, 10)
    assert lost.is_set()
    np.testing.assert_allclose(goals(bus), led, atol=0.02)


def test_an_emergency_stop_that_no_servo_hears_is_no_success(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    bus.faults.silent_ids = {21}
    ros.wait_reason("dynamixel_driver", "bus_silent")
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert not answer.success and "cut their power" in answer.message
    bus.faults.silent_ids = set()
    wait_ticks(states, 5)
    assert ros.call(Trigger, "dynamixel_driver/estop").success  # it has reached them meanwhile
    bus.faults.unplugged = True
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    for _ in range(2):
        answer = ros.call(Trigger, "dynamixel_driver/estop")
        assert not answer.success and "cut their power" in answer.message
    back_ns, bus.faults.unplugged = time.time_ns(), False
    ros.wait_reason("dynamixel_driver", "estop", since_ns=back_ns)


def test_a_reset_after_an_emergency_stop_gives_a_servo_its_torque_again(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    bus.servo(21).set("torque_enable", 0)  # its supply failed for a moment
    wait_ticks(states, 6 * SPEC.action_size)  # until its health has been read
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok")


def test_a_reset_that_ends_in_another_hold_says_so(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.hardware_errors = {11: 0x01}  # input voltage: shown, but no reason to shut down
    ros.wait_reason("dynamixel_driver", "hardware_error")
    answer = ros.call(Trigger, "dynamixel_driver/reset_guard")
    assert not answer.success and "held again: hardware_error" in answer.message
    bus.faults.hardware_errors = {}
    until(lambda: ros.call(Trigger, "dynamixel_driver/reset_guard").success, "the servo is well again")


def test_what_the_servos_pursue_is_told_of_commands_and_holds(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    told = ros.collect(JointState, "joint_goals", GOALS)  # late, and told all the same
    until(lambda: told.messages and told.messages[-1].name, "goals are told")
    np.testing.assert_allclose(goals_from_message(told.messages[-1], SPEC.joint_names), SPEC.rest, atol=0.11)
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    wait_ticks(states, 5)
    held = goals_from_message(told.messages[-1], SPEC.joint_names)
    assert held is not None
    np.testing.assert_allclose(held, goals(bus), atol=TICK)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    until(lambda: not told.messages[-1].name, "limp servos pursue nothing")


def test_after_torque_was_off_an_emergency_stop_holds_where_the_joints_are_then(
    ros: Ros, bus: EmulatedBus, commander: Commander, states: Collected
) -> None:
    assert ros.call(Trigger, "dynamixel_driver/estop").success
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    led = np.clip(SPEC.rest + np.where(np.arange(9) % 2, 0.05, 0.15), SPEC.lower, SPEC.upper)
    bus.plant.push(led)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    ros.wait_reason("dynamixel_driver", "estop")
    wait_ticks(states, 5)
    np.testing.assert_allclose(goals(bus), led, atol=0.01)
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success


def test_a_driver_that_waits_for_a_first_command_is_well(ros: Ros, driver: NodeProcess) -> None:
    assert ros.wait_reason("dynamixel_driver", "no_command_yet").level == DiagnosticStatus.OK


def test_what_to_type_is_said(ros: Ros, driver: NodeProcess) -> None:
    answer = ros.call(Trigger, "dynamixel_driver/estop")
    assert answer.message.endswith("`vmail call dynamixel_driver/reset_guard`")
    assert ros.call(Trigger, "dynamixel_driver/reset_guard").success
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    assert "`vmail call dynamixel_driver/torque true`" in ros.wait_reason("dynamixel_driver", "torque_off").message


def test_torque_service(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=False)).success
    assert torque(bus) == [0] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "torque_off", within=3.0)
    assert ros.call(SetBool, "dynamixel_driver/torque", SetBool.Request(data=True)).success
    assert torque(bus) == [1] * SPEC.action_size
    ros.wait_reason("dynamixel_driver", "ok", within=3.0)


def test_a_hardware_error_latches(ros: Ros, bus: EmulatedBus, commander: Commander) -> None:
    bus.faults.hardware_errors = {11: 0x04}
    status = ros.wait_reason("dynamixel_driver", "hardware_error", within=3.0)
    assert "11" in status.message
    refused = ros.call(Trigger, "dynamixel_driver/reset_guard")
    assert not refused.success and "torque_enable of servo 11" in refused.message
    bus.faults.hardware_errors = {}
    answer = ros.call(Trigger, "dynamixel_driver/reset_guard")
    assert answer.success and answer.message == "cleared hardware_error, restarted servo 11 (FFJ11)"
    assert torque(bus) == [1] * 9
    ros.wait_reason("dynamixel_driver", "ok")


def test_a_missing_port_is_one_clear_error(start_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    process = start_node("vmail_nodes.dynamixel_driver", {"port": str(tmp_path / "nowhere")})
    assert process.wait() == 1
    assert f"no device {tmp_path / 'nowhere'}" in process.output
    assert "Traceback" not in process.output
