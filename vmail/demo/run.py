"""Runs the demo's steps and tells a newcomer what happens."""

from __future__ import annotations

import json
import time

from rich.console import Console

from vmail.cli import explain
from vmail.demo.page_sections import summary
from vmail.demo.pipeline import Pipeline
from vmail.demo.settings import Settings
from vmail.demo.steps import StepBook, run_steps


def run_demo(settings: Settings, console: Console | None = None) -> bool:
    """Do all steps that are not done yet; returns False when it was interrupted.

    Raises:
        StepFailed: a step could not be done; the message names it and the next action.
        ValueError: there is no step named `until`.
    """
    console = console or Console(highlight=False)
    steps = Pipeline(settings, console).steps()
    settings.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    _greet(settings, console)
    try:
        run_steps(steps, StepBook(settings.out / "steps"), console, explain)
    except KeyboardInterrupt:
        console.print("interrupted; all nodes have ended and torque is off. The same command goes on from here")
        return False
    if settings.page in steps[-1].outputs:
        console.print(f"\n[bold]{summary(json.loads(settings.figures.read_text()))}[/bold]")
        console.print(f"page: {settings.page.resolve().as_uri()}", soft_wrap=True)
    console.print(f"done in {(time.monotonic() - began) / 60.0:.1f} min")
    return True


def _greet(settings: Settings, console: Console) -> None:
    if settings.pretrained:
        what = "A policy that ships with vmail drives a simulated D'Claw through ROS: under two minutes."
    else:
        what = "A D'Claw learns to turn a valve from recorded demonstrations: about 20 minutes on two cores."
    console.print(what, soft_wrap=True)
    console.print(f"The page will be {settings.page.resolve()}", soft_wrap=True)
    console.print("Ctrl-C stops at any time; the same command goes on from there.\n")
