"""`vmail up GRAPH name:=value ...`: start a graph of nodes without ROS's launch tools, and end it in order.

Each node is a process whose lines are printed behind its name. Ctrl-C, SIGTERM or the end of any node stops the
graph: nodes get SIGINT one after the other, the last started first, so that the driver switches torque off
while its bus is still there. If this program is killed, its nodes notice and end by themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
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
from vmail.preflight import checked_graph

__all__ = ["Graph", "node_environment", "parse_assignments", "run_graph", "up", "usage"]

STOP_TIMEOUT_S = 20.0  # a driver lets go gently, and a node that still loads on a busy machine hears nothing yet
POLL_PERIOD_S = 0.1
COLORS = (36, 33, 32, 35, 34)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclasses.dataclass
class Running:
    """A node's process and the thread that prints its lines."""

    node: GraphNode
    process: subprocess.Popen
    printer: threading.Thread


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
        self._running: list[Running] = []

    def start(self) -> None:
        """Start every node, in order."""
        width = max(len(node.name) for node in self._nodes)
        for index, node in enumerate(self._nodes):
            # A session of its own keeps the terminal's Ctrl-C from reaching all nodes at once; `stop` has an order.
            with _signals_blocked():
                process = subprocess.Popen(
                    node_command(node, self._run_dir),
                    env={**node_environment(), "VMAIL_PARENT_PID": str(os.getpid())},  # nodes end when this does
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
            printer = threading.Thread(target=_print_lines, args=(process.stdout, prefix, self._output), daemon=True)
            printer.start()
            self._running.append(Running(node, process, printer))

    def processes(self) -> dict[str, int]:
        """Node name to process id."""
        return {running.node.name: running.process.pid for running in self._running}

    def ended(self) -> Running | None:
        """A node that has ended by itself, if any has."""
        return next((running for running in self._running if running.process.poll() is not None), None)

    def stop(self) -> list[str]:
        """Stop the nodes in reverse order; returns the names of those that failed or had to be killed."""
        failed = []
        for running in reversed(self._running):
            if not _stop_process(running.process):
                failed.append(running.node.name)
            running.printer.join(1.0)
        self._running = []
        return failed


def run_graph(nodes: list[GraphNode], run_dir: Path, stopping: threading.Event) -> int:
    """Run nodes until `stopping` is set or one of them ends; returns 0, or 1 when a node failed."""
    graph = Graph(nodes, run_dir)
    try:
        graph.start()
        while not stopping.is_set() and graph.ended() is None:
            time.sleep(POLL_PERIOD_S)
        ended = graph.ended()
        if ended is not None and not stopping.is_set():
            print(f"{ended.node.name} ended with exit code {ended.process.returncode}; stopping the others", flush=True)
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
def _signals_noted() -> Iterator[threading.Event]:
    """An event that the first signal sets. More of them change nothing: the driver needs time to switch torque off."""
    stopping = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stopping.set()) for number in SIGNALS}
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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


def _print_lines(stream: IO[str], prefix: str, output: IO[str] | None) -> None:
    for line in stream:
        print(f"{prefix} {line}", end="", file=output, flush=True)


def _stop_process(process: subprocess.Popen) -> bool:
    """SIGINT, then SIGTERM, then SIGKILL; True when the process ended by itself and well."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
    return process.returncode == 0
