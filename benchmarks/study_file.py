"""The JSON file of a study that takes hours: several processes may add to it, and it may be stopped at any time."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmail_core.durable import replace_file


class StudyFile:
    """A study's runs. Read anew before every change: another process may have added to it."""

    def __init__(self, path: Path, empty: dict[str, Any], render: Callable[[Path, dict[str, Any]], None]) -> None:
        """`empty` is what a study holds beside "runs" before it begins.

        `render` gets the path and the study after every change, and writes what people read, beside the file.
        """
        self.path, self._empty, self._render = path, empty, render

    def read(self) -> dict[str, Any]:
        """All results so far."""
        if not self.path.is_file():
            return {**self._empty, "runs": []}
        return json.loads(self.path.read_text())

    def require(self, facts: dict[str, Any]) -> None:
        """Raise ValueError unless the study, if there is one, was made with these facts: others do not compare."""
        study = self.read()
        for name, value in facts.items():
            if study.get(name) != value:
                raise ValueError(f"{self.path} was made with {name}={study.get(name)}, not {value}: move it away first")

    def find(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """A run with these values, if there is one."""
        return next((run for run in self.read()["runs"] if all(run.get(k) == v for k, v in key.items())), None)

    def add(self, run: dict[str, Any]) -> None:
        """Add a run and write all files, one process at a time."""
        self.change(lambda study: study["runs"].append(run))

    def change(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edit the study and write all files, one process at a time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            study = self.read()
            edit(study)
            replace_file(self.path, json.dumps(study, indent=1) + "\n")
            self._render(self.path, study)
