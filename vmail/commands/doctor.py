"""`vmail doctor`: look at machine, servos and camera before anything moves."""

from __future__ import annotations

import argparse
import functools
import os
from typing import Any


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    doctor = commands.add_parser("doctor", help="check this machine, servos and camera; says how to mend what is wrong")
    doctor.add_argument("--port", metavar="DEVICE", help="serial port of the servos, to look at each of them")
    doctor.add_argument("--camera", metavar="SOURCE", help="/dev/video*, to watch its pictures for two seconds")
    doctor.add_argument("--robot", default="dclaw", metavar="NAME", help="robot, or path to its YAML file [dclaw]")
    doctor.set_defaults(run=examine)


def examine(arguments: argparse.Namespace) -> int:
    """Print every finding as it comes; 1 when something does not work."""
    from rich.console import Console

    from vmail.doctor import devices, machine, ros
    from vmail.doctor.findings import Check, Level, run
    from vmail.doctor.lines import finding_lines
    from vmail.tables import UNLIMITED
    from vmail_core.robot import load_robot

    robot = load_robot(arguments.robot)
    checks: list[tuple[str, Check]] = [
        ("python", machine.check_python),
        ("python's speed", machine.check_build),
        ("rendering", machine.check_rendering),
        ("ros", ros.check_ros),
        ("realtime priority", machine.check_priority),
        ("clock", machine.check_clock),
        ("space", machine.check_space),
        ("serial ports", devices.check_ports),
        ("cameras", devices.check_cameras),
        ("latencies", functools.partial(devices.check_latencies, robot)),
    ]
    if arguments.port:
        checks.append(("servos", functools.partial(devices.check_servos, arguments.port, robot)))
    if arguments.camera:
        checks.append(("camera", functools.partial(devices.check_camera, arguments.camera)))
        checks.append(("camera calibration", functools.partial(devices.check_calibration, arguments.camera)))
    console, worst = Console(soft_wrap=True, highlight=False), Level.OK
    # What goes to a file or another program is one line a finding, however long.
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else UNLIMITED
    for what, check in checks:
        for found in run(what, check):
            worst = max(worst, found.level)
            for line in finding_lines(found, width):
                console.print(line)
    return 1 if worst == Level.FAILURE else 0
