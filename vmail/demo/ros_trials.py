"""Episodes through ROS from given starts: the graph is started once, each start is repeated until it is whole."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vmail.demo.conductor import Conductor, TrialBroken
from vmail.demo.running_graph import running
from vmail.demo.trial import Trial, read_trials, write_trials
from vmail.up import node_environment
from vmail_core.robot import RobotSpec

ATTEMPTS = 3
DISCOVERY_S = 2.0  # a tenth of it on an idle machine, more than 1 s on one that has much else to do
LOOK_PERIOD_S = 0.1


@dataclasses.dataclass(frozen=True)
class Series:
    """What to run.

    Attributes:
        graph, commander: "policy_runner" and itself, or "dclaw_teleop_demo" and "teleop".
        arguments: of the graph, as text, besides `sim` and `max_steps`.
        seeds: of the starts.
        steps: commands an episode.
        source: what the result depends on besides the seeds; other results are not taken over.
    """

    graph: str
    commander: str
    arguments: dict[str, str]
    seeds: Sequence[int]
    steps: int
    source: dict[str, Any]


def policy_series(bundle: Path, digest: str, task: str, seeds: Sequence[int], steps: int) -> Series:
    """Episodes of a bundle's policy."""
    arguments = {"bundle": str(bundle.absolute()), "task": task}
    source = {"commander": "policy_runner", "bundle": digest, "task": task, "steps": steps}
    return Series("policy_runner", "policy_runner", arguments, seeds, steps, source)


def expert_series(task: str, seeds: Sequence[int], steps: int) -> Series:
    """Episodes of the task's expert as teleoperator; nothing is recorded."""
    arguments = {"task": task, "teleop": "expert", "record": "none"}
    source = {"commander": "teleop", "expert": task, "task": task, "steps": steps}
    return Series("dclaw_teleop_demo", "teleop", arguments, seeds, steps, source)


def run_series(
    series: Series, robot: RobotSpec, out: Path, log: Path, report: Callable[[Trial | None], None]
) -> list[Trial]:
    """Run what is not yet in `out`, which grows by each episode; returns the trials in the order of the seeds.

    Args:
        series: what to run.
        robot: the robot of the graph.
        out: JSON file of the trials.
        log: takes the output of the nodes.
        report: called with None when the graph is ready, then with every trial, also those from before.

    Raises:
        GraphFailed: a node ended by itself.
        TimeoutError: the graph did not come up.
        TrialBroken: a start failed as often as it may.
    """
    done = {trial.seed: trial for trial in read_trials(out, series.source)}
    for seed in series.seeds:
        if seed in done:
            report(done[seed])
    due = [seed for seed in series.seeds if seed not in done]
    if not due:
        return [done[seed] for seed in series.seeds]
    arguments = {**series.arguments, "sim": "true", "max_steps": str(series.steps)}
    require_alone(robot)
    with (
        running(series.graph, arguments, log) as graph,
        Conductor(robot, series.commander, graph.require_alive) as conductor,
    ):
        conductor.wait_ready()
        report(None)
        for seed in due:
            done[seed] = _repeat(conductor, seed, series.steps)
            write_trials(out, [done[s] for s in series.seeds if s in done], series.source)
            report(done[seed])
    return [done[seed] for seed in series.seeds]


def _repeat(conductor: Conductor, seed: int, steps: int) -> Trial:
    broken: list[str] = []
    while True:
        try:
            trial = conductor.run_trial(seed, steps)
            return dataclasses.replace(trial, repeated=tuple(broken))
        except TrialBroken as error:
            broken.append(str(error))
            if len(broken) == ATTEMPTS:
                raise TrialBroken(f"the start of seed {seed} failed {ATTEMPTS} times; last: {error}") from error
            conductor.trigger(f"{conductor.commander}/stop")


def require_alone(robot: RobotSpec) -> None:
    """Raise RuntimeError when another robot already talks in this ROS domain: two would hear each other."""
    os.environ.update(node_environment())
    with Conductor(robot, "teleop", lambda: None) as conductor:
        node, deadline = conductor.node, time.monotonic() + DISCOVERY_S
        while time.monotonic() < deadline:
            conductor.spin(LOOK_PERIOD_S)
            if node.count_publishers("joint_states") or node.count_publishers("twin/state"):
                domain = os.environ.get("ROS_DOMAIN_ID", "0")
                raise RuntimeError(
                    f"another robot or twin is running in ROS domain {domain}; stop it, or choose another domain:"
                    f" ROS_DOMAIN_ID={(int(domain) + 1) % 100} vmail demo"
                )
