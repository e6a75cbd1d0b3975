"""What vmail's lifecycle nodes share: reported errors, parameters with ranges, and one way to run and end."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.experimental import EventsExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.service import Service
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from vmail_nodes.leaving import ending_in_time, settle
from vmail_nodes.readiness import notify_ready
from vmail_nodes.realtime import keep_memory, request_realtime

# Of nodes between camera and motors. The driver, which waits most of the time, has more: under SCHED_RR an equal does
# not step aside. Interrupt threads of a realtime kernel have 50.
REALTIME_PRIORITY, DRIVER_PRIORITY = 10, 20
SPIN_TIMEOUT_S = 0.1  # also the longest that a signal waits for a node with nothing to do
RETRY_PERIOD_S = 0.2
PARENT_VARIABLE = "VMAIL_PARENT_PID"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NodeError(Exception):
    """Trouble that a user can act on: shown as one line, without a traceback."""


class Interrupted(NodeError):
    """The process was told to end while it waited for something; no failure."""


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclasses implement `configure`, `activate`, `deactivate` and `cleanup`.

    They raise NodeError (or ValueError, OSError) with one clear sentence when they cannot. Unlike rclpy's own hooks,
    which swallow exceptions, every error is logged and fails the transition. `deactivate` and `cleanup` are also
    called after a failed `activate` or `configure` and at every end of the process, so they accept any state,
    also a second call.
    """

    def __init__(self, name: str, realtime_priority: int = 0) -> None:
        """Declares what every node has.

        `autostart`: configure and activate without a lifecycle manager.
        `realtime_priority`: by default the one given here.
        """
        super().__init__(name)
        self.failure: str | None = None
        self.finalized = False
        self.gave_up = False  # waiting, because the process is to end
        self.interrupted: Callable[[], bool] = lambda: False  # `run` replaces it: a signal asks the process to end
        self.owns_process = False  # `run` sets it
        self.autostart = bool(self.parameter("autostart", True, "Configure and activate at once when started."))
        self.realtime_priority = self.parameter(
            "realtime_priority", realtime_priority, "SCHED_RR priority of the process; 0 is none.", 0, 99
        )

    def configure(self) -> None:
        """Read parameters, open devices, create publishers and subscriptions."""

    def activate(self) -> None:
        """Begin to act."""

    def deactivate(self) -> None:
        """Stop acting and leave devices safe."""

    def cleanup(self) -> None:
        """Undo `configure`."""

    def parameter(
        self, name: str, default: Any, description: str, low: float | None = None, high: float | None = None
    ) -> Any:
        """Declare a parameter (once) and return its value; `low` and `high` bound a number."""
        if not self.has_parameter(name):
            descriptor = ParameterDescriptor(description=description)
            if low is not None and high is not None:
                if isinstance(default, float):
                    descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
                else:
                    descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
            try:
                self.declare_parameter(name, default, descriptor)
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise NodeError(f"parameter {name}: {error} (a float needs its point: 10.0)") from error
        return self.get_parameter(name).value

    def how_to_call(self, *services: str) -> str:
        """What to type to call services one after the other: "~/start", "~/torque true", "teleop/start" beside it."""
        words = [service.split() for service in services]
        calls = [" ".join([self.resolve_service_name(name).lstrip("/"), *value]) for name, *value in words]
        return f"`vmail call {' '.join(calls)}`"

    def require_wall_time(self) -> None:
        """Raises NodeError where the clock is simulated: devices stamp with the wall clock, and so does the twin."""
        if self.get_parameter("use_sim_time").value:
            raise NodeError("use_sim_time is true, but this node's stamps are of the wall clock: set it to false here")

    def retry(self, attempt: Callable[[], Any], seconds: float, what: str) -> Any:
        """Call `attempt` until it raises no NodeError, for up to so many seconds: nodes of a graph start together.

        Returns what `attempt` returns; raises its last NodeError, or Interrupted.
        """
        deadline, said = time.monotonic() + seconds, False
        while True:
            try:
                return attempt()
            except NodeError:
                if self.interrupted():
                    raise Interrupted(f"told to end while it waited for {what}") from None
                if time.monotonic() > deadline:
                    raise
                if not said:
                    self.get_logger().info(f"waiting up to {seconds:g} s for {what}")
                    said = True
                time.sleep(RETRY_PERIOD_S)

    def destroy_endpoints(self, endpoints: list[Any]) -> None:
        """Destroy services, subscriptions and timers, and empty the list.

        To be called once devices are safe: the process may end in there, see `ending_in_time`.
        """
        if endpoints:
            settle()
        with ending_in_time() if self.owns_process else contextlib.nullcontext():
            while endpoints:
                endpoint = endpoints.pop()
                if isinstance(endpoint, Service):
                    _drop_questions(endpoint)
                    self.destroy_service(endpoint)
                elif isinstance(endpoint, Subscription):
                    self.destroy_subscription(endpoint)
                elif isinstance(endpoint, Timer):
                    self.destroy_timer(endpoint)
                else:
                    raise TypeError(f"{endpoint!r} is neither service, subscription nor timer")

    def fail(self, message: str) -> None:
        """End the process with a non-zero code after an orderly stop, from any callback."""
        self.get_logger().fatal(message)
        self.failure = message

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle hook; see `configure`."""
        return self._guarded(self.configure, "configure", undo=self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle hook; see `activate`."""
        result = self._guarded(self.activate, "activate", undo=self.deactivate)
        if result == TransitionCallbackReturn.SUCCESS:
            keep_what_is_loaded()
            notify_ready()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle hook; see `deactivate`."""
        return self._guarded(self.deactivate, "deactivate")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle hook; see `cleanup`."""
        return self._guarded(self.cleanup, "clean up")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle hook after an unexpected exception: leaves devices safe and the node unconfigured.

        Where that fails, the node is at its end, and `run` tries once more.
        """
        result = self.end()
        if result != TransitionCallbackReturn.SUCCESS:
            self.finalized = True
            self.failure = self.failure or "it could not be left as it should be"
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle hook: deactivates and cleans up, from whatever state."""
        self.finalized = True
        result = self.end()
        if result != TransitionCallbackReturn.SUCCESS:
            self.failure = self.failure or "it could not be left as it should be"
        return result

    def end(self) -> TransitionCallbackReturn:
        """Deactivate and clean up, from whatever state."""
        ended = [self._guarded(self.deactivate, "deactivate"), self._guarded(self.cleanup, "clean up")]
        failed = any(result != TransitionCallbackReturn.SUCCESS for result in ended)
        return TransitionCallbackReturn.ERROR if failed else TransitionCallbackReturn.SUCCESS

    def _guarded(
        self, step: Callable[[], None], name: str, undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        try:
            step()
            return TransitionCallbackReturn.SUCCESS
        except Interrupted as error:
            self.get_logger().info(str(error))
            self.gave_up = True
            result = TransitionCallbackReturn.FAILURE
        except (NodeError, ValueError, OSError) as error:
            self.get_logger().error(f"cannot {name}: {error}")
            result = TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"cannot {name}:\n{traceback.format_exc()}")
            result = TransitionCallbackReturn.ERROR
        if undo is not None:
            self._guarded(undo, f"undo the attempt to {name}")
        return result


