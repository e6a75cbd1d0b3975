"""ROS 2: whether it is there, and whether a message gets from one node to another."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator

from vmail.doctor.findings import Finding, Level
from vmail.up import node_environment

WAIT_S = 10.0
VARIABLES = ("RMW_IMPLEMENTATION", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_DOMAIN_ID", "FASTDDS_DEFAULT_PROFILES_FILE")


def check_ros() -> Iterator[Finding]:
    """Send a message from one node to another over the middleware that nodes will use."""
    if importlib.util.find_spec("rclpy") is None:
        yield Finding(
            Level.NOTE,
            "ros",
            "rclpy is not installed: no nodes here",
            "source the setup file of your ROS installation, or pip install 'vmail[ros]'",
        )
        return
    os.environ.update(node_environment())
    told = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
    took = _message_time()
    if took is None:
        yield Finding(
            Level.FAILURE,
            "ros",
            f"no message from one node to another within {WAIT_S:.0f} s ({told})",
            "check firewall and network; with FASTDDS_BUILTIN_TRANSPORTS=UDPv4 it goes without shared memory",
        )
    else:
        yield Finding(Level.OK, "ros", f"a message goes from node to node {took:.1f} s after their start ({told})")


def _message_time() -> float | None:
    """Seconds from the nodes' start to the first message, None if there is none."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import Empty

    context = rclpy.Context()
    rclpy.init(context=context)
    began, heard = time.monotonic(), list[Empty]()
    nodes = [rclpy.create_node(f"vmail_doctor_{end}_{os.getpid()}", context=context) for end in ("from", "to")]
    executor = SingleThreadedExecutor(context=context)
    for node in nodes:
        executor.add_node(node)
    topic = f"vmail_doctor_{os.getpid()}"
    publisher = nodes[0].create_publisher(Empty, topic, 10)
    nodes[1].create_subscription(Empty, topic, heard.append, 10)
    try:
        while not heard and time.monotonic() - began < WAIT_S:
            publisher.publish(Empty())
            executor.spin_once(timeout_sec=0.05)
        return time.monotonic() - began if heard else None
    finally:
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown(context=context)
