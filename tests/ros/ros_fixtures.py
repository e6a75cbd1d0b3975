"""Fixtures for tests over real DDS: a domain of their own, nodes as processes, a probe that talks to them.

    def test_camera(ros, start_node):
        start_node("vmail_nodes.camera", parameters={"source": "..."})
        images = ros.collect(Image, "camera/image_raw", SENSOR_SUBSCRIBER).wait_for(3)

Processes end with the test that started them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ros_harness import NodeProcess, Ros, claim_domain


@pytest.fixture(scope="session", autouse=True)
def ros_domain() -> int:
    """The ROS domain of this test process, also in its environment."""
    domain = claim_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    return domain


@pytest.fixture(scope="session", autouse=True)
def quick_switches() -> Iterator[None]:
    """Emulated servos answer from a thread of this process, which waits for the other threads to let go of Python."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as in the node `twin`
    yield
    sys.setswitchinterval(interval)


def _probe() -> Iterator[Ros]:
    probe = Ros()
    yield probe
    probe.close()


class Starter:
    """Starts nodes as processes whose parameter files and logs lie in a folder, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[NodeProcess] = []

    def __call__(
        self,
        module: str,
        parameters: dict[str, Any] | None = None,
        name: str | None = None,
        remap: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> NodeProcess:
        self._started.append(NodeProcess(module, self._folder, parameters or {}, name, remap, stdin))
        return self._started[-1]

    def end_all(self) -> None:
        """End what was started, the last one first."""
        for process in reversed(self._started):
            process.end()
        self._started.clear()


def _starter(folder: Path) -> Iterator[Starter]:
    starter = Starter(folder)
    yield starter
    starter.end_all()


# Probes leave before the nodes end. Fast DDS 3.2 may deadlock in a process from which others' endpoints disappear
# (eProsima/Fast-DDS, issue 6502): a node can be killed then, but not the process that runs the tests.
@pytest.fixture
def ros(ros_domain: int, start_node: Starter) -> Iterator[Ros]:
    """The test's own node."""
    yield from _probe()


@pytest.fixture(scope="module")
def module_ros(ros_domain: int, module_start_node: Starter) -> Iterator[Ros]:
    """A node that the tests of a module share."""
    yield from _probe()


@pytest.fixture
def start_node(ros_domain: int, tmp_path: Path) -> Iterator[Starter]:
    """Start `python -m MODULE` with parameters, node name and remappings; all end with the test."""
    yield from _starter(tmp_path)


@pytest.fixture(scope="module")
def module_start_node(ros_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """`start_node` for processes that the tests of a module share."""
    yield from _starter(tmp_path_factory.mktemp("nodes"))
