"""Starts vmail's nodes as processes and talks to them over real DDS. Used through the fixtures in conftest.py.

Waiting is patient, so that a busy machine fails nothing. What a node owes in time is judged by the node's own stamps.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_parameter_events

from vmail_nodes.diagnostics import reason_of
from vmail_nodes.leaving import SETTLE_BUSY_S, ending_in_time, settle
from vmail_nodes.messages import NS_PER_S, ns_from_time
from vmail_nodes.qos import DIAGNOSTICS

START_TIMEOUT_S = 60.0  # a node imports numpy, rclpy and, for the twin, MuJoCo, on a busy machine
STOP_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 8.0
QUESTION_PERIOD_S = 0.5  # a question that was asked too early is lost, and asked again
POLL_PERIOD_S = 0.02


def until(condition: Callable[[], Any], what: str, timeout: float = START_TIMEOUT_S) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout} s: {what}"
        time.sleep(POLL_PERIOD_S)


class Collected:
    """Messages of one topic, in order of arrival."""

    def __init__(self, topic: str) -> None:
        """Empty; the harness's executor calls `add`."""
        self.topic = topic
        self.messages: list[Any] = []
        self._new = threading.Condition()

    def add(self, message: Any) -> None:
        """Append a message and wake waiters."""
        with self._new:
            self.messages.append(message)
            self._new.notify_all()

    def clear(self) -> None:
        """Forget what arrived so far."""
        with self._new:
            self.messages.clear()

    def wait_for(self, count: int = 1, timeout: float = START_TIMEOUT_S) -> list[Any]:
        """Wait until `count` messages have arrived since the start (or `clear`); returns them all."""
        with self._new:
            if not self._new.wait_for(lambda: len(self.messages) >= count, timeout):
                raise AssertionError(f"{self.topic}: {len(self.messages)} of {count} messages in {timeout} s")
            return list(self.messages)

    def wait_until(self, predicate: Callable[[Any], bool], timeout: float = START_TIMEOUT_S) -> Any:
        """Wait for a message, from now or earlier, that fulfils the predicate; returns the first such message."""
        deadline, seen = time.monotonic() + timeout, 0
        with self._new:
            while True:
                for message in self.messages[seen:]:
                    if predicate(message):
                        return message
                seen = len(self.messages)
                if not self._new.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{self.topic}: none of {seen} messages fulfilled the condition")

    def wait_stamped(self, since_ns: int, count: int = 1, timeout: float = START_TIMEOUT_S) -> list[Any]:
        """Wait for `count` messages stamped at this time or later; returns all of them."""

        def late() -> list[Any]:
            return [message for message in self.messages if ns_from_time(message.header.stamp) >= since_ns]

        with self._new:
            if not self._new.wait_for(lambda: len(late()) >= count, timeout):
                raise AssertionError(f"{self.topic}: {len(late())} of {count} messages in {timeout} s")
            return late()


