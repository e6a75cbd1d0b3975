"""What every node has from `vmail_nodes.lifecycle`, shown on a small node of this test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from ros_harness import START_TIMEOUT_S, NodeProcess, Ros, until

NODE = """
import gc, sys
from vmail_nodes.lifecycle import ManagedNode, NodeError, run

class Probe(ManagedNode):
    def __init__(self):
        super().__init__("probe")
        self.rate = self.parameter("rate", 10.0, "Ticks a second.", 1.0, 100.0)
    def configure(self):
        if {refuse}:
            raise NodeError("no device at /dev/nothing; plug it in")
    def activate(self):
        self.create_timer(1.0 / self.rate, self.tick)
        print("active", flush=True)
    def tick(self):
        if {broken}:
            raise KeyError("a bug")
        if {telling}:
            print(len(gc.get_objects()) < gc.get_freeze_count(), flush=True)
    def deactivate(self):
        print("deactivated", flush=True)
    def cleanup(self):
        print("cleaned up", flush=True)

sys.exit(run(Probe))
"""

# A container's root has most rights but not this one.
WITHOUT_NICE = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice"] if os.geteuid() == 0 else []
RESTRICTION = ["prlimit", "--rtprio=0", *WITHOUT_NICE]


def may_be_realtime() -> bool:
    """Tried in a process of its own."""
    attempt = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(7))"
    return subprocess.run([sys.executable, "-c", attempt], stderr=subprocess.DEVNULL).returncode == 0


class Started:
    """The small node as a process."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        refuse: bool = False,
        broken: bool = False,
        telling: bool = False,
        restricted: bool = False,
    ) -> None:
        script = folder / "probe.py"
        script.write_text(NODE.format(refuse=refuse, broken=broken, telling=telling))
        restriction = RESTRICTION if restricted else []
        self.process = subprocess.Popen(
            [*restriction, sys.executable, str(script), "--ros-args", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=START_TIMEOUT_S)
        return self.process.returncode, output


@pytest.fixture
def start(tmp_path: Path, ros_domain: int) -> Iterator:
    """Start the node; it does not outlive the test."""
    started: list[Started] = []

    def start_one(*arguments: str, **behaviour: bool) -> Started:
        started.append(Started(tmp_path, *arguments, **behaviour))
        return started[-1]

    yield start_one
    for node in started:
        node.process.kill()
        node.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_deactivates_and_cleans_up(start, number: signal.Signals) -> None:
    node = start()
    assert node.process.stdout.readline() == "active\n"
    node.process.send_signal(number)
    node.process.send_signal(signal.SIGINT)
    code, output = node.end()
    assert (code, output) == (0, "deactivated\ncleaned up\n")


def test_what_was_loaded_is_not_looked_at_by_garbage_collections(start) -> None:
    lines = start(telling=True).process.stdout
    assert [lines.readline() for _ in range(2)] == ["active\n", "True\n"]


def test_an_error_in_a_callback_ends_the_node_in_order(start) -> None:
    code, output = start(broken=True).end()
    assert code == 1
    assert "KeyError: 'a bug'" in output
    assert output.index("deactivated") < output.index("cleaned up")


def test_a_refusal_is_one_line_and_undone(start) -> None:
    code, output = start(refuse=True).end()
    assert code == 1
    assert "cannot configure: no device at /dev/nothing; plug it in" in output
    assert "cleaned up" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("value", ["fast", "10", "1000.0"])
def test_a_wrong_parameter_is_named(start, value: str) -> None:
    code, output = start("-p", f"rate:={value}").end()
    assert code == 1
    assert "parameter rate" in output
    assert "Traceback" not in output


def test_without_autostart_it_waits_for_a_manager(start, ros: Ros) -> None:
    node = start("-p", "autostart:=false")
    state = ros.call(GetState, "probe/get_state").current_state
    assert state.id == State.PRIMARY_STATE_UNCONFIGURED
    node.process.send_signal(signal.SIGINT)
    code, output = node.end()
    assert code == 0
    assert "active\n" not in output.replace("deactivated", "")


@pytest.mark.skipif(not may_be_realtime(), reason="this user, or this container, may not set realtime priorities")
@pytest.mark.parametrize(("priority", "policy"), [(0, os.SCHED_OTHER), (7, os.SCHED_RR)])
def test_every_thread_has_the_priority_asked_for(start, priority: int, policy: int) -> None:
    node = start("-p", f"realtime_priority:={priority}")
    assert node.process.stdout.readline() == "active\n"
    threads = [int(task.name) for task in Path(f"/proc/{node.process.pid}/task").iterdir()]
    assert len(threads) > 1
    for thread in threads:
        assert os.sched_getscheduler(thread) == policy
        assert os.sched_getparam(thread).sched_priority == priority


def test_a_node_without_the_right_to_a_priority_says_so_and_runs(start) -> None:
    node = start("-p", "realtime_priority:=7", restricted=True)
    lines = [node.process.stdout.readline() for _ in range(2)]
    assert "no realtime priority (Operation not permitted)" in lines[0]
    assert lines[1] == "active\n"


def test_a_node_leaves_no_shared_memory_behind(start_node: Callable[..., NodeProcess]) -> None:
    node = start_node("vmail_nodes.teleop", {"mode": "kinesthetic"})
    until(lambda: "idle" in node.output, "the node is active")
    maps = Path(f"/proc/{node.process.pid}/maps").read_text()
    own = {Path(name) for name in re.findall(r"/dev/shm/fastdds_[0-9a-f]+", maps)}  # ports are shared with others
    assert own
    node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert not [path for path in own if path.exists()]
