"""Steps that can be interrupted and run again: each is done once, and says what it does and how long it takes."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from vmail_core.durable import replace_file


class StepFailed(RuntimeError):
    """A step could not be done; the message names it, the reason and the next action."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: one word, for messages and files.
        title: what it does, for people.
        takes: how long, for people.
        inputs: called when the step is due: data that the result depends on; a change makes it run again.
        outputs: files or folders that must exist for it to count as done.
        run: does it.
    """

    name: str
    title: str
    takes: str
    inputs: Callable[[], dict[str, Any]]
    outputs: Sequence[Path]
    run: Callable[[], None]


def progress_bar(console: Console) -> Progress:
    """A bar that vanishes when it is done, in a terminal; nothing elsewhere."""
    return Progress(console=console, transient=True, disable=not console.is_terminal)


class StepBook:
    """Notes in a folder which steps are done, with which inputs, and how long they took."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when the first step is done."""
        self._folder = folder

    def _path(self, step: Step) -> Path:
        return self._folder / f"{step.name}.json"

    def is_done(self, step: Step) -> bool:
        """Whether the step was done with the inputs that it has now, and its outputs are still there."""
        path = self._path(step)
        if not path.is_file() or not all(output.exists() for output in step.outputs):
            return False
        return json.loads(path.read_text())["inputs"] == step.inputs()

    def note(self, step: Step, seconds: float) -> None:
        """The step is done."""
        done = {"inputs": step.inputs(), "seconds": round(seconds, 1)}
        replace_file(self._path(step), json.dumps(done, indent=1) + "\n")

    def forget(self, step: Step) -> None:
        """The step must be done again."""
        self._path(step).unlink(missing_ok=True)

    def seconds(self) -> dict[str, float]:
        """How long each step took, by name, in the order in which they were done."""
        notes = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        return {path.stem: json.loads(path.read_text())["seconds"] for path in notes}


def run_steps(
    steps: Sequence[Step], book: StepBook, console: Console, explain: Callable[[Exception], str | None]
) -> None:
    """Do every step that is not done; what follows a step that was done anew is done anew too.

    Raises:
        StepFailed: with what `explain` says of the error. An error that it cannot explain is raised as it is.
    """
    anew = False
    for number, step in enumerate(steps, 1):
        label = f"[bold]{number}/{len(steps)} {step.title}[/bold]"
        if not anew and book.is_done(step):
            console.print(f"{label}: done before", soft_wrap=True)
            continue
        console.print(f"{label} ({step.takes})", soft_wrap=True)
        for later in steps[number - 1 :]:
            book.forget(later)
        anew = True
        began = time.monotonic()
        try:
            step.run()
        except Exception as error:
            reason = explain(error)
            if reason is None:
                error.add_note(f"while doing the step {step.name!r}; what is done so far is kept")
                raise
            raise StepFailed(
                f"step {step.name}: {reason}\nwhat is done so far is kept: the same command goes on"
            ) from error
        book.note(step, time.monotonic() - began)
