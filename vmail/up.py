"""`vmail up GRAPH name:=value ...`: start a graph of nodes without ROS's launch tools, and end it in order.

Each node is a process whose lines are printed behind its name; a line tells when all of them are active. Ctrl-C,
SIGTERM or the end of any node stops the graph: nodes get SIGINT stage by stage, the last first, so that the driver
switches torque off when nobody commands any more and its bus is still there. If this program is killed, its nodes
notice and end by themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import yaml

from vmail.graph import GraphNode, fastdds_profile, graph_arguments, graph_names, parse_assignments
from vmail.log_lines import LogLines
from vmail.preflight import checked_graph
from vmail.signals import SignalNote, handled_by
from vmail_nodes.readiness import notify_ready

__all__ = ["Graph", "node_environment", "parse_assignments", "run_graph", "up", "usage"]

STOP_TIMEOUT_S = 20.0  # a driver lets go gently, and a node that still loads on a busy machine hears nothing yet
POLL_PERIOD_S = 0.1
LOG_PATIENCE_S = 1.0
COLORS = (36, 33, 32, 35, 34)
DRIVER = "vmail_nodes.dynamixel_driver"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclasses.dataclass
class Running:
    """A node's process and the thread that reads its lines."""

    node: GraphNode
    process: subprocess.Popen
    reader: threading.Thread

    def failure(self) -> str:
        """The name of a node that has ended badly, and how."""
        code = self.process.returncode
        how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        if code == -signal.SIGALRM:  # see vmail_nodes.leaving
            how = "ROS did not let it go, so it ended itself"
        if code < 0 and self.node.module == DRIVER:
            how += "; where its last lines do not tell that torque is off, cut the servos' power"
        return f"{self.node.name} ({how})"


def node_command(node: GraphNode, run_dir: Path) -> list[str]:
    """The command line of a node; its parameters go through a file in `run_dir`, which keeps their types."""
    command = [sys.executable, "-u", "-m", node.module, "--ros-args"]
    if node.namespace:
        command += ["-r", f"__ns:=/{node.namespace}"]
    own = run_dir / f"{node.name}.yaml"
    own.write_text(yaml.safe_dump({"/**": {"ros__parameters": node.parameters}}))
    for file in (*node.parameter_files, own):
        command += ["--params-file", str(file)]
    return command


def node_environment() -> dict[str, str]:
    """Environment of the nodes: this one's, with what the wheels and the camera need where the user chose nothing.

    The whole environment is passed on: the ROS wheels set two variables at start and need both or neither.
    """
    defaults = {
        "AMENT_PREFIX_PATH": sys.prefix,
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTDDS_DEFAULT_PROFILES_FILE": str(fastdds_profile()),
    }
    return {**defaults, **os.environ}


