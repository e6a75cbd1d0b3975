"""What a check found, and how it is told."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator


class Level(enum.IntEnum):
    """How grave a finding is."""

    OK = 0
    NOTE = 1  # something is not there that only some need
    WARNING = 2  # it works, but not well
    FAILURE = 3  # it does not work


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: how grave.
        what: what was looked at, in a word or two.
        detail: what was found.
        mend: the command or the step that mends it; empty where all is well.
    """

    level: Level
    what: str
    detail: str
    mend: str = ""


Check = Callable[[], Iterable[Finding]]


def run(what: str, check: Check) -> Iterator[Finding]:
    """The check's findings; a check that fails itself is one."""
    try:
        yield from check()
    except Exception as error:
        yield Finding(Level.FAILURE, what, f"the check itself failed: {type(error).__name__}: {error}")


WORDS = {Level.OK: "ok", Level.NOTE: "note", Level.WARNING: "WARNING", Level.FAILURE: "FAILURE"}
COLOURS = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.FAILURE: "red"}
