"""Starts vmail's nodes as processes and talks to them over real DDS. Used through the fixtures in conftest.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from vmail_nodes.diagnostics import reason_of
from vmail_nodes.qos import DIAGNOSTICS

START_TIMEOUT_S = 30.0  # a node imports numpy, rclpy and, for the twin, MuJoCo, on a busy machine
STOP_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 8.0


class Collected:
    """Messages of one topic, in order of arrival, with their arrival times (time.monotonic)."""

    def __init__(self, topic: str) -> None:
        """Empty; the harness's executor calls `add`."""
        self.topic = topic
        self.messages: list[Any] = []
        self.arrived: list[float] = []
        self._new = threading.Condition()

    def add(self, message: Any) -> None:
        """Append a message and wake waiters."""
        with self._new:
            self.messages.append(message)
            self.arrived.append(time.monotonic())
            self._new.notify_all()

    def clear(self) -> None:
        """Forget what arrived so far."""
        with self._new:
            self.messages.clear()
            self.arrived.clear()

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
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.diagnostics = self.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)

    def _spin(self) -> None:
        try:
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            return

    def close(self) -> None:
        """Leave the domain."""
        # Callbacks end before what they use does.
        self._closing.set()
        self._thread.join(5.0)
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def collect(self, message_type: type, topic: str, qos: QoSProfile) -> Collected:
        """Subscribe and collect."""
        collected = Collected(topic)
        self.node.create_subscription(message_type, topic, collected.add, qos)
        return collected

    def publisher(self, message_type: type, topic: str, qos: QoSProfile, timeout: float = START_TIMEOUT_S) -> Any:
        """A publisher that already has a subscriber."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        deadline = time.monotonic() + timeout
        while publisher.get_subscription_count() == 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"{topic}: nobody subscribed in {timeout} s")
            time.sleep(0.02)
        return publisher

    def call(self, service_type: type, name: str, request: Any = None, timeout: float = START_TIMEOUT_S) -> Any:
        """Call a service, waiting for it to appear; returns the response."""
        client = self.node.create_client(service_type, name)
        try:
            if not client.wait_for_service(timeout):
                raise AssertionError(f"service {name} did not appear in {timeout} s")
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                # A node that a test killed lives on in DDS for some seconds and may have got the question.
                answered = threading.Event()
                future = client.call_async(request or service_type.Request())
                future.add_done_callback(lambda _future, answered=answered: answered.set())
                if answered.wait(min(timeout, ANSWER_TIMEOUT_S)):
                    return future.result()
            raise AssertionError(f"service {name} did not answer in {timeout} s")
        finally:
            self.node.destroy_client(client)

    def set_parameter(self, node_name: str, name: str, value: Any) -> None:
        """Set a parameter of a running node; fails when the node refuses."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = self.call(SetParameters, f"/{node_name}/set_parameters", request).results
        assert result.successful, f"{node_name}.{name} = {value!r}: {result.reason}"

    def wait_reason(self, node_name: str, reason: str, timeout: float = START_TIMEOUT_S) -> DiagnosticStatus:
        """Wait until a node's status on /diagnostics, from now on, has a named reason; returns the status."""
        self.diagnostics.clear()
        found: list[DiagnosticStatus] = []

        def matches(message: DiagnosticArray) -> bool:
            found[:] = [s for s in message.status if s.name == node_name and reason_of(s) == reason]
            return bool(found)

        try:
            self.diagnostics.wait_until(matches, timeout)
        except AssertionError:
            seen = sorted({(s.name, reason_of(s)) for m in self.diagnostics.messages for s in m.status})
            raise AssertionError(f"{node_name} did not report {reason!r} in {timeout} s; seen: {seen}") from None
        return found[0]


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

    def wait(self, timeout: float = STOP_TIMEOUT_S) -> int:
        """Wait for the end; returns the exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.label} did not end in {timeout} s; output:\n{self.output}") from None

    def wait_output(self, text: str, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until the output holds a text."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.label} never printed {text!r}; output:\n{self.output}")
            time.sleep(0.05)

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
