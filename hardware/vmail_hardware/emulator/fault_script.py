"""Faults that come and go by the clock, written as people write them: `silent=32@10+2`.

A fault is NAME=VALUE@AFTER+FOR: what, of which servos or how much, so many seconds after the start, for so long.
VALUE is a list of servo ids (12 or 12,32), of ids with a number each (30:75), a number, or nothing. Without @AFTER it
is there from the start, without +FOR to the end. Several faults may overlap.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from vmail_hardware.emulator.faults import Faults

OVERLOAD, OVERHEATING = 0x20, 0x04  # bits of register 70


def _ids(text: str) -> set[int]:
    return {int(part) for part in text.split(",")}


def _of_ids(text: str) -> dict[int, float]:
    return {int(servo_id): float(number) for servo_id, number in (part.split(":") for part in text.split(","))}


def _bounded(least: float, most: float) -> Callable[[str], dict[int, float]]:
    def read(text: str) -> dict[int, float]:
        values = _of_ids(text)
        if not all(least <= value <= most for value in values.values()):
            raise ValueError(f"a value lies between {least:g} and {most:g}")
        return values

    return read


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.0 <= seconds <= 60.0:
        raise ValueError("a delay lies between 0 and 60 seconds")
    return seconds


def _error(bit: int) -> Callable[[str], dict[int, int]]:
    return lambda text: dict.fromkeys(_ids(text), bit)


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = float(text)
    if not 0.0 <= number <= 1.0:
        raise ValueError("a share lies between 0 and 1")
    return number


def finite(text: str) -> float:
    """A number that is one."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a finite number is needed")
    return number


class Kind(NamedTuple):
    """The field of the faults that a name stands for, how its value is read, and an example of it."""

    field: str
    read: Callable[[str], Any]
    example: str


KINDS: dict[str, Kind] = {
    "silent": Kind("silent_ids", _ids, "32"),
    "corrupt": Kind("corrupt_ids", _ids, "20,21"),
    "stuck": Kind("stuck_ids", _ids, "12"),
    "overload": Kind("hardware_errors", _error(OVERLOAD), "11"),
    "overheat": Kind("hardware_errors", _error(OVERHEATING), "11"),
    "heat": Kind("temperatures_c", _bounded(0.0, 255.0), "30:75"),
    "voltage": Kind("voltages_v", _bounded(0.0, 60.0), "30:9.1"),
    "lose": Kind("lose_share", share, "0.05"),
    "delay": Kind("reply_delay_s", _seconds, "0.01"),
    "spikes": Kind("reply_spikes_s", _seconds, "0.05"),
    "unplug": Kind("unplugged", lambda text: True, ""),
}
_FORM = re.compile(r"(?P<name>\w+)(=(?P<value>[^@+]*))?(@(?P<after>\d+(\.\d+)?))?(\+(?P<length>\d+(\.\d+)?))?")


@dataclasses.dataclass(frozen=True)
class ScriptedFault:
    """A field of `Faults` that has this value from `start` until `end` (seconds)."""

    text: str
    field: str
    value: Any
    start: float
    end: float


def parse_fault(text: str, kinds: Mapping[str, Kind] = KINDS) -> ScriptedFault:
    """One fault of these kinds.

    Raises:
        ValueError: it is none; the message lists those that there are.
    """
    form = _FORM.fullmatch(text)
    known = ", ".join(f"{name}={kind.example}" if kind.example else name for name, kind in kinds.items())
    if form is None or form["name"] not in kinds:
        raise ValueError(f"no fault {text!r}; write NAME=VALUE@AFTER+FOR (seconds), with one of: {known}")
    field, read, example = kinds[form["name"]]
    try:
        value = read(form["value"] or "")
    except ValueError as error:
        raise ValueError(f"fault {text!r}: {error}; for example {form['name']}={example}") from error
    start = float(form["after"] or 0.0)
    end = start + float(form["length"]) if form["length"] else float("inf")
    return ScriptedFault(text, field, value, start, end)


def _together(one: Any, other: Any) -> Any:
    """Two faults of one kind at once: both sets of servos, both error bits of a servo; of anything else the later."""
    if isinstance(one, set):
        return one | other
    if isinstance(one, dict):
        bits = {key: one[key] | other[key] for key in one.keys() & other.keys() if isinstance(one[key], int)}
        return one | other | bits
    return other


class FaultScript:
    """Faults that come and go."""

    def __init__(self, faults: Sequence[str], kinds: Mapping[str, Kind] = KINDS) -> None:
        """Read them. Raises ValueError, see `parse_fault`."""
        self._faults = [parse_fault(text, kinds) for text in faults]
        self._active: list[ScriptedFault] = []

    def require_servos(self, servo_ids: Collection[int]) -> None:
        """Raise ValueError when a fault is of a servo that is not among these: it would break nothing."""
        for fault in self._faults:
            named = fault.value if isinstance(fault.value, set | dict) else ()
            others = sorted(servo_id for servo_id in named if servo_id not in servo_ids)
            if others:
                known = ", ".join(map(str, servo_ids))
                raise ValueError(f"fault {fault.text!r}: no servo {', '.join(map(str, others))}; there are {known}")

    def apply(self, faults: Faults, elapsed_s: float) -> list[str]:
        """Set the fields that the script names to what holds `elapsed_s` after the start; returns what changed."""
        active = [fault for fault in self._faults if fault.start <= elapsed_s < fault.end]
        if active == self._active:
            return []
        sound = type(faults)()
        for field in {fault.field for fault in self._faults}:
            value = getattr(sound, field)
            for fault in active:
                if fault.field == field:
                    value = _together(value, fault.value)
            setattr(faults, field, value)
        begun = [f"{fault.text} begins" for fault in active if fault not in self._active]
        ended = [f"{fault.text} ends" for fault in self._active if fault not in active]
        self._active = active
        return begun + ended
