"""The whole graph for an hour, while everything breaks at random and an operator mends it.

    python benchmarks/soak.py [--minutes 60] [--seed 0] [--out results/soak.md]

Twin, camera, driver, expert, policy and recorder are the real nodes. Faults come from the seed (soak_faults), are
caused and timed by one node of this process (soak_watch), and mended by another (soak_operator), which also records
takes. Ctrl-C ends it well, with a report of what was until then. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from processes import Usage, usage
from soak_faults import events
from soak_operator import Operator
from soak_report import Soak, targets, write
from soak_watch import Watch

from vmail.demo.conductor import DRIVER_READY, READY_TIMEOUT_S
from vmail.demo.ros_trials import require_alone
from vmail.demo.running_graph import GraphFailed, RunningGraph, running_nodes
from vmail.demo.settings import PRETRAINED
from vmail.graph import GraphNode, load_graph
from vmail.signals import SignalNote
from vmail_core.provenance import git_commit, machine
from vmail_core.robot import load_robot
from vmail_nodes.diagnostics import reason_of

TASK = "dclaw_valve3_ccw"
SAMPLE_S, TOLD_EVERY = 5.0, 3
WARM_UP_S, WARM_UP_SHARE = 120.0, 0.2  # whichever is shorter
NODES = ("twin", "camera", "dynamixel_driver", "teleop", "policy_runner", "demo_recorder")


class Over(Exception):
    """Time is up, somebody pressed Ctrl-C, or a node ended."""


def graph_nodes(takes: Path, seed: int, run_dir: Path) -> list[GraphNode]:
    """Those of teleoperation with a recorder, and the policy runner beside the expert."""
    arguments = {"sim": "true", "task": TASK, "seed": str(seed)}
    nodes = load_graph("dclaw_teleop_demo", {**arguments, "record": str(takes)}, run_dir)
    nodes += load_graph("policy_runner", {**arguments, "bundle": str(PRETRAINED)}, run_dir)
    by_name = {node.name: node for node in nodes}
    return [by_name[name] for name in NODES]


class Meter:
    """Looks at the nodes' memory, descriptors and threads, and prints how the soak goes."""

    def __init__(self, graph: RunningGraph, operator: Operator, watch: Watch, seconds: float) -> None:
        """Of a soak that is to last so many seconds."""
        self.samples: list[tuple[float, dict[str, Usage]]] = []
        self._pids, self._operator, self._watch, self._seconds = graph.graph.processes(), operator, watch, seconds

    def run(self, over: SignalNote) -> None:
        """Until it is over."""
        began, looks = time.monotonic(), 0
        warm = min(WARM_UP_S, WARM_UP_SHARE * self._seconds)
        while not over.wait(SAMPLE_S):
            elapsed, looks = time.monotonic() - began, looks + 1
            try:
                found = {name: usage(pid) for name, pid in self._pids.items()}
            except OSError:
                return  # a node ended, which others notice too
            if elapsed >= warm:
                self.samples.append((elapsed, found))
            if looks % TOLD_EVERY == 0:
                self._tell(elapsed, found)

    def _tell(self, elapsed: float, found: dict[str, Usage]) -> None:
        watch, takes = self._watch, self._operator.takes
        lost = sum(outcome.recovered_after is None for outcome in watch.outcomes)
        ticks = f"{watch.ticks[-1]} ticks/s" if watch.ticks else "no ticks yet"
        print(
            f"{_clock(elapsed)} of {_clock(self._seconds)}  {len(watch.outcomes)} faults, {lost} for good"
            f"  takes: {', '.join(f'{number} {fate}' for fate, number in sorted(takes.items())) or 'none'}"
            f"  {watch.unsafe} unsafe commands  {ticks}  {sum(one.mib for one in found.values()):.0f} MiB"
            f"  {watch.doing}",
            flush=True,
        )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def soak(minutes: float, seed: int, folder: Path, log: Path) -> Soak:
    """Run it; what is in `folder` may be deleted afterwards."""
    commit = git_commit()  # of what runs; another may be there when it ends
    robot, over, crashes, errors = load_robot("dclaw"), SignalNote(), list[str](), list[str]()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    require_alone(robot)
    takes, began, ended, deadline = folder / "takes", 0.0, 0.0, float("inf")

    def work(run: Callable[[], None]) -> None:
        try:
            run()
        except Over:
            pass
        except Exception:
            errors.append(traceback.format_exc())
        finally:
            over.set()

    operator = watch = meter = None
    try:
        with running_nodes(lambda run_dir: graph_nodes(takes, seed, run_dir), log) as graph:

            def check() -> None:
                if over.is_set() or time.monotonic() > deadline or graph.graph.ended() is not None:
                    raise Over

            operator = Operator(takes, robot, seed, check)
            watch = Watch(events(seed, robot), operator.commanded, check)
            meter = Meter(graph, operator, watch, 60.0 * minutes)
            with operator, watch:
                work_until_ready(operator, check)
                began = time.monotonic()
                deadline = began + 60.0 * minutes
                threads = [threading.Thread(target=work, args=(watch.run,), name="watch")]
                threads.append(threading.Thread(target=meter.run, args=(over,), name="meter"))
                for thread in threads:
                    thread.start()
                work(operator.run)
                for thread in threads:
                    thread.join()
                ended = time.monotonic()
    except GraphFailed as error:
        crashes.append("; ".join(str(error).splitlines()))
    if errors:
        raise RuntimeError("the soak itself failed:\n" + "\n".join(errors))
    assert operator is not None and watch is not None and meter is not None
    operator.read_all()
    return Soak(
        command=f"python benchmarks/soak.py --minutes {minutes:g} --seed {seed}",
        commit=commit,
        machine=machine(),
        wanted=minutes,
        minutes=(ended - began) / 60.0,
        outcomes=watch.outcomes,
        unsafe=watch.unsafe,
        unsafe_texts=watch.unsafe_texts,
        crashes=crashes,
        takes=dict(operator.takes),
        take_trouble=operator.trouble,
        samples=meter.samples,
        ticks=watch.ticks,
        reasons=dict(watch.reasons),
        stray=dict(watch.stray),
        silence=dict(watch.silence),
        calls=dict(operator.calls),
    )


def work_until_ready(operator: Operator, check: Callable[[], None]) -> None:
    """Wait until every node runs. Raises TimeoutError with the names of those that do not."""

    def missing() -> list[str]:
        driver = operator.status.get("dynamixel_driver")
        ready = driver is not None and reason_of(driver) in DRIVER_READY
        return [name for name in NODES if name not in operator.status or (name == "dynamixel_driver" and not ready)]

    operator.wait(lambda: not missing(), READY_TIMEOUT_S, lambda: f"still missing: {', '.join(missing())}")
    check()


def main() -> int:
    """Run, report, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("results/soak.md"), help="the report; numbers beside it as JSON"
    )
    log = Path(tempfile.gettempdir()) / "vmail-soak.log"
    parser.add_argument("--log", type=Path, default=log, help=f"takes what the nodes print [{log}]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vmail-soak-") as folder:
        try:
            result = soak(arguments.minutes, arguments.seed, Path(folder), arguments.log)
        except Over:
            print("it was over before the nodes were ready: nothing to report", file=sys.stderr)
            return 1
        except (RuntimeError, TimeoutError) as error:
            print(f"{error}; see {arguments.log}", file=sys.stderr)
            return 1
    write(result, arguments.out)
    judged = targets(result)
    for text, met in judged:
        print(f"target: {text}: {'met' if met else 'MISSED'}")
    print(f"report in {arguments.out}, what the nodes said in {arguments.log}")
    return 0 if all(met for _, met in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
