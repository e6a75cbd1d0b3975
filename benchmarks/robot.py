"""The servo bus at 100 Hz, alone and while a camera is recorded: how long a cycle takes, and what recording costs.

    python benchmarks/robot.py [--seconds 20] [--awake]

A cycle reads position, velocity and current of all servos and writes the goals of all, through the SDK: one fast sync
read of ten consecutive bytes a servo and one sync write, in the order in which the driver does it. In the row "plain
reads" every servo answers by itself. In the row "goals first" the read waits until the servos have taken in what was
written. In the row "no pause" a cycle begins when the last one ends, with warm caches. The row "an echo" has no servos
and no SDK: as many bytes each way, answered at once, which is the pseudo-terminal's share. In the row "arithmetic"
numbers are added up and nothing is waited for: where that is late, too, the machine itself is slow at times.
With --awake no processor sleeps meanwhile, as with the driver's parameter keep_awake. Beside the bus runs the real
camera node with 640x480 pictures at 30 Hz (rendered once, with a sensor's noise), and the real recorder, which records
both. The servos are emulated. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from processes import cpu_seconds
from sensor_msgs.msg import JointState as JointStateMessage
from stalls import stalls
from trajectory_msgs.msg import JointTrajectory

from vmail.demo.running_graph import running_nodes
from vmail.graph import GraphNode, load_graph
from vmail.ros_client import RosClient, ServiceRefused
from vmail_core.episodes.bag_reading import IMAGE, Bag
from vmail_core.robot import RobotSpec, load_robot
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusReadError
from vmail_hardware.cameras import FrameServer
from vmail_hardware.emulator import run_fake_bus
from vmail_hardware.joint_state import JointState
from vmail_nodes.lifecycle import DRIVER_PRIORITY
from vmail_nodes.messages import command_message, joint_state_message
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, SENSOR_PUBLISHER
from vmail_nodes.realtime import keep_awake, keep_memory, request_realtime

MOST_P50_MS, MOST_P99_MS, MOST_CORES = 0.5, 5.0, 0.4
RATE_HZ, CAMERA_HZ, WIDTH, HEIGHT = 100.0, 30.0, 640, 480
READY_S = 60.0
SERVO_PRIORITY = DRIVER_PRIORITY + 1  # real servos wait for no program
SWING_RAD, SWING_S = 0.1, 2.0
SUMMANDS = 15000  # a third of a millisecond
NOISE = 2.0  # standard deviation of a pixel, grey levels
RING = 30  # pictures, again and again
PACKET_BYTES, ANSWER_START_BYTES, ANSWER_BYTES, READ_BYTES, GOAL_BYTES = 14, 8, 4, 10, 4
BITS_A_BYTE = 10


class Loop(abc.ABC):
    """Goes through a cycle at 100 Hz in a thread, and publishes what the driver would of it.

    Attributes:
        cycles: ms of each cycle.
        failed: cycles without an answer from every servo, where there are any.
    """

    def __init__(self, spec: RobotSpec, pause: bool = True) -> None:
        """Of a robot's goals. Publishes nothing before `publish_to`."""
        self.cycles: list[float] = []
        self.failed = 0
        self._spec, self._over = spec, threading.Event()
        self._period = 1.0 / RATE_HZ if pause else 0.0
        self._states: Any = None
        self._commands: Any = None
        self._sent: Any = None
        self._thread = threading.Thread(target=self._run, name="bus")

    def publish_to(self, client: RosClient) -> None:
        """Publish joint states, and commands ten times a second, as a recorder needs them."""
        self._states = client.node.create_publisher(JointStateMessage, "joint_states", SENSOR_PUBLISHER)
        self._commands = client.node.create_publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._sent = client.node.create_publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        # As the driver's threads, but this one alone: what the process starts later would inherit it, the recorder too.
        with contextlib.suppress(PermissionError):  # `ask_realtime` has said so
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(DRIVER_PRIORITY))
        due, tick = time.monotonic(), 0
        while not self._over.wait(max(0.0, due - time.monotonic())):
            phase = 2.0 * np.pi * tick / (RATE_HZ * SWING_S)
            inside = np.clip(self._spec.rest + SWING_RAD * np.sin(phase), self._spec.lower, self._spec.upper)
            began = time.perf_counter()
            state = self._cycle(inside)
            self.cycles.append(1e3 * (time.perf_counter() - began))
            if state is not None and self._states is not None:
                self._publish(state, inside, command=tick % 10 == 0)
            due, tick = max(due + self._period, time.monotonic() - self._period), tick + 1

    @abc.abstractmethod
    def _cycle(self, goals: np.ndarray) -> JointState | None:
        """What is measured, with goals (N,) rad; the joints to publish, where it reads any."""

    def _publish(self, state: JointState, goals: np.ndarray, command: bool) -> None:
        names, stamp_ns = self._spec.joint_names, round(1e9 * state.time)
        self._states.publish(joint_state_message(names, state.position, state.velocity, state.current_ma, stamp_ns))
        if command:
            self._commands.publish(command_message(names, goals, stamp_ns))
            self._sent.publish(command_message(names, goals, stamp_ns))


