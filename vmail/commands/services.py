"""`vmail call`: start and stop nodes of a running graph where ROS's own command line is not installed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

FIND_S = 3.0  # until a running node is found, also on a busy machine
ANSWER_S = 10.0
SEARCH_PERIOD_S = 0.05
TRIGGER, SET_BOOL = "std_srvs/srv/Trigger", "std_srvs/srv/SetBool"


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    calling = commands.add_parser(
        "call", help="call a service of a running node, for example policy_runner/start; alone, it lists them"
    )
    calling.add_argument("service", nargs="?", metavar="NODE/SERVICE", help="for example dynamixel_driver/estop")
    calling.add_argument("value", nargs="?", metavar="true|false", help="for a switch such as torque")
    calling.set_defaults(run=call)


def call(arguments: argparse.Namespace) -> int:
    """Call and print the answer; 1 when the node refused."""
    from vmail.up import node_environment

    _check(arguments.service, arguments.value)
    os.environ.update(node_environment())
    import rclpy

    from vmail_nodes.leaving import settle

    rclpy.init()
    node = rclpy.create_node("vmail_call")
    try:
        if arguments.service is None:
            time.sleep(1.0)  # for discovery
            print("\n".join(sorted(_callable(node))) or "no node of vmail is running")
            return 0
        return _call(node, arguments.service, arguments.value)
    finally:
        settle()
        node.destroy_node()
        rclpy.try_shutdown()


def _check(service: str | None, value: str | None) -> None:
    """Raise ValueError for words that cannot be a service and its value."""
    if service is None or value in (None, "true", "false"):
        return
    node = service.strip("/")
    meant = f"write `vmail call {node}/{value}`" if "/" not in node else "a switch takes true or false"
    raise ValueError(f"vmail call {service} {value}: {meant}; `vmail call` alone lists what can be called")


def _callable(node: Any) -> dict[str, str]:
    """Name to type of every service that can be called from here: ROS also lists what somebody would only call."""
    found = {name: types[0] for name, types in node.get_service_names_and_types()}
    return {name: kind for name, kind in found.items() if kind in (TRIGGER, SET_BOOL) and node.count_services(name) > 0}


def _find(node: Any, name: str) -> str:
    """The type of a service. Raises RuntimeError when no node serves it."""
    deadline = time.monotonic() + FIND_S
    while name not in (known := _callable(node)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no running node serves {name}; there are: {', '.join(sorted(known)) or 'none'}")
        time.sleep(SEARCH_PERIOD_S)
    return known[name]


def _call(node: Any, service: str, value: str | None) -> int:
    import rclpy
    from std_srvs.srv import SetBool, Trigger

    name = f"/{service.strip('/')}"
    switch = _find(node, name) == SET_BOOL
    if switch != (value is not None):
        raise ValueError(f"{name} {'needs' if switch else 'takes no'} true or false")
    client = node.create_client(SetBool if switch else Trigger, name)
    if not client.wait_for_service(FIND_S):
        raise RuntimeError(f"service {name} went away")
    future = client.call_async(SetBool.Request(data=value == "true") if switch else Trigger.Request())
    rclpy.spin_until_future_complete(node, future, timeout_sec=ANSWER_S)
    if not future.done():
        raise RuntimeError(f"service {name} did not answer within {ANSWER_S:.0f} s")
    answer = future.result()
    print(answer.message, file=sys.stdout if answer.success else sys.stderr)
    return 0 if answer.success else 1
