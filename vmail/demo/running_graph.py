"""A graph of nodes in the background, its output in a file, and torque off at the end, whatever happens."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from vmail.graph import GraphNode, load_graph
from vmail.signals import ignored
from vmail.up import Graph, node_environment

LAST_LINES = 5


class GraphFailed(RuntimeError):
    """A node ended by itself or could not be stopped in order; the message names it and its output."""


class RunningGraph:
    """A started graph."""

    def __init__(self, graph: Graph, log: Path) -> None:
        """`log` takes the nodes' output."""
        self.graph, self.log = graph, log

    def require_alive(self) -> None:
        """Raise GraphFailed when a node has ended."""
        ended = self.graph.ended()
        if ended is not None:
            name = ended.node.name
            lines = [line for line in self.log.read_text().splitlines() if line.startswith(f"[{name}]")]
            said = "\n".join(lines[-LAST_LINES:]) or "it printed nothing"
            raise GraphFailed(
                f"node {name} ended with exit code {ended.process.returncode}; all output is in {self.log}\n{said}"
            )


@contextlib.contextmanager
def running(graph: str, given: dict[str, str], log: Path) -> Iterator[RunningGraph]:
    """Start a graph of graphs.yaml with arguments as text; see `running_nodes`."""
    with running_nodes(lambda run_dir: load_graph(graph, given, run_dir), log) as started:
        yield started


@contextlib.contextmanager
def running_nodes(choose: Callable[[Path], list[GraphNode]], log: Path) -> Iterator[RunningGraph]:
    """Start nodes, chosen for the folder of their sockets; stop them at the end of the block.

    Raises:
        GraphFailed: at the end, when a node did not stop in order (the driver switches torque off as it stops).
    """
    os.environ.update(node_environment())
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vmail-") as folder, log.open("w") as output:
        running_graph = RunningGraph(Graph(choose(Path(folder)), Path(folder), output), log)
        known = False
        try:
            running_graph.graph.start()
            yield running_graph
            running_graph.require_alive()
        except GraphFailed:
            known = True
            raise
        finally:
            with ignored():  # a second Ctrl-C must not keep the driver from switching torque off
                failed = running_graph.graph.stop()
            if failed and not known:  # also when interrupted: nobody may then say that torque is off
                raise GraphFailed(f"{', '.join(failed)} did not stop in order, torque may be on; see {log}")
