"""`vmail call`: start and stop nodes of a running graph where ROS's own command line is not installed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

FIND_S = 3.0  # until a running node is found, also on a busy machine
SEARCH_PERIOD_S = 0.05
SWITCH = ("true", "false")
STOP = "/estop"  # waits for nothing, and may be asked for twice
TRIGGER, SET_BOOL = "std_srvs/srv/Trigger", "std_srvs/srv/SetBool"


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    calling = commands.add_parser(
        "call", help="call services of running nodes, one after the other; alone, it lists them"
    )
    calling.add_argument(
        "words",
        nargs="*",
        metavar="NODE/SERVICE [true|false]",
        help="such as dynamixel_driver/estop; a switch like torque takes a value. The first that is refused ends it",
    )
    calling.set_defaults(run=call)


def call(arguments: argparse.Namespace) -> int:
    """Call and print the answers; 1 when a node refused, and what comes after that is not called.

    Emergency stops come first, in whatever order they are given, and wait for nothing.
    """
    from vmail.up import node_environment

    calls = parse_calls(arguments.words)
    os.environ.update(node_environment())
    from vmail.ros_client import RosClient

    def say(name: str, answer: Any) -> bool:
        who = f"{name[1:]}: " if len(calls) > 1 else ""
        print(f"{who}{answer.message}", file=sys.stdout if answer.success else sys.stderr, flush=True)
        return bool(answer.success)

    with RosClient("vmail_call") as client:
        if not calls:
            time.sleep(1.0)  # for discovery
            print("\n".join(sorted(_callable(client.node))) or "no node of vmail is running")
            return 0
        stops = [
            _full_name(service) for service, value in calls if _full_name(service).endswith(STOP) and value is None
        ]
        stopped = client.stop(stops, FIND_S)
        done = [say(name, answer) for name, answer in stopped.items()]
        for name in stops:
            if name not in stopped:
                _find(client.node, name, 0.0)
                raise RuntimeError(f"{name} does not answer: cut the servos' power")
        if not all(done):
            return 1
        # No other is called before all can be: to reset a guard and then miss whoever was to start is no half of it.
        others = [(service, value) for service, value in calls if _full_name(service) not in stops]
        prepared = [_prepare(client.node, service, value) for service, value in others]
        client.prepare([(kind, name) for name, kind, _ in prepared])
        return 0 if all(say(name, client.call(kind, name, request)) for name, kind, request in prepared) else 1


def parse_calls(words: list[str]) -> list[tuple[str, str | None]]:
    """Services with their values, None where none is given. Raises ValueError for words that cannot be that."""
    calls: list[tuple[str, str | None]] = []
    for word in words:
        if word in SWITCH and calls and calls[-1][1] is None:
            calls[-1] = calls[-1][0], word
        elif "/" in word.strip("/"):
            calls.append((word, None))
        else:
            apart = len(words) == 2 and not any("/" in other for other in words)
            meant = f"write `vmail call {'/'.join(words)}`" if apart else "a switch takes true or false"
            line = " ".join(words)
            raise ValueError(f"vmail call {line}: {word!r} is no NODE/SERVICE; {meant}; `vmail call` alone lists them")
    return calls


def _callable(node: Any) -> dict[str, str]:
    """Name to type of every service that can be called from here: ROS also lists what somebody would only call."""
    found = {name: types[0] for name, types in node.get_service_names_and_types()}
    return {name: kind for name, kind in found.items() if kind in (TRIGGER, SET_BOOL) and node.count_services(name) > 0}


def _full_name(service: str) -> str:
    return f"/{service.strip('/')}"


def _find(node: Any, name: str, seconds: float = FIND_S) -> str:
    """The type of a service. Raises RuntimeError when no node serves it within so many seconds."""
    deadline = time.monotonic() + seconds
    while name not in (known := _callable(node)):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no running node serves {name}; there are: {', '.join(sorted(known)) or 'none'}")
        time.sleep(SEARCH_PERIOD_S)
    return known[name]


def _prepare(node: Any, service: str, value: str | None) -> tuple[str, type, Any]:
    """Name, type and request of a call.

    Raises:
        RuntimeError: no running node serves it.
        ValueError: it needs a value that is not given, or takes none.
    """
    from std_srvs.srv import SetBool, Trigger

    name = _full_name(service)
    switch = _find(node, name) == SET_BOOL
    if switch != (value is not None):
        raise ValueError(f"{name} {'needs' if switch else 'takes no'} true or false")
    return (name, SetBool, SetBool.Request(data=value == "true")) if switch else (name, Trigger, Trigger.Request())
