"""Faults at random: every kind that the twin can have, kicks and emergency stops, drawn from a seed."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator

from vmail_core.robot import RobotSpec
from vmail_nodes.twin_faults import CAMERA, TWIN_KINDS

PAIRED = 0.15  # of the faults come with a second one
GAP_S, LASTING_S = (0.5, 6.0), (0.3, 4.0)
KICK, ESTOP = "kick", "estop"


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that goes wrong.

    Attributes:
        kinds: one, or two at once.
        script: for the twin's parameter `faults`; empty for a kick and an emergency stop.
        seconds: how long it lasts.
        gap: seconds before it, counted from when all is well again.
    """

    kinds: tuple[str, ...]
    script: str
    seconds: float
    gap: float


def _values(draw: random.Random, ids: tuple[int, ...]) -> dict[str, Callable[[], str]]:
    """How the value of each kind is drawn; one entry a kind of the twin's, and one for each way a camera fails."""

    def some() -> str:
        return ",".join(map(str, sorted(draw.sample(ids, draw.choice((1, 1, 1, 2, 3))))))

    def one() -> str:
        return str(draw.choice(ids))

    def number(least: float, most: float) -> str:
        return f"{draw.uniform(least, most):.3f}"

    return {
        "silent": some,
        "corrupt": some,
        "stuck": one,
        "overload": one,
        "overheat": one,
        "heat": lambda: f"{one()}:{draw.randint(65, 90)}",
        "voltage": lambda: f"{one()}:{number(8.5, 9.9)}",
        "lose": lambda: draw.choice((number(0.01, 0.2), number(0.2, 1.0))),
        "delay": lambda: draw.choice(("0.003", "0.02", "0.1", "0.3")),
        "spikes": lambda: number(0.005, 0.1),
        "unplug": lambda: "",
        **{f"camera={way}": functools.partial(str, way) for way in CAMERA},
        "camera_lose": lambda: number(0.1, 0.9),
        "clock": lambda: f"{draw.choice((-1, 1)) * draw.uniform(0.1, 3.0):.3f}",
    }


def kinds() -> tuple[str, ...]:
    """All that can happen."""
    known = tuple(_values(random.Random(0), (0, 1, 2)))
    missing = set(TWIN_KINDS) - {kind.partition("=")[0] for kind in known}
    if missing:
        raise ValueError(f"soak_faults.py draws no {', '.join(sorted(missing))}: add how to the function _values")
    return (*known, KICK, ESTOP)


def events(seed: int, robot: RobotSpec) -> Iterator[Event]:
    """Without end. All kinds come once, in random order, before any comes again."""
    draw = random.Random(seed)
    values = _values(draw, robot.servo_ids)
    deck: list[str] = []
    while True:
        deck = deck or draw.sample(kinds(), len(kinds()))
        kind = deck.pop()
        seconds, gap = draw.uniform(*LASTING_S), draw.uniform(*GAP_S)
        if kind in (KICK, ESTOP):
            yield Event((kind,), "", 0.5, gap)
            continue
        scripts = {kind: _script(kind, values, seconds)}
        if draw.random() < PAIRED:
            second = draw.choice(list(values))
            scripts.setdefault(second, _script(second, values, draw.uniform(0.2, seconds)))
        yield Event(tuple(scripts), " ".join(scripts.values()), seconds, gap)


def _script(kind: str, values: dict[str, Callable[[], str]], seconds: float) -> str:
    name, value = kind.partition("=")[0], values[kind]()
    return f"{name}={value}+{seconds:.2f}" if value else f"{name}+{seconds:.2f}"
