"""Tasks by name. A task registers the function that builds its environment."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from vmail_sim.world import World

# Name of a task to "module:function". Modules load on demand: a claw needs no car.
TASKS: dict[str, str] = {
    "baoding": "vmail_sim.baoding.tasks:baoding",
    "car_racing": "vmail_sim.car_racing.tasks:car_racing",
    "cheetah_run": "vmail_sim.dmc.tasks:suite_task",
    "dclaw_pose": "vmail_sim.dclaw.robel:pose",
    "dclaw_screw3": "vmail_sim.dclaw.robel:turn",
    "dclaw_screw4": "vmail_sim.dclaw.robel:turn",
    "dclaw_turn3": "vmail_sim.dclaw.robel:turn",
    "dclaw_turn4": "vmail_sim.dclaw.robel:turn",
    "dclaw_valve3_ccw": "vmail_sim.dclaw.tasks:valve_turning",
    "dclaw_valve3_cw": "vmail_sim.dclaw.tasks:valve_turning",
    "dclaw_valve4_ccw": "vmail_sim.dclaw.tasks:valve_turning",
    "dclaw_valve4_cw": "vmail_sim.dclaw.tasks:valve_turning",
    "walker_pace": "vmail_sim.dmc.tasks:suite_task",
    "walker_run": "vmail_sim.dmc.tasks:suite_task",
    "walker_stand": "vmail_sim.dmc.tasks:suite_task",
    "walker_walk": "vmail_sim.dmc.tasks:suite_task",
}


def task_names() -> list[str]:
    """Every name that `load` accepts, sorted."""
    return sorted(TASKS)


def load(name: str, **options: Any) -> World:
    """Build the environment of a task.

    Args:
        name: one of `task_names()`.
        options: keyword arguments of the task (seed, pixels; starts, goal, kick, dynamics, look and lateness of a claw;
            look of a suite task; indicators of the car).

    Raises:
        ValueError: unknown name or option; the message lists the known ones.
    """
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; known tasks: {', '.join(task_names())}")
    module, function = TASKS[name].split(":")
    builder: Callable[..., World] = getattr(importlib.import_module(module), function)
    known = list(inspect.signature(builder).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"task {name} has no option {unknown[0]!r}; its options: {', '.join(known)}")
    return builder(name, **options)
