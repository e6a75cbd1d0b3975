"""Node `manager`: brings the nodes of a graph up in order, watches them, and takes them down in reverse.

For graphs with `managed:=true`, whose nodes do not start by themselves. A node that cannot be configured or activated,
or that is lost or deactivated later, ends the graph: those before it are taken down, the last one first, so that the
commander stops before the driver switches torque off, and the driver before its bus goes.

Serves: `~/stop` (deactivates all, in reverse) and `~/start` (activates them again, in order), Trigger.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future
from std_srvs.srv import Trigger

from vmail_nodes import diagnostics
from vmail_nodes.lifecycle import Interrupted, ManagedNode, NodeError, run

WATCH_PERIOD_S = 1.0
POLL_S = 0.1  # how soon a signal is seen while a node is waited for
ANSWER_S = 2.0  # a node with nothing to do says its state sooner
AGAIN_S = 2.0  # a question is put again after so long: one that was put just after discovery may get lost
GONE_S = 0.5  # a service that is missing for so long has ended with its node
LOST_S = 20.0  # a node that says nothing for so long is lost; letting joints go gently takes up to 10 s
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
ACTIVE, INACTIVE = State.PRIMARY_STATE_ACTIVE, State.PRIMARY_STATE_INACTIVE
UP = {State.PRIMARY_STATE_UNCONFIGURED: (CONFIGURE, ACTIVATE), INACTIVE: (ACTIVATE,), ACTIVE: ()}
DOWN = {ACTIVE: (DEACTIVATE, CLEANUP), INACTIVE: (CLEANUP,)}
NAMES = {CONFIGURE: "configured", ACTIVATE: "activated", DEACTIVATE: "deactivated", CLEANUP: "cleaned up"}


class NodeGone(NodeError):
    """A node that answered before has ended: there is nobody to ask any more."""


class Manager(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("manager")
        self._diagnostics = diagnostics.Diagnostics(self)
        # Answers are waited for, inside of callbacks too: the questions have a node and an executor of their own.
        self._asker = rclpy.create_node("manager_asker", namespace=self.get_namespace(), use_global_arguments=False)
        self._answers = SingleThreadedExecutor()
        self._answers.add_node(self._asker)
        self._questions: dict[tuple[str, type], Client] = {}
        self._answered: set[tuple[str, type]] = set()  # of them, those that a node has answered
        self._ending = False
        self._endpoints: list = []
        self._up: list[str] = []  # that may be up, in the order in which they came up
        self._heard: dict[str, float] = {}

    def configure(self) -> None:
        """Learn whom to manage."""
        self._nodes: Sequence[str] = self.parameter("nodes", [""], "Names of the nodes, in the order of starting.")
        self._timeout = self.parameter("timeout_s", 60.0, "Longest wait for a node's step.", 1.0, 600.0)
        if not any(self._nodes):
            raise NodeError("parameter nodes is empty: name the nodes of the graph, in the order of starting")

    def activate(self) -> None:
        """Bring all of them up, and watch them from then on."""
        self._bring_up()
        self._endpoints = [
            self.create_service(Trigger, "~/start", self._on_start),
            self.create_service(Trigger, "~/stop", self._on_stop),
            self.create_timer(WATCH_PERIOD_S, self._watch),
        ]

    def deactivate(self) -> None:
        """Take all down that are up. Those that have ended by themselves are left alone."""
        self._take_down()
        self.destroy_endpoints(self._endpoints)

    def _bring_up(self) -> None:
        """Raises NodeError with the name of the node that does not come up; then none is, as far as they obey."""
        try:
            for name in self._nodes:
                self._diagnostics.report(diagnostics.OK, "starting", f"waiting for {name}")
                state = self._state(name, self._timeout)
                if state not in UP:
                    raise NodeError(f"{name} has ended; start its process again")
                self._up.append(name)  # from here on it may hold torque, whatever it answers
                for step in UP[state]:
                    self._change(name, step)
                self._heard[name] = time.monotonic()
        except NodeError:
            self._take_down()
            raise
        self._diagnostics.report(diagnostics.OK, "ok", f"active: {', '.join(self._up)}")

    def _take_down(self) -> str:
        """Take all down, in reverse; returns what is wrong with those that may still be up, or nothing."""
        self._ending, failed = True, {}
        for name in reversed(self._up):
            try:
                for step in DOWN.get(self._state(name, LOST_S), ()):
                    self._change(name, step)
            except NodeGone:  # launch tools tell all nodes to end at once, and each takes itself down
                self._answered -= {(name, kind) for kind in (GetState, ChangeState)}
            except NodeError as error:
                failed[name] = str(error)
        self._up = [name for name in self._up if name in failed]
        self._ending, trouble = False, "; ".join(failed.values())
        if trouble:
            self._diagnostics.report(diagnostics.ERROR, "may_be_up", f"{trouble}. Cut the servos' power if in doubt")
        else:
            again = self.how_to_call("~/start")
            self._diagnostics.report(diagnostics.WARN, "stopped", f"no node is active; {again} brings them up")
        return trouble

    def _watch(self) -> None:
        for name in list(self._up):
            try:
                state = self._state(name, ANSWER_S)
            except Interrupted:
                return
            except NodeError as error:
                if time.monotonic() - self._heard[name] < LOST_S:
                    continue  # it is busy: a driver that lets joints go gently answers nobody meanwhile
                self._up.remove(name)  # there is nobody to ask any more; a driver's servos stop by their own watchdog
                self._end_graph(str(error))
                return
            self._heard[name] = time.monotonic()
            if state != ACTIVE:
                self._end_graph(f"{name} is not active any more: see its log")
                return

    def _end_graph(self, trouble: str) -> None:
        """Of the graph, for a node is missing in it."""
        self._diagnostics.report(diagnostics.ERROR, "node_lost", trouble)
        self._take_down()
        self.fail(trouble)

    def _state(self, name: str, patience_s: float) -> int:
        """The node's primary state. Raises NodeError when it does not say within so many seconds."""
        answer: GetState.Response = self._ask(name, GetState, GetState.Request(), "get_state", patience_s)
        return answer.current_state.id

    def _change(self, name: str, step: int) -> None:
        request = ChangeState.Request(transition=Transition(id=step))
        answer: ChangeState.Response = self._ask(name, ChangeState, request, "change_state", self._timeout)
        if not answer.success:
            raise NodeError(f"{name} cannot be {NAMES[step]}: its log says why")

    def _ask(self, name: str, kind: type, request: Any, service: str, patience_s: float) -> Any:
        if (name, kind) not in self._questions:
            self._questions[name, kind] = self._asker.create_client(kind, f"{name}/{service}")
        client, deadline = self._questions[name, kind], time.monotonic() + patience_s
        there, answered = client.service_is_ready, (name, kind) in self._answered
        if not self._until(there, time.monotonic() + GONE_S if answered else deadline, f"{name} is not there"):
            raise NodeGone(f"{name} has ended") if answered else NodeError(f"{name} is not there")
        while True:
            future: Future = client.call_async(request)
            # A step is asked for once: a second one would be refused. Nodes that are known by then hear it.
            again = min(deadline, time.monotonic() + AGAIN_S) if kind is GetState else deadline
            if self._answers_by(name, future, there, again):
                self._answered.add((name, kind))
                return future.result()
            if time.monotonic() > deadline:
                raise NodeError(f"{name} does not answer")

    def _answers_by(self, name: str, future: Future, there: Callable[[], bool], deadline: float) -> bool:
        """Whether an answer comes by then. Raises NodeGone where the service has gone meanwhile."""
        trouble = f"{name} does not answer"
        while not future.done():
            if not self._until(lambda: future.done() or not there(), deadline, trouble):
                return False
            if not self._until(lambda: future.done() or there(), time.monotonic() + GONE_S, trouble):
                raise NodeGone(f"{name} has ended")
        return True

    def _until(self, condition: Callable[[], bool], deadline: float, trouble: str) -> bool:
        """Wait; False when the deadline comes first. Raises Interrupted when the process is to end."""
        while not condition():
            if self.interrupted() and not self._ending:
                raise Interrupted(f"told to end while {trouble}")
            if time.monotonic() > deadline:
                return False
            self._answers.spin_once(timeout_sec=POLL_S)
        return True

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._up:
            response.success, response.message = False, f"{', '.join(self._up)} are up already"
            return response
        try:
            self._bring_up()
            response.success, response.message = True, f"active: {', '.join(self._up)}"
        except NodeError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        names = ", ".join(reversed(self._up))
        trouble = self._take_down()
        response.success = not trouble
        response.message = trouble or (f"stopped {names}" if names else "nothing was active")
        return response

    def destroy_node(self) -> None:
        """Give up the asker too."""
        self._answers.shutdown()
        self._asker.destroy_node()
        super().destroy_node()


def main() -> int:
    """Run the node; returns the exit code."""
    return run(Manager)


if __name__ == "__main__":
    sys.exit(main())
