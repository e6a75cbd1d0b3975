"""The whole chain as processes over DDS: twin, camera, driver and teleop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driver_process import start_driver
from ros_harness import NodeProcess, Ros, until
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail_core.robot import load_robot
from vmail_hardware.bus import DynamixelBus
from vmail_nodes.messages import array_from_image, command_message, latency_ns, ns_from_time
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, SENSOR_RECORDER

pytestmark = pytest.mark.xdist_group("twin")  # its tests share processes

SPEC = load_robot("dclaw")
TASK = "dclaw_valve3_ccw"
STEPS = 80


class Chain:
    """The running nodes and what the test heard from them."""

    def __init__(self, ros: Ros, start_node: Callable[..., NodeProcess], folder: Path) -> None:
        """Start twin and camera; `make_ready` starts the others."""
        self.ros, self._start_node = ros, start_node
        self.port, frames = str(folder / "servo_bus"), str(folder / "frames.sock")
        twin = {"task": TASK, "seed": 5, "bus_path": self.port, "frames_path": frames}
        self.twin = start_node("vmail_nodes.twin", twin)
        self.camera = start_node("vmail_nodes.camera", {"source": f"twin://{frames}", "wait_s": 30.0})
        self.driver: NodeProcess | None = None
        self.teleop: NodeProcess | None = None
        self.images = ros.collect(Image, "camera/image_raw", SENSOR_RECORDER)
        self.states = ros.collect(JointState, "twin/state", SENSOR_RECORDER)
        self.sent = ros.collect(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)

    def make_ready(self, teleop: bool = True, **parameters: float) -> None:
        """Driver, with these parameters, and expert run, nobody commands, nothing is heard yet."""
        if self.driver is None or self.driver.process.poll() is not None:
            given = {"port": self.port, "wait_s": 30.0, "reply_timeout_ms": 60.0, **parameters}
            self.driver = start_driver(self._start_node, given)
        if teleop:
            if self.teleop is None:
                self.teleop = self._start_node("vmail_nodes.teleop", {"task": TASK, "max_steps": STEPS})
            assert self.ros.call(Trigger, "teleop/stop").success
        for heard in (self.images, self.states, self.sent):
            heard.clear()
        self.images.wait_for(2)

    def start_episode(self) -> None:
        """A new start, and the expert commands."""
        assert self.ros.call(Trigger, "twin/reset").success
        assert self.ros.call(Trigger, "teleop/start").success

    def torque_is_off(self) -> bool:
        """What the twin says of its servos."""
        status = self.ros.wait_reason("twin", "torque_off", within=5.0)
        return {pair.key: pair.value for pair in status.values}["torque_on_ids"] == "[]"


@pytest.fixture(scope="module")
def running_chain(
    module_ros: Ros, module_start_node: Callable[..., NodeProcess], tmp_path_factory: pytest.TempPathFactory
) -> Chain:
    """One chain for the module: a twin takes seconds to start."""
    return Chain(module_ros, module_start_node, tmp_path_factory.mktemp("chain"))


@pytest.fixture
def chain(running_chain: Chain) -> Chain:
    """The chain, ready, nobody commanding."""
    running_chain.make_ready()
    return running_chain


def test_expert_turns_the_valve_through_the_whole_chain(chain: Chain) -> None:
    chain.start_episode()
    chain.ros.wait_reason("teleop", "idle")  # by itself, after STEPS
    chain.ros.meet("dynamixel_driver")  # what it sent before it answers has arrived here
    sent = list(chain.sent.messages)
    assert len(sent) > 0.9 * STEPS  # all of them, where the machine has nothing else to do
    stamps = [ns_from_time(message.header.stamp) for message in sent]
    angles = {ns_from_time(message.header.stamp): message.position[-1] for message in chain.states.messages}
    assert angles[stamps[-1]] - angles[stamps[0]] > 3.0  # the bare simulator turns several times this
    assert stamps == sorted(set(stamps))
    assert set(stamps) <= {ns_from_time(message.header.stamp) for message in chain.images.messages}
    assert abs(np.median(np.diff(stamps)) * 1e-9 - SPEC.control_period) < 0.02
    latencies = np.array([latency_ns(message) for message in sent]) * 1e-9
    assert np.all(latencies > 0.0) and np.median(latencies) < SPEC.control_period


def test_a_picture_and_its_state_are_of_one_instant(chain: Chain) -> None:
    pictures = chain.images.wait_stamped(time.time_ns(), 5)
    for stamp in (message.header.stamp for message in pictures):
        chain.states.wait_until(lambda message, stamp=stamp: message.header.stamp == stamp)
    picture = array_from_image(pictures[-1])
    assert picture.shape == (SPEC.camera_height, SPEC.camera_width, 3)
    assert picture.std() > 5


def test_reset_moves_the_claw_and_nothing_pulls_it_back(chain: Chain) -> None:
    before = np.array(chain.states.wait_for(1)[-1].position)
    assert chain.ros.call(Trigger, "twin/reset").success
    settled_ns = time.time_ns() + 300_000_000
    settled = [np.array(message.position) for message in chain.states.wait_stamped(settled_ns, 8)]
    first, later = settled[0], settled[-1]
    assert np.abs(first - before).max() > 0.05
    np.testing.assert_allclose(later[:-1], first[:-1], atol=0.02)
    assert np.abs(first[:-1] - SPEC.rest).max() < 0.25


def test_a_kick_spins_the_valve_the_wrong_way_and_throws_the_claw(chain: Chain) -> None:
    before = np.array(chain.states.wait_for(1)[-1].position)
    joints = chain.ros.collect(JointState, "joint_states", SENSOR_RECORDER)
    chain.ros.meet("dynamixel_driver")
    joints.clear()
    assert chain.ros.call(Trigger, "twin/kick").success
    chain.states.wait_until(lambda message: message.position[-1] < before[-1] - 0.1)
    # Of up to 0.3 rad; the servos pull it back between two pictures, so the joints are read more often.
    joints.wait_until(lambda message: np.abs(np.array(message.position) - before[:-1]).max() > 0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_torque_is_off_in_the_servos_after_a_signal_to_the_driver(chain: Chain, number: signal.Signals) -> None:
    chain.start_episode()
    chain.sent.wait_for(3)
    chain.driver.signal(number)
    assert chain.driver.wait() == 0
    assert chain.torque_is_off()


def test_a_camera_that_stops_ends_in_a_named_hold(chain: Chain) -> None:
    chain.start_episode()
    chain.sent.wait_for(3)
    with chain.ros.broken("camera=stopped") as since_ns:
        for node, reason in (
            ("camera", "camera_frozen"),
            ("teleop", "camera_too_old"),
            ("dynamixel_driver", "command_too_old"),
        ):
            chain.ros.wait_reason(node, reason, within=5.0, since_ns=since_ns)
    chain.ros.wait_reason("camera", "ok", within=5.0)
    chain.ros.wait_reason("dynamixel_driver", "ok", within=5.0)


def test_stops_and_resets_do_not_let_the_claw_sink(chain: Chain) -> None:
    joints = chain.ros.collect(JointState, "joint_states", SENSOR_RECORDER)
    commands = chain.ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
    lifted = SPEC.rest + np.tile([0.0, 0.3, 0.0], 3)

    def settled() -> np.ndarray:
        """Where the joints (9,) are after half a second more."""
        return np.array(joints.wait_stamped(time.time_ns() + 500_000_000)[-1].position)

    def lift() -> bool:
        commands.publish(command_message(SPEC.joint_names, lifted, time.time_ns()))
        there = settled()
        return bool(np.abs(there - lifted).max() < 0.1 and np.abs(settled() - there).max() < 0.002)

    assert chain.ros.call(Trigger, "dynamixel_driver/reset_guard").success
    until(lift, "the fingers are lifted")
    before = settled()
    for _ in range(3):
        for service in ("dynamixel_driver/estop", "dynamixel_driver/reset_guard"):
            assert chain.ros.call(Trigger, service).success
            settled()
    np.testing.assert_allclose(settled(), before, atol=0.01)  # they had sunk by 0.02 at each of the six


def test_faults_of_the_servos_end_in_named_holds(chain: Chain) -> None:
    chain.start_episode()
    chain.sent.wait_for(3)
    for script, reason in (("silent=12", "bus_silent"), ("unplug", "bus_lost")):
        with chain.ros.broken(script) as since_ns:
            chain.ros.wait_reason("dynamixel_driver", reason, within=5.0, since_ns=since_ns)
        chain.ros.wait_reason("dynamixel_driver", "ok", within=5.0)


# The last two leave killed nodes behind, whose services DDS believes in for some time.


def test_holds_when_the_commander_is_killed_and_torque_goes_off_with_the_driver(chain: Chain) -> None:
    chain.start_episode()
    chain.sent.wait_for(3)
    killed_ns = time.time_ns()
    chain.teleop.signal(signal.SIGKILL)
    chain.ros.wait_reason("dynamixel_driver", "command_too_old", within=3.0, since_ns=killed_ns)
    chain.ros.wait_reason("twin", "torque_on", within=3.0)
    chain.driver.signal(signal.SIGTERM)
    assert chain.driver.wait() == 0
    with_sdk = DynamixelBus(chain.port, SPEC, reply_timeout_ms=200.0)
    with_sdk.open()
    assert not any(with_sdk.read_health().torque_enabled for _ in SPEC.servo_ids)
    with_sdk.close()


def test_a_twin_that_ends_is_a_lost_camera_and_a_lost_bus(running_chain: Chain) -> None:
    running_chain.make_ready(teleop=False)
    killed_ns = time.time_ns()
    running_chain.twin.signal(signal.SIGKILL)
    # As the kernel does for a device that is gone. The link would lead to whoever gets this terminal's number next.
    Path(running_chain.port).unlink()
    running_chain.ros.wait_reason("camera", "camera_lost", within=5.0, since_ns=killed_ns)
    running_chain.ros.wait_reason("dynamixel_driver", "bus_lost", within=5.0, since_ns=killed_ns)


def test_all_nodes_may_be_told_to_end_at_once(ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    """As ROS's launch tools do at Ctrl-C: the twin leaves its driver the time to let go."""
    chain = Chain(ros, start_node, tmp_path)
    chain.make_ready(teleop=False, release_s=1.0)
    for process in (chain.twin, chain.driver):
        process.signal(signal.SIGINT)
    assert chain.driver.wait() == 0, chain.driver.output
    assert chain.twin.wait() == 0