def _drop_questions(service: Service) -> None:
    """Have what is asked of a service in its last moment come to nothing.

    rclpy would still hand it to the node, which is not active any more, and then fail to send the answer.
    """
    # The executor looks both up by name, on this service, when a question's turn comes; rclpy has no other hook there.
    service.callback = lambda request, response: response
    service.send_response = lambda response, header: None  # type: ignore[method-assign]


def keep_what_is_loaded() -> None:
    """Take all that lives now out of Python's garbage collections.

    Modules and devices stay for good. To look through them again and again, for 15 to 60 ms in the middle of a tick, is
    what made single commands late.
    """
    gc.collect()
    gc.freeze()


def run(node_class: Callable[[], ManagedNode], arguments: list[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM, SIGHUP or `fail`; returns the process's exit code.

    Signals only set a flag: the node is deactivated and cleaned up in this thread, with ROS still up, so that
    no signal, first or second, can cut short the switching off of motors.
    """
    interruption = _Interruption()
    for number in SIGNALS:
        signal.signal(number, interruption.on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # `vmail up` starts nodes with them blocked
    keep_memory()
    rclpy.init(args=sys.argv if arguments is None else arguments, signal_handler_options=SignalHandlerOptions.NO)
    node: ManagedNode | None = None
    try:
        node = node_class()
        node.interrupted, node.owns_process = interruption, True
        refusal = request_realtime(node.realtime_priority)
        if refusal is not None:
            node.get_logger().warning(refusal)
        return _spin(node, interruption)
    except (NodeError, ValueError) as error:
        print(f"{getattr(node_class, '__name__', 'node')}: {error}", file=sys.stderr)
        return 1
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            settle()
        with ending_in_time():
            if node is not None:
                node.destroy_node()
            # Whatever still refers to the node keeps its DDS participant, and that 17 MB of shared memory for good.
            node = None
            gc.unfreeze()
            gc.collect()
            rclpy.try_shutdown()


class _Interruption:
    """Whether the process is to end: a signal came, or the program that started it is gone.

    A program that names itself in VMAIL_PARENT_PID may be killed without the chance to stop its nodes; motors must
    not stay on for that.
    """

    def __init__(self) -> None:
        self._signalled = False
        self._parent = int(os.environ.get(PARENT_VARIABLE, "0"))

    def on_signal(self, number: int, frame: object) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        return self._signalled or (self._parent > 0 and os.getppid() != self._parent)


def _spin(node: ManagedNode, interrupted: Callable[[], bool]) -> int:
    executor = EventsExecutor()
    executor.add_node(node)
    ok = True
    try:
        if node.autostart:
            ok = _start(node, interrupted)
        while ok and not interrupted() and node.failure is None and not node.finalized:
            # spin(), and spin_once() without a timeout, hang on this executor and never see a signal.
            executor.spin_once(timeout_sec=SPIN_TIMEOUT_S)
    except Exception:
        node.get_logger().fatal(f"stopped by an error in a callback:\n{traceback.format_exc()}")
        ok = False
    finally:
        if node.finalized:
            ended = node.failure is None or node.end() == TransitionCallbackReturn.SUCCESS
        else:
            ended = node.trigger_shutdown() == TransitionCallbackReturn.SUCCESS
        executor.shutdown()
    return 0 if ok and ended and node.failure is None else 1


def _start(node: ManagedNode, interrupted: Callable[[], bool]) -> bool:
    """Configure and activate, unless the process is to end: motors need not come on for that. False: it failed."""
    for step in (node.trigger_configure, node.trigger_activate):
        if not interrupted() and step() != TransitionCallbackReturn.SUCCESS:
            return node.gave_up
    return True
