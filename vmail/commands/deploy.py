"""`vmail export`, `vmail up` and `vmail fake-bus`: from a trained run to a moving hand."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def register(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    exporting = commands.add_parser("export", help="write a trained run as a bundle of ONNX graphs")
    exporting.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a training run")
    exporting.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    exporting.add_argument(
        "--episodes", type=Path, metavar="DIR", help="episodes that the bundle is checked on [the run's own practice]"
    )
    exporting.add_argument("--robot", default="dclaw", help="robot that the policy acts on: name or YAML file [dclaw]")
    exporting.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")
    exporting.set_defaults(run=export)
    starting = commands.add_parser(
        "up", help="start a graph of ROS nodes, on the hand or its twin; alone, it lists graphs and their arguments"
    )
    starting.add_argument("graph", nargs="?", metavar="GRAPH", help="policy_runner or dclaw_teleop_demo")
    starting.add_argument("assignments", nargs="*", metavar="name:=value", help="for example sim:=true")
    starting.set_defaults(run=up)
    replaying = commands.add_parser(
        "replay", help="do a recorded take again, on the hand or its twin, under the guard; `vmail call teleop/start`"
    )
    replaying.add_argument("take", type=Path, metavar="TAKE", help="folder of the take")
    replaying.add_argument("assignments", nargs="*", metavar="name:=value", help="as for `vmail up`, like sim:=true")
    replaying.set_defaults(run=replay)
    faking = commands.add_parser("fake-bus", help="emulate the robot's servo bus on a pseudo-terminal")
    faking.add_argument("--path", type=Path, required=True, help="where the port appears, for example ./servo_bus")
    faking.add_argument("--robot", default="dclaw", help="whose servos: name or YAML file [dclaw]")
    faking.add_argument("--task", help="simulate this task's scene with MuJoCo [joints that follow by themselves]")
    faking.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE@AFTER+FOR",
        help="break something, for example silent=32@10+2 or unplug@5; an unknown one names them all",
    )
    faking.add_argument(
        "--check",
        action="store_true",
        help="judge all that is written by the robot's limits: prints violations, exit code 1 if there were any",
    )
    faking.set_defaults(run=fake_bus)


def export(arguments: argparse.Namespace) -> int:
    """Export and show what the certificate measured."""
    from vmail_core.deploy.export import export_bundle
    from vmail_core.robot import load_robot

    bundle = export_bundle(
        arguments.run_folder,
        arguments.out,
        arguments.episodes,
        robot=load_robot(arguments.robot),
        overwrite=arguments.overwrite,
    )
    worst = bundle.certificate["differences"]["action"]["worst"]
    print(f"{bundle.path}: bundle {bundle.digest[:12]} for robot {bundle.robot.name}")
    print(f"it follows the trained network over {bundle.certificate['steps']} steps; worst action off by {worst:.1e}")
    return 0


def up(arguments: argparse.Namespace) -> int:
    """Run a graph until Ctrl-C; the exit code is the graph's."""
    from vmail import up

    if arguments.graph is None:
        print(up.usage())
        return 0
    _need_ros()
    return up.up(arguments.graph, up.parse_assignments(arguments.assignments))


def _need_ros() -> None:
    if importlib.util.find_spec("rclpy") is None:
        raise ModuleNotFoundError("the nodes need rclpy", name="rclpy")


def replay(arguments: argparse.Namespace) -> int:
    """Start the graph of teleoperation with the take as its commander, recording nothing."""
    from vmail.takes import is_take
    from vmail.up import parse_assignments, up

    if not is_take(arguments.take):
        raise ValueError(f"{arguments.take} is not a take: give one of those that `vmail takes DIR` lists")
    _need_ros()
    given = {"record": "none", **parse_assignments(arguments.assignments)}
    if "teleop" in given or "take" in given:
        raise ValueError("`vmail replay` commands by its take: leave out teleop:= and take:=")
    return up("dclaw_teleop_demo", {**given, "teleop": "replay", "take": str(arguments.take.absolute())})


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], str] | None]:
    """Keys pressed since the last call; None where no terminal can be read."""
    from vmail.terminal_keys import single_keys

    with single_keys() as keys:
        yield None if keys is None else lambda: "".join(key for key in keys.typed() if len(key) == 1)


def fake_bus(arguments: argparse.Namespace) -> int:
    """Serve an emulated bus until Ctrl-C; 1 when --check found a violation."""
    from vmail_core.robot import load_robot
    from vmail_hardware.emulator import run_fake_bus

    robot = load_robot(arguments.robot)
    if arguments.task is None:
        with _keys() as keys:
            return int(run_fake_bus(arguments.path, robot, None, arguments.fault, arguments.check, keys) > 0)
    from vmail_sim.twin import ClawPlant

    plant = ClawPlant(robot, arguments.task)
    plant.start()
    try:
        return int(run_fake_bus(arguments.path, robot, plant, arguments.fault, arguments.check) > 0)
    finally:
        plant.stop()
