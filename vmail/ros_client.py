"""A node of this process beside a running graph: hears /diagnostics and calls services.

Make it after the environment has been set (`up.node_environment`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from vmail.signals import put_off
from vmail_nodes.leaving import settle
from vmail_nodes.messages import ns_from_time
from vmail_nodes.qos import DIAGNOSTICS

CALL_TIMEOUT_S = 10.0
QUESTION_PERIOD_S = 0.5
AGAIN_S = 1.0
SPIN_S = 0.05  # also how often `check` is called


class ServiceRefused(RuntimeError):
    """A node answered, and refused; the message says why."""


class RosClient:
    """Listens while it waits, and only then, in the thread that waits. Use it as a context manager.

    Attributes:
        node: for further subscriptions.
        status: the newest status of every node, by its name.
    """

    def __init__(self, name: str, check: Callable[[], None] = lambda: None) -> None:
        """Join ROS as a node of that name. `check` is called while waiting; it raises when waiting is of no use."""
        self._check = check
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        # Without what nobody asks of it: the less disappears with it, the better, see `settle`.
        self.node = rclpy.create_node(name, context=self._context, enable_rosout=False, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._known: set[str] = set()  # services whose nodes know this one
        self.status: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave ROS."""
        self._executor.shutdown()
        settle()
        self.node.destroy_node()
        self._context.try_shutdown()

    def trigger(self, service: str) -> str:
        """Call a Trigger service; returns what it says.

        Raises:
            ServiceRefused: the node does not do it.
            TimeoutError: no answer.
        """
        answer = self.call(Trigger, service, Trigger.Request())
        if not answer.success:
            raise ServiceRefused(f"{service}: {answer.message}")
        return str(answer.message)

    def set_parameter(self, node: str, name: str, value: Any) -> None:
        """Set a parameter of a running node. Raises as `trigger`."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = self.call(SetParameters, f"{node}/set_parameters", request).results
        if not result.successful:
            raise ServiceRefused(f"{node} refused {name} = {value!r}: {result.reason}")

    def call(self, kind: type, service: str, request: Any, seconds: float = CALL_TIMEOUT_S) -> Any:
        """The answer of a service, which is asked once its node knows this one (see `prepare`).

        Raises:
            TimeoutError: as `prepare`, or it gives no answer in so many seconds.
        """
        self.prepare([(kind, service)], seconds)
        trouble = f"service {service} did not answer"
        return self._answer_of(self._clients[service], request, seconds, math.inf, trouble)

    def prepare(self, services: Sequence[tuple[type, str]], seconds: float = CALL_TIMEOUT_S) -> None:
        """Find services, by type and name, and let their nodes find this one, unless they have.

        A node drops its answer to a client that it does not know yet, and has done what it was asked all the same.

        Raises:
            TimeoutError: a service did not appear in so many seconds, or its node did not answer in so many more.
        """
        for kind, service in services:
            client = self._client(kind, service)
            self._wait_ready(client, service, seconds)
        strangers = {service for _, service in services} - self._known
        for name in {service.rpartition("/")[0] for service in strangers}:
            self._meet(name, seconds)
        self._known |= strangers

    def stop(self, services: Sequence[str], find_s: float, seconds: float = CALL_TIMEOUT_S) -> dict[str, Any]:
        """Call emergency stops (Trigger): their answers by name, of those that answer in so many seconds.

        None waits for another, or until its node knows this one: it is asked as soon as it is found, and again every
        second, since the answer may be lost. So a node may be stopped once more after this returned. Those that are not
        found in `find_s` seconds are not waited for.
        """
        clients = {service: self._client(Trigger, service) for service in services}
        began, ask_at = time.monotonic(), dict.fromkeys(clients, -math.inf)
        asked: list[tuple[str, Any]] = []
        answers: dict[str, Any] = {}

        def is_over() -> bool:
            answers.update({service: future.result() for service, future in asked if future.done()})
            now = time.monotonic()
            for service in clients.keys() - answers.keys():
                if now >= ask_at[service] and clients[service].service_is_ready():
                    asked.append((service, clients[service].call_async(Trigger.Request())))
                    ask_at[service] = now + AGAIN_S
            found = {service for service, _ in asked} if now - began > find_s else clients.keys()
            return not found - answers.keys()

        try:
            self.wait(is_over, seconds, lambda: "some did not answer")
        except TimeoutError:
            return answers
        finally:
            for service, future in asked:
                clients[service].remove_pending_request(future)
        return answers

    def _client(self, kind: type, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        return self._clients[service]

    def _wait_ready(self, client: Any, service: str, seconds: float) -> None:
        self.wait(client.service_is_ready, seconds, lambda: f"service {service} did not appear")

    def _meet(self, name: str, seconds: float) -> None:
        """Wait until a node knows all clients that were made so far.

        DDS announces them in the order in which they were made: a node that answers the newest knows the others. That
        one asks for no parameter, and stays: it would do harm by disappearing (see `settle`). Nodes have services for
        parameters before any of their own. Where there are none of that name, because a service is not named after its
        node, say, nobody can be asked, and the node is taken to know.
        """
        question = f"{name}/get_parameters"
        if not self.node.count_services(question):
            return
        newest: Any = self.node.create_client(GetParameters, question)
        self._wait_ready(newest, question, seconds)
        trouble = f"node {name} did not answer, and was not asked for anything,"
        self._answer_of(newest, GetParameters.Request(), seconds, QUESTION_PERIOD_S, trouble)

    def _answer_of(self, client: Any, request: Any, seconds: float, again_s: float, trouble: str) -> Any:
        """An answer to a question that is put again every `again_s`, however late. Raises TimeoutError."""
        futures = [client.call_async(request)]
        ask_at = time.monotonic() + again_s

        def answered() -> bool:
            nonlocal ask_at
            if any(future.done() for future in futures):
                return True
            if time.monotonic() >= ask_at:
                futures.append(client.call_async(request))
                ask_at = time.monotonic() + again_s
            return False

        try:
            self.wait(answered, seconds, lambda: trouble)
            return next(future.result() for future in futures if future.done())
        finally:
            for future in futures:
                client.remove_pending_request(future)

    def wait(self, condition: Callable[[], bool], seconds: float, trouble: Callable[[], str]) -> None:
        """Listen until the condition holds. Raises TimeoutError with what `trouble` says."""
        deadline = time.monotonic() + seconds
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{trouble()} within {seconds:.0f} s")
            self._listen(SPIN_S)

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            self._check()
            self._listen(min(left, SPIN_S))

    def _listen(self, seconds: float) -> None:
        """An executor that is broken off between taking a message and handing it on hands no others on afterwards."""
        with put_off():
            self._executor.spin_once(timeout_sec=seconds)

    def hear(self, status: DiagnosticStatus, stamp_ns: int) -> None:
        """A status came, stamped by its node; for subclasses."""

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.status[status.name] = status
            self.hear(status, ns_from_time(message.header.stamp))
