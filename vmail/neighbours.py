"""Whether nodes of a graph run already: started twice, all would be commanded and recorded twice, without a word."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

from vmail.graph import GraphError, GraphNode
from vmail.signals import SignalNote

DISCOVERY_S = 1.2  # from joining on; on an idle machine nodes find each other within a tenth of it
LOOK_PERIOD_S = 0.05


class Neighbours:
    """Nodes that are alive in the ROS graph, as heard from the moment of joining on. Use it as a context manager.

    Only the living answer whoever joins, so that nodes that ended, in order or killed, are not heard.
    Make it after the environment has been set (`up.node_environment`).
    """

    def __init__(self) -> None:
        """Join ROS; the others are discovered meanwhile, whatever this thread does."""
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(
            "vmail_up", context=self._context, enable_rosout=False, start_parameter_services=False
        )
        self._deadline = time.monotonic() + DISCOVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._node.destroy_node()
        del self._node  # whatever refers to it keeps its shared memory
        self._context.try_shutdown()

    def require_none_of(self, nodes: Sequence[GraphNode], stopping: SignalNote) -> None:
        """Make sure that none of the nodes to be started is alive already; returns early when `stopping` is set.

        Raises:
            GraphError: some are; the message names those that were heard first.
        """
        wanted = {f"{node.namespace}/{node.name}".lstrip("/") for node in nodes}
        while not (found := wanted & self._alive()):
            left = self._deadline - time.monotonic()
            if left <= 0.0 or stopping.wait(min(left, LOOK_PERIOD_S)):
                return
        raise GraphError(
            f"running already: {', '.join(sorted(found))}, and a second graph would act on the same topics; stop that "
            "one, or give this one a namespace of its own, like namespace:=left"
        )

    def _alive(self) -> set[str]:
        names = self._node.get_node_names_and_namespaces()
        return {f"{namespace.strip('/')}/{name}".lstrip("/") for name, namespace in names}
