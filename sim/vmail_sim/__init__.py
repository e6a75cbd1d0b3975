"""Simulated worlds: tasks behind one registry, rendering, experts and the twin.

>>> import vmail_sim
>>> env = vmail_sim.load("dclaw_valve3_cw", seed=0)
"""

from vmail_sim.rendering import prefer_headless_gl

prefer_headless_gl()

from vmail_sim.registry import TASKS, load, task_names

__all__ = ["TASKS", "load", "task_names"]