class Graph:
    """The running nodes of a graph."""

    def __init__(self, nodes: list[GraphNode], run_dir: Path, output: IO[str] | None = None) -> None:
        """Nothing runs before `start`. The nodes' lines go to `output`, by default to standard output."""
        self._nodes, self._run_dir, self._output = nodes, run_dir, output
        self._log: LogLines | None = None
        self._running: list[Running] = []
        self._starting: dict[str, socket.socket] = {}  # on which those that are not active yet will say that they are

    def start(self) -> None:
        """Start every node, in order."""
        width = max(len(node.name) for node in self._nodes)
        self._log = LogLines(self._output)
        for index, node in enumerate(self._nodes):
            # A session of its own keeps the terminal's Ctrl-C from reaching all nodes at once; `stop` has an order.
            with _signals_blocked():
                process = subprocess.Popen(
                    node_command(node, self._run_dir),
                    env={
                        **node_environment(),
                        "VMAIL_PARENT_PID": str(os.getpid()),  # nodes end when this does
                        "NOTIFY_SOCKET": self._listen_to(node),
                    },
                    stdin=None if node.terminal else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            prefix = f"[{node.name}]".ljust(width + 2)
            if self._output is None and sys.stdout.isatty():
                prefix = f"\033[{COLORS[index % len(COLORS)]}m{prefix}\033[0m"
            reader = threading.Thread(target=_read_lines, args=(process.stdout, prefix, self._log), daemon=True)
            reader.start()
            self._running.append(Running(node, process, reader))

    def _listen_to(self, node: GraphNode) -> str:
        """Where the node says that it is active, see sd_notify(3): not a file, whose path may be too long."""
        name = f"vmail-{os.getpid()}-{id(self)}-{node.name}"
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(f"\0{name}")
        receiver.setblocking(False)
        self._starting[node.name] = receiver
        return f"@{name}"

    def all_active(self) -> bool:
        """Whether every node has been active since the start."""
        for name, receiver in list(self._starting.items()):
            with contextlib.suppress(BlockingIOError):
                receiver.recv(64)
                receiver.close()
                del self._starting[name]
        return not self._starting

    def processes(self) -> dict[str, int]:
        """Node name to process id."""
        return {running.node.name: running.process.pid for running in self._running}

    def ended(self) -> Running | None:
        """A node that has ended by itself, if any has."""
        return next((running for running in self._running if running.process.poll() is not None), None)

    def stop(self) -> list[str]:
        """Stop the nodes, the last stage first; returns those that failed, each as its name and how it ended."""
        for _, stage in itertools.groupby(reversed(self._running), lambda running: running.node.stage):
            nodes = list(stage)
            _signal(nodes, signal.SIGINT)
            _end([running for running in nodes if not running.node.lingers])
        _end(self._running)
        failed = [running.failure() for running in reversed(self._running) if running.process.returncode != 0]
        self._running = []
        for receiver in self._starting.values():
            receiver.close()
        self._starting = {}
        if self._log is not None:
            self._log.close(LOG_PATIENCE_S)
        return failed


def run_graph(nodes: list[GraphNode], run_dir: Path, stopping: SignalNote) -> int:
    """Run nodes until `stopping` is set or one of them ends; returns 0, or 1 when a node failed."""
    graph = Graph(nodes, run_dir)
    try:
        graph.start()
        told = False
        while not stopping.is_set() and graph.ended() is None:
            if not told and graph.all_active():
                told = True
                print(f"ready: {', '.join(node.name for node in nodes)} are active; Ctrl-C ends them", flush=True)
                notify_ready()  # where systemd has started this
            time.sleep(POLL_PERIOD_S)
        ended = graph.ended()
        if ended is not None and not stopping.is_set():
            print(f"{ended.node.name} ended with exit code {ended.process.returncode}; stopping the others", flush=True)
        elif stopping.is_set():
            print("stopping: who commands first, then the driver, which lets the hand go gradually", flush=True)
    finally:
        failed = graph.stop()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def up(graph: str, given: dict[str, str]) -> int:
    """Run a graph by name, arguments as text; returns the exit code.

    Raises:
        GraphError, ModuleNotFoundError: as `checked_graph`, or the graph's nodes run already; nothing was started then.
    """
    os.environ.update(node_environment())
    from vmail.neighbours import Neighbours

    with _signals_noted() as stopping, tempfile.TemporaryDirectory(prefix="vmail-") as folder:
        run_dir = Path(folder)
        with Neighbours() as neighbours:
            nodes = checked_graph(graph, given, run_dir, terminal=sys.stdin.isatty())
            neighbours.require_none_of(nodes, stopping)
        return 0 if stopping.is_set() else run_graph(nodes, run_dir, stopping)


@contextlib.contextmanager
def _signals_noted() -> Iterator[SignalNote]:
    """What the first signal sets. More of them change nothing: the driver needs time to switch torque off."""
    stopping = SignalNote()
    with handled_by(lambda *_: stopping.set(), SIGNALS):
        yield stopping


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """What is started meanwhile gets no signal before it asks for them, as nodes do: they wait until it does.

    One that came while Python still loads a node would end it with a traceback, and count as a failure.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def usage() -> str:
    """Graphs and their arguments, for people, as wide as the terminal."""
    lines, width = ["usage: vmail up GRAPH name:=value ...", ""], shutil.get_terminal_size().columns
    for name, text in graph_names().items():
        lines.append(f"{name}: {text}")
        for argument in graph_arguments(name):
            head = f"    {argument.name + ':=':<14}"
            lines += textwrap.wrap(
                head + argument.meaning,
                width,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            )
        lines.append("")
    return "\n".join(lines)


def _read_lines(stream: IO[str], prefix: str, log: LogLines) -> None:
    for line in stream:
        log.put(f"{prefix} {line}")


def _end(nodes: list[Running]) -> None:
    """Wait until nodes that have got SIGINT end; SIGTERM and then SIGKILL to those that do not."""
    for harder in (signal.SIGTERM, signal.SIGKILL, None):
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for running in nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.0, deadline - time.monotonic()))
        if harder is not None:
            _signal(nodes, harder)
    for running in nodes:
        running.reader.join(LOG_PATIENCE_S)


def _signal(nodes: list[Running], number: int) -> None:
    for running in nodes:
        if running.process.poll() is None:
            running.process.send_signal(number)