class BusLoop(Loop):
    """Reads all servos and writes their goals."""

    def __init__(self, bus: DynamixelBus, spec: RobotSpec, goals_first: bool = False, pause: bool = True) -> None:
        """On a bus with torque on."""
        super().__init__(spec, pause)
        self._bus, self._goals_first = bus, goals_first

    def _cycle(self, goals: np.ndarray) -> JointState | None:
        """None where not every servo answered."""
        state = None
        if self._goals_first:
            self._bus.write_goals(goals)
        try:
            state = self._bus.read()
        except BusReadError:
            self.failed += 1
        if not self._goals_first:
            self._bus.write_goals(goals)
        return state


def ask_realtime(priority: int) -> None:
    """For this process; says so where it may not have it."""
    refusal = request_realtime(priority)
    if refusal is not None:
        print(refusal, file=sys.stderr)


def emulate(path: Path) -> int:
    """In a process of its own: the servos, until SIGTERM."""
    sys.setswitchinterval(0.0005)  # as in the twin
    ask_realtime(SERVO_PRIORITY)
    return run_fake_bus(path)


def echo(path: Path) -> int:
    """In a process of its own: whatever is asked, bytes of an answer at once, until SIGTERM."""
    host, device = os.openpty()
    tty.setraw(device)
    answer = bytes(answer_bytes(load_robot("dclaw")))
    ask_realtime(SERVO_PRIORITY)
    path.symlink_to(os.ttyname(device))
    while True:
        select.select([host], [], [])
        os.read(host, 4096)
        os.write(host, answer)


def film(path: Path) -> int:
    """In a process of its own: pictures on a socket, until SIGTERM; their stamps go to a file beside it.

    Without realtime priority: a real camera is no program that keeps others from running.
    """
    from vmail_sim.dclaw.physics import make_physics

    over, stamps, random = list[int](), list[int](), np.random.default_rng(0)
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    scene = make_physics(3).picture(HEIGHT, WIDTH).astype(np.float32)
    noisy = [np.clip(scene + random.normal(0.0, NOISE, scene.shape), 0, 255).astype(np.uint8) for _ in range(RING)]
    keep_memory()
    with FrameServer(path) as server:
        due = time.monotonic()
        while not over:
            time.sleep(max(0.0, due - time.monotonic()))
            stamps.append(time.time_ns())
            server.publish(stamps[-1], noisy[len(stamps) % RING])
            due += 1.0 / CAMERA_HZ
    path.with_suffix(".json").write_text(json.dumps(stamps))
    return 0


