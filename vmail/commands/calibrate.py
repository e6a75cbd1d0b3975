"""`vmail calibrate`: tell the software where a hand's joints are, by moving them by hand."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmail.terminal_keys import enter_pressed, single_keys
from vmail_nodes.take_keys import Keys, terminal_is_ours

if TYPE_CHECKING:
    import numpy as np

    from vmail_core.robot import RobotSpec
    from vmail_hardware.bus import DynamixelBus
    from vmail_hardware.calibration import Sweep

HOME_READS, HOME_S = 25, 0.5
REFRESH_S = 0.1
SWEEP_TEXT = "1 of 2: move every joint by hand from one end to the other, then press Enter"
DOUBT_TEXT = "Was the hand in its {0} pose? If not, put it there, hold it still and press Enter again"
HOME_TEXT = "2 of 2: put the hand into its {} pose and hold it still, then press Enter"


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    calibrating = commands.add_parser("calibrate", help="find the zeros and travel of a hand's joints; torque is off")
    calibrating.add_argument("--port", required=True, metavar="DEVICE", help="serial port of the servos")
    calibrating.add_argument("--robot", default="dclaw", metavar="NAME", help="robot, or path to its YAML file [dclaw]")
    calibrating.add_argument(
        "--home", default="zero", choices=("zero", "rest"), help="pose that is shown last: all joints 0, or at rest"
    )
    calibrating.add_argument("--out", type=Path, metavar="FILE", help="where it is kept [this user's, by robot]")
    calibrating.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Sweep, home, save."""
    import numpy as np

    from vmail_core.robot import load_robot
    from vmail_hardware.bus import DynamixelBus
    from vmail_hardware.bus_checks import is_pseudo_terminal
    from vmail_hardware.calibration import CalibrationError, Sweep, calibrate, default_path

    if not terminal_is_ours():
        raise OSError("calibration asks for keys: start it in a terminal, and not in its background")
    spec = load_robot(arguments.robot)
    home = spec.rest if arguments.home == "rest" else np.zeros(spec.action_size)
    sweep = Sweep(spec)
    with DynamixelBus(arguments.port, spec) as bus, single_keys() as keys:
        bus.set_torque(False)
        assert keys is not None  # the terminal is ours
        _watch(bus, spec, sweep, keys, SWEEP_TEXT)
        while unmoved := sweep.unmoved():
            print(f"not moved far enough yet: {', '.join(unmoved)}; move them from end to end, then press Enter")
            _watch(bus, spec, sweep, keys, SWEEP_TEXT)
        while True:
            _watch(bus, spec, sweep, keys, HOME_TEXT.format(arguments.home))
            try:
                made = calibrate(spec, sweep, _home_reads(bus, spec, sweep), home, bus.servos)
            except CalibrationError as error:  # what was swept so far counts: move on, and press Enter again
                print(error)
                continue
            try:
                made.apply(spec)  # as the driver will
                break
            except CalibrationError as error:
                print(f"{error}. {DOUBT_TEXT.format(arguments.home)}")
    if arguments.out:
        path = made.save(arguments.out)
        print(f"{path}: give it to the driver, calibration:={shlex.quote(str(path))}")
    elif is_pseudo_terminal(arguments.port):
        print("not kept: these servos are emulated, and a real hand would be taken for them. --out FILE keeps it")
    else:
        path = made.save(default_path(spec))
        print(f"{path}: the driver takes it from now on for robot {spec.name}")
    return 0


def _servo_angles(bus: DynamixelBus, spec: RobotSpec) -> np.ndarray:
    """What the servos themselves read: (N,) rad."""
    return spec.zero_rad + spec.direction * bus.read().position


def _home_reads(bus: DynamixelBus, spec: RobotSpec, sweep: Sweep) -> list[np.ndarray]:
    """Servo angles, several in a row; an answer that gets lost is asked for again."""
    from vmail_hardware.bus_errors import BusReadError

    reads: list[np.ndarray] = []
    while len(reads) < HOME_READS:
        try:
            reads.append(_servo_angles(bus, spec))
            sweep.add(reads[-1])
        except BusReadError:
            time.sleep(0.1)
        time.sleep(HOME_S / HOME_READS)
    return reads


def _watch(bus: DynamixelBus, spec: RobotSpec, sweep: Sweep, keys: Keys, text: str) -> None:
    """Show the joints, and follow them, until Enter."""
    from rich.live import Live

    from vmail_hardware.bus_errors import BusReadError

    keys.forget()
    shown, trouble = 0.0, ""
    with Live(auto_refresh=False) as live:
        while True:
            try:
                sweep.add(_servo_angles(bus, spec))
                trouble = ""
            except BusReadError as error:  # an answer that got lost; whoever turns joints sees it
                trouble = str(error)
            if time.monotonic() - shown > REFRESH_S:
                shown = time.monotonic()
                live.update(_table(spec, sweep, text, trouble), refresh=True)
            if enter_pressed(keys, 0.005):
                return


def _table(spec: RobotSpec, sweep: Sweep, text: str, trouble: str) -> Any:
    import numpy as np
    from rich.table import Table

    table = Table(title=text, caption=trouble or "Ctrl-C ends without saving anything")
    for name in ("joint", "servo", "now", "lowest", "highest", "travel"):
        table.add_column(name, justify="left" if name == "joint" else "right")
    unmoved = set(sweep.unmoved())
    for index, name in enumerate(spec.joint_names):
        angles = np.rad2deg([sweep.angle[index], sweep.lowest[index], sweep.highest[index], sweep.travel[index]])
        style = "yellow" if name in unmoved else "green"
        table.add_row(name, str(spec.servo_ids[index]), *(f"{angle:.0f}°" for angle in angles), style=style)
    return table
