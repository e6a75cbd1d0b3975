"""Tasks by name. A task registers the function that builds its environment."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

# Name of a task to "module:function". Modules load on demand: a claw needs no car.
TASKS: dict[str, str] = {
    f"dclaw_valve{prongs}_{direction}": "vmail_sim.dclaw.tasks:valve_turning"
    for prongs in (3, 4)
    for direction in ("ccw", "cw")
} | {"dclaw_screw3": "vmail_sim.dclaw.tasks:screw", "dclaw_screw4": "vmail_sim.dclaw.tasks:screw"}


def task_names() -> list[str]:
    """Every name that `load` accepts, sorted."""
    return sorted(TASKS)


def load(name: str, **options: Any) -> Any:
    """Build the environment of a task.

    Args:
        name: one of `task_names()`.
        options: keyword arguments of the task's builder (seed, image_size, starts, kick, ...).

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; known tasks: {', '.join(task_names())}")
    module, function = TASKS[name].split(":")
    builder: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return builder(name, **options)