class Ros:
    """A node of the test itself, spun in a thread: subscriptions, publishers, service calls, diagnostics."""

    def __init__(self) -> None:
        """Joins the domain of ROS_DOMAIN_ID."""
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("test_probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._retired: collections.deque[tuple[float, Any]] = collections.deque()  # clients, and since when
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.diagnostics = self.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self._changes = self.collect(ParameterEvent, "/parameter_events", qos_profile_parameter_events)

    def _spin(self) -> None:
        try:
            while not self._closing.is_set():
                # A test may destroy something while rclpy gathers all that it waits for: it looks again then.
                with contextlib.suppress(InvalidHandle):
                    self._executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            return

    def spin(self, node: Node) -> None:
        """Spin another node of the test's own, too."""
        self._executor.add_node(node)

    def close(self) -> None:
        """Leave the domain."""
        # Callbacks end before what they use does.
        self._closing.set()
        self._thread.join(5.0)
        self._executor.shutdown()
        settle()
        with ending_in_time(START_TIMEOUT_S):  # a run that names the test where ROS locked up, not one without end
            self.node.destroy_node()
            self._context.try_shutdown()

    def collect(self, message_type: type, topic: str, qos: QoSProfile) -> Collected:
        """Subscribe and collect. Whoever must not publish unheard has to be met (`meet`) after this."""
        collected = Collected(topic)
        self.node.create_subscription(message_type, topic, collected.add, qos)
        return collected

    def publisher(self, message_type: type, topic: str, qos: QoSProfile, timeout: float = START_TIMEOUT_S) -> Any:
        """A publisher whose first message arrives: it has met everybody who subscribes, and there is somebody.

        What a subscriber publishes in answer is heard by every subscription that was made before this.
        """
        publisher = self.node.create_publisher(message_type, topic, qos)
        until(lambda: self._is_met(publisher, topic), f"somebody subscribes to {topic}", timeout)
        return publisher

    def _is_met(self, publisher: Any, topic: str) -> bool:
        names = {info.node_name for info in self.node.get_subscriptions_info_by_topic(topic)}
        known = names <= set(self.node.get_node_names())  # a node's name comes after its subscriptions
        found = 0 < len(names) <= publisher.get_subscription_count()
        # The names are looked at anew when one is silent: it may be that of a node that was killed.
        return known and found and all(self._answers(name, 1.0) for name in names)

    def meet(self, node_name: str, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until a node has found every publisher, subscription and client that was made here so far.

        That this end has found the node says nothing of the other direction. But DDS announces a participant's
        endpoints in the order in which they were made: a node that answers a new client knows all that came before.
        """
        if not self._answers(node_name, timeout):
            raise AssertionError(f"node {node_name} did not answer in {timeout} s")

    def _answers(self, node_name: str, timeout: float) -> bool:
        client = self.node.create_client(GetParameters, f"/{node_name}/get_parameters")
        answered = threading.Event()
        deadline = time.monotonic() + timeout
        try:
            while not answered.is_set() and time.monotonic() < deadline:
                if client.service_is_ready():
                    client.call_async(GetParameters.Request()).add_done_callback(lambda _: answered.set())
                    answered.wait(QUESTION_PERIOD_S)
                else:
                    time.sleep(POLL_PERIOD_S)
            return answered.is_set()
        finally:
            self._retire(client)

    def _retire(self, client: Any) -> None:
        """Destroy it in a while, and those whose time has come; see `settle`."""
        now = time.monotonic()
        self._retired.append((now, client))
        while now - self._retired[0][0] > SETTLE_BUSY_S:
            self.node.destroy_client(self._retired.popleft()[1])

    def call(self, service_type: type, name: str, request: Any = None, timeout: float = START_TIMEOUT_S) -> Any:
        """Call a service, waiting for it to appear; returns the response. Services begin with their node's name."""
        client = self.node.create_client(service_type, name)
        try:
            deadline = time.monotonic() + timeout
            until(client.service_is_ready, f"service {name} appears", timeout)
            # A node that does not know the client drops its answer.
            self.meet(name.strip("/").rpartition("/")[0], timeout)
            while time.monotonic() < deadline:
                # A node that a test killed lives on in DDS for some seconds and may have got the question.
                answered = threading.Event()
                future = client.call_async(request or service_type.Request())
                future.add_done_callback(lambda _future, answered=answered: answered.set())
                if answered.wait(min(timeout, ANSWER_TIMEOUT_S)):
                    return future.result()
            raise AssertionError(f"service {name} did not answer in {timeout} s")
        finally:
            self._retire(client)

    def set_parameter(self, node_name: str, name: str, value: Any) -> int:
        """Set a parameter of a running node; fails when the node refuses.

        Returns the time, in nanoseconds, when the node did: on a busy machine, long after it was asked to.
        """
        self._changes.clear()
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = self.call(SetParameters, f"/{node_name}/set_parameters", request).results
        assert result.successful, f"{node_name}.{name} = {value!r}: {result.reason}"

        def is_it(event: ParameterEvent) -> bool:
            names = [parameter.name for parameter in event.changed_parameters]
            return event.node.strip("/") == node_name and name in names

        return ns_from_time(self._changes.wait_until(is_it).stamp)

    @contextlib.contextmanager
    def broken(self, script: str) -> Iterator[int]:
        """Break something in the twin meanwhile, by a fault script; gives the time, in nanoseconds, when it broke."""
        since_ns = self.set_parameter("twin", "faults", script)
        try:
            yield since_ns
        finally:
            self.set_parameter("twin", "faults", "")

    def wait_reason(
        self,
        node_name: str,
        reason: str | tuple[str, ...],
        timeout: float = START_TIMEOUT_S,
        within: float | None = None,
        since_ns: int | None = None,
    ) -> DiagnosticStatus:
        """Wait until a node's status on /diagnostics has a named reason; returns the status.

        Args:
            node_name, reason: which; one of them, where several are given.
            timeout: how long to wait for it to arrive.
            within: seconds from `since_ns` in which the node has to have said so, by its own stamp.
            since_ns: only what the node said after this counts, by its own stamp; by default, after the call.
        """
        since_ns = time.time_ns() if since_ns is None else since_ns
        reasons = (reason,) if isinstance(reason, str) else reason

        def said(message: DiagnosticArray) -> list[DiagnosticStatus]:
            late = ns_from_time(message.header.stamp) >= since_ns
            return [status for status in message.status if status.name == node_name and late]

        def matches(message: DiagnosticArray) -> bool:
            return any(reason_of(status) in reasons for status in said(message))

        try:
            message = self.diagnostics.wait_until(matches, timeout)
        except AssertionError:
            seen = sorted({(s.name, reason_of(s)) for m in self.diagnostics.messages for s in said(m)})
            raise AssertionError(f"{node_name} did not report {reason!r} in {timeout} s; seen: {seen}") from None
        took = (ns_from_time(message.header.stamp) - since_ns) / NS_PER_S
        assert within is None or took <= within, f"{node_name} reported {reason!r} after {took:.2f} s"
        return next(status for status in said(message) if reason_of(status) in reasons)


class NodeProcess:
    """A node started as `python -m MODULE --ros-args`; its output is kept in a file."""

    def __init__(
        self,
        module: str,
        folder: Path,
        parameters: dict[str, Any],
        name: str | None = None,
        remap: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Start the process; parameters go through a YAML file, as they do from a launch file."""
        self.label = name or module.rsplit(".", 1)[-1]
        self.log = folder / f"{self.label}.log"
        parameter_file = folder / f"{self.label}.yaml"
        parameter_file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        command = [sys.executable, "-m", module, "--ros-args", "--params-file", str(parameter_file)]
        for source, target in {**({"__node": name} if name else {}), **(remap or {})}.items():
            command += ["-r", f"{source}:={target}"]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=stdin)

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = START_TIMEOUT_S) -> int:
        """Wait for the end; returns the exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.label} did not end in {timeout} s; output:\n{self.output}") from None

    def end(self) -> None:
        """Stop it, politely at first."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def claim_domain() -> int:
    """A ROS domain that no other test process on this machine uses, kept until this process ends."""
    import fcntl  # POSIX only, as the emulated bus is
    import tempfile

    for domain in range(30, 101):
        handle = os.open(Path(tempfile.gettempdir()) / f"vmail-test-domain-{domain}", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        return domain
    raise RuntimeError("all ROS domains from 30 to 100 are in use by other test runs")