@contextlib.contextmanager
def part(name: str, path: Path) -> Iterator[None]:
    """A process of this script, from when its device is there until the end of the block."""
    process = subprocess.Popen([sys.executable, __file__, "--part", name, str(path)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_S
        while not path.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start; see above")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def open_bus(folder: Path, spec: RobotSpec, fast: bool = True) -> Iterator[DynamixelBus]:
    """Emulated servos, and the bus with torque on."""
    port = folder / "servo_bus"
    with part("emulator", port), DynamixelBus(str(port), spec, reply_timeout_ms=20.0, fast_reads=fast) as bus:
        bus.set_torque(True)
        yield bus


class EchoLoop(Loop):
    """Asks at 100 Hz for the bytes of a cycle, without SDK and servos. Goals would not be answered."""

    def __init__(self, port: int, spec: RobotSpec) -> None:
        """Of an open terminal."""
        super().__init__(spec)
        self._port = port

    def _cycle(self, goals: np.ndarray) -> None:
        wanted = answer_bytes(self._spec)
        os.write(self._port, bytes(PACKET_BYTES + self._spec.action_size))
        while wanted > 0:
            select.select([self._port], [], [])
            wanted -= len(os.read(self._port, 4096))


class ArithmeticLoop(Loop):
    """Adds up numbers at 100 Hz, for about as long as a cycle takes. Waits for nothing and shares nothing."""

    def _cycle(self, goals: np.ndarray) -> None:
        sum(range(SUMMANDS))


def arithmetic(spec: RobotSpec, seconds: float) -> dict[str, float]:
    """What this machine does to a cycle that needs nothing but a processor."""
    with ArithmeticLoop(spec) as loop:
        time.sleep(seconds)
    return summary(loop, seconds)


def echoed(spec: RobotSpec, seconds: float) -> dict[str, float]:
    """Bytes there and back, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="vmail-") as folder:
        path = Path(folder) / "echo"
        with part("echo", path):
            port = os.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                with EchoLoop(port, spec) as loop:
                    time.sleep(seconds)
            finally:
                os.close(port)
        return summary(loop, seconds)


def summary(loop: Loop, seconds: float) -> dict[str, float]:
    """Of the cycles in so many seconds."""
    p50, p99, worst = np.percentile(loop.cycles, [50, 99, 100])
    rate = len(loop.cycles) / seconds
    return {"p50": float(p50), "p99": float(p99), "max": float(worst), "rate": rate, "failed": loop.failed}


def alone(
    spec: RobotSpec, seconds: float, fast: bool = True, goals_first: bool = False, pause: bool = True
) -> dict[str, float]:
    """The bus and nothing else."""
    with tempfile.TemporaryDirectory(prefix="vmail-") as folder, open_bus(Path(folder), spec, fast) as bus:
        with BusLoop(bus, spec, goals_first, pause) as loop:
            time.sleep(seconds)
        return summary(loop, seconds)


def recorded(spec: RobotSpec, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """The bus while a camera is recorded with it: the cycles, and what recording did and cost."""
    with tempfile.TemporaryDirectory(prefix="vmail-") as name:
        folder = Path(name)
        frames, takes, log = folder / "frames.sock", folder / "takes", folder / "log.txt"

        def nodes(run_dir: Path) -> list[GraphNode]:
            given = {"port": str(folder / "servo_bus"), "camera": f"twin://{frames}", "record": str(takes)}
            graph = load_graph("dclaw_teleop_demo", {**given, "teleop": "none"}, run_dir)
            return [node for node in graph if node.name in ("camera", "demo_recorder")]

        with part("camera", frames), running_nodes(nodes, log) as graph:
            # The servos come last: their watchdog stops them when nobody speaks for half a second.
            with RosClient("robot_benchmark", graph.require_alive) as client, open_bus(folder, spec) as bus:
                loop = BusLoop(bus, spec)
                loop.publish_to(client)
                with loop:
                    client.wait(lambda: {"camera", "demo_recorder"} <= set(client.status), READY_S, log.read_text)
                    client.spin(2.0)  # until all have found each other
                    client.trigger("demo_recorder/start")
                    pids = graph.graph.processes()
                    loop.cycles.clear()
                    loop.failed, began = 0, time.monotonic()
                    before = {node: cpu_seconds(pid) for node, pid in pids.items()}
                    time.sleep(seconds)
                    took, cycles = time.monotonic() - began, summary(loop, time.monotonic() - began)
                    cores = {node: (cpu_seconds(pid) - before[node]) / took for node, pid in pids.items()}
                    said = "kept"
                    try:
                        client.trigger("demo_recorder/stop")
                    except ServiceRefused as error:
                        said = str(error)
        (take,) = [*takes.glob("take_*"), *(takes / ".rejected").glob("take_*")]
        with Bag(take, spec) as bag:
            stamps = [event.stamp_ns for event in bag.events() if event.topic == IMAGE]
        size = sum(file.stat().st_size for file in take.iterdir()) / 1e6
        published = json.loads(frames.with_suffix(".json").read_text())
    due = [stamp for stamp in published if stamps[0] <= stamp <= stamps[-1]]
    camera_rate = (len(due) - 1) / ((due[-1] - due[0]) * 1e-9)
    lost = len(set(due) - set(stamps))
    if said != "kept":
        print(f"the recorder: {said}")
    recording = {"cores": cores["demo_recorder"], "camera_cores": cores["camera"], "lost": lost, "frames": len(due)}
    return cycles, {**recording, "rate": camera_rate, "mb_s": size / took}


def answer_bytes(spec: RobotSpec) -> int:
    """Of a fast sync read, without stuffing."""
    return ANSWER_START_BYTES + spec.action_size * (ANSWER_BYTES + READ_BYTES)


def line_ms(spec: RobotSpec) -> float:
    """ms that the bytes of a cycle with a fast read take on a real bus, without return delays and stuffing."""
    servos = spec.action_size
    written = PACKET_BYTES + servos * (1 + GOAL_BYTES)
    read = PACKET_BYTES + servos + answer_bytes(spec)
    return 1e3 * BITS_A_BYTE * (written + read) / spec.servo_baud


def main() -> int:
    """Measure, or be a part of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement [20]")
    parser.add_argument("--awake", action="store_true", help="keep processors from sleeping")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        return {"emulator": emulate, "camera": film, "echo": echo}[arguments.part[0]](Path(arguments.part[1]))
    try:
        awake = keep_awake() if arguments.awake else contextlib.nullcontext()
    except OSError as error:
        parser.error(f"--awake: {error.strerror}")
    print(stalls(), flush=True)
    with awake:
        return measure(arguments.seconds)


def measure(seconds: float) -> int:
    """Measure all, print, judge."""
    spec = load_robot("dclaw")
    rows = {"arithmetic": arithmetic(spec, seconds), "an echo": echoed(spec, seconds)}
    rows["bus alone, plain reads"] = alone(spec, seconds, fast=False)
    rows["bus alone, goals first"] = alone(spec, seconds, goals_first=True)
    rows["bus alone, no pause"] = alone(spec, seconds, pause=False)
    rows["bus alone"] = alone(spec, seconds)
    rows["bus beside camera and recorder"], recording = recorded(spec, seconds)
    print(
        f"{spec.action_size} servos, emulated by a process of their own behind a pseudo-terminal, where bytes take no"
        f" time,\nbut wait for an ordinary thread of the kernel, which is late on a busy machine. A real bus at"
        f" {spec.servo_baud} baud adds\n{line_ms(spec):.1f} ms a cycle, its adapter a delay of its own."
    )
    print(f"{'read all, write goals':<32}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'cycles/s':>10}{'unanswered':>12}")
    for name, row in rows.items():
        print(
            f"{name:<32}{row['p50']:>8.2f}{row['p99']:>8.2f}{row['max']:>8.2f}{row['rate']:>10.1f}{row['failed']:>12}"
        )
    print(
        f"{WIDTH}x{HEIGHT} at {recording['rate']:.1f} Hz, {recording['mb_s']:.1f} MB/s to disk:"
        f" {recording['lost']} of {recording['frames']} frames lost at the recorder\n"
        f"cores: recorder {recording['cores']:.2f}, camera node {recording['camera_cores']:.2f}"
    )
    beside = rows["bus beside camera and recorder"]
    judged = [
        (f"p50 at most {MOST_P50_MS} ms", beside["p50"] <= MOST_P50_MS),
        (f"p99 at most {MOST_P99_MS} ms", beside["p99"] <= MOST_P99_MS),
        ("no frame lost", recording["lost"] == 0),
        (f"recorder at most {MOST_CORES} core", recording["cores"] <= MOST_CORES),
    ]
    for text, met in judged:
        print(f"target: {text}: {'met' if met else 'MISSED'}")
    return 0 if all(met for _, met in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
