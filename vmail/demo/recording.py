"""Records demonstrations through the ROS graph `dclaw_teleop_demo`: twin, camera, driver, expert and recorder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from vmail.demo.conductor import Conductor, TrialBroken
from vmail.demo.ros_trials import ATTEMPTS, require_alone
from vmail.demo.running_graph import running
from vmail_core.episodes.bag_import import BagError, import_bags
from vmail_core.robot import RobotSpec

CLOSE_TIMEOUT_S = 10.0
RECORDER = "demo_recorder"


def list_takes(folder: Path) -> list[Path]:
    """The folder's takes in order of their numbers."""
    return sorted(path for path in folder.glob("take_*") if path.is_dir())


def record_takes(
    folder: Path,
    task: str,
    robot: RobotSpec,
    count: int,
    steps: int,
    first_seed: int,
    log: Path,
    report: Callable[[Path | None, float], None],
) -> list[Path]:
    """Record takes until there are `count` in the folder; take i begins in the start of `first_seed + i`.

    A take that is not whole is discarded and done again. What is there already is kept.

    Args:
        folder: where the takes go.
        task: the twin's scene and the expert.
        robot: the robot of the graph.
        count, steps: how many takes, and how many commands each holds.
        first_seed: of the first take's start.
        log: takes the output of the nodes.
        report: called with None when the graph is ready, then with each take and the radians it turned.

    Raises:
        ValueError: a take that was there is not whole; the message names it.
        TrialBroken: a start failed as often as it may.
    """
    takes = list_takes(folder)
    for take in takes:
        try:
            report(take, check_take(take, robot, steps))
        except (BagError, TrialBroken) as error:
            raise ValueError(f"{take} is not a whole take ({error}); remove it and start again") from error
    if len(takes) >= count:
        return takes[:count]
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {"sim": "true", "task": task, "teleop": "expert", "max_steps": str(steps)}
    require_alone(robot)
    with (
        running("dclaw_teleop_demo", {**arguments, "record": str(folder.absolute())}, log) as graph,
        Conductor(robot, "teleop", graph.require_alive) as conductor,
    ):
        conductor.wait_ready()
        report(None, 0.0)
        for index in range(len(takes), count):
            report(*_record_whole(conductor, robot, first_seed + index, steps))
    return list_takes(folder)[:count]


def _record_whole(conductor: Conductor, robot: RobotSpec, seed: int, steps: int) -> tuple[Path, float]:
    attempts = 0
    while True:
        try:
            take = _record(conductor, seed, steps)
            return take, check_take(take, robot, steps)
        except (BagError, TrialBroken) as error:
            attempts += 1
            _discard(conductor)
            if attempts == ATTEMPTS:
                raise TrialBroken(f"the take of seed {seed} failed {ATTEMPTS} times; last: {error}") from error
        except BaseException:
            _discard(conductor)  # a take cut off by Ctrl-C must not pass for a whole one
            raise


def _record(conductor: Conductor, seed: int, steps: int) -> Path:
    """One take. The recorder ends it by itself, with the frame that its last command led to."""
    conductor.place(seed)
    take = Path(conductor.trigger(f"{RECORDER}/start"))
    conductor.start_commander()
    conductor.wait_finished(steps)
    closed = take / "metadata.yaml"
    try:
        conductor.wait(closed.is_file, CLOSE_TIMEOUT_S, lambda: f"{take} was not finished")
    except TimeoutError as error:  # it still waits for a command that was lost
        raise TrialBroken(str(error)) from error
    return take


def _discard(conductor: Conductor) -> None:
    with contextlib.suppress(TrialBroken):  # there may be nothing to discard
        conductor.trigger("teleop/stop")
        conductor.trigger(f"{RECORDER}/discard")


def check_take(take: Path, robot: RobotSpec, steps: int) -> float:
    """Radians that the valve turned in a take.

    Raises:
        BagError: the bag cannot be imported.
        TrialBroken: it has gaps, or another number of rows than `steps` commands give.
    """
    with tempfile.TemporaryDirectory(prefix="vmail-") as folder:
        report = import_bags([take], folder, robot).sources[0]
    if report.gaps or report.rejected or report.rows != steps + 1:
        raise TrialBroken(
            f"{take} has {report.rows} rows and {len(report.gaps)} gaps; {steps + 1} rows are a whole take"
        )
    return report.radians_turned[0] if report.radians_turned else 0.0
