"""The parts of benchmarks/soak.py that need no hour: what breaks, what is measured, and what the report judges."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import Usage, cpu_seconds, usage
from soak_faults import ESTOP, KICK, Event, events, kinds
from soak_report import Soak, markdown, targets, write
from soak_watch import Outcome

from vmail_core.robot import load_robot
from vmail_hardware.emulator.fault_script import FaultScript
from vmail_nodes.twin_faults import TWIN_KINDS

ROBOT = load_robot("dclaw")


def test_every_kind_comes_as_often_and_every_script_can_be_read() -> None:
    assert {kind.partition("=")[0] for kind in kinds()} == {*TWIN_KINDS, KICK, ESTOP}
    drawn = list(itertools.islice(events(3, ROBOT), 5 * len(kinds())))
    first = [event.kinds[0] for event in drawn]
    assert {first.count(kind) for kind in kinds()} == {5}
    for event in drawn:
        FaultScript(event.script.split(), TWIN_KINDS)
        assert bool(event.script) != (event.kinds[0] in (KICK, ESTOP))
        assert 0.0 < event.seconds <= 4.0 and 0.0 < event.gap <= 6.0
    assert 0 < sum(len(event.kinds) == 2 for event in drawn) < len(drawn) / 2


def test_a_seed_says_all() -> None:
    one, same, other = (list(itertools.islice(events(seed, ROBOT), 40)) for seed in (1, 1, 2))
    assert one == same != other


def test_usage_is_that_of_the_process() -> None:
    """Of one that does nothing else meanwhile, as this one might."""
    script = "input(); block = bytearray(b'1') * 2**26; null = open('/dev/null'); print(); input()"
    command, pipe = [sys.executable, "-u", "-c", f"print(); {script}"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        process.stdout.readline()
        before, used = usage(process.pid), cpu_seconds(process.pid)
        process.stdin.write("\n")
        process.stdout.readline()
        after, used_after = usage(process.pid), cpu_seconds(process.pid)
        process.stdin.write("\n")
    assert 60.0 < after.mib - before.mib < 80.0
    assert after.descriptors == before.descriptors + 1 and after.threads == 1
    assert 0.0 <= used < used_after


def found(**changes: object) -> Soak:
    """A soak of half an hour in which all is well, but for some of it."""
    event = Event(("silent",), "silent=12+1.0", 1.0, 1.0)
    minutes = range(30)
    return Soak(
        **{
            "command": "python benchmarks/soak.py",
            "commit": "0123456789ab",
            "machine": "a machine",
            "wanted": 30.0,
            "minutes": 30.0,
            "outcomes": [Outcome(event, 1.0, True, ["bus_silent"], 0.1, 0.4)] * 30,
            "unsafe": 0,
            "unsafe_texts": [],
            "crashes": [],
            "takes": {"kept": 1},
            "take_trouble": [],
            "samples": [(60.0 * minute, {"twin": Usage(200.0 + 0.1 * minute, 20, 9)}) for minute in minutes],
            "ticks": [100] * 50,
            "reasons": {("twin", "torque_on"): 1},
            "stray": {},
            "silence": {"twin": 1.0},
            "calls": {},
            **changes,
        }
    )


def test_a_good_soak_meets_every_target(tmp_path: Path) -> None:
    soak = found()
    assert len(targets(soak)) == 10 and all(met for _, met in targets(soak))
    assert soak.slope("twin") == pytest.approx(6.0)
    write(soak, tmp_path / "soak.md")
    text, numbers = (tmp_path / "soak.md").read_text(), json.loads((tmp_path / "soak.json").read_text())
    assert "| silent | 30 | 30 of 30 | 0.10 s, 0.10 s | bus_silent 30 | 30 | 0.40 s, 0.40 s |" in text
    assert "MISSED" not in text and all(target["met"] for target in numbers["targets"])
    assert numbers["slopes_mib_per_hour"]["twin"] == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"crashes": ["node camera ended with exit code 1"]}, "no node ended by itself"),
        ({"unsafe": 2, "unsafe_texts": ["3.0 s: unsafe_command"]}, "no unsafe command"),
        ({"take_trouble": ["take_0001 is cut off"]}, "every take is readable"),
        ({"outcomes": [Outcome(Event(("stuck",), "", 1.0, 1.0), 1.0, True)] * 30}, "within 30 s of every fault"),
        ({"minutes": 29.0}, "it lasts 30 minutes: 29.0"),
        ({"takes": {"not begun": 30}}, "takes are kept: 30 and 0"),
        ({"ticks": []}, "ticks at least"),
        ({"ticks": [90] * 50}, "ticks at least"),
        ({"samples": [(60.0 * m, {"twin": Usage(200.0 + m, 20, 9)}) for m in range(30)]}, "MiB an hour: twin +60.0"),
        ({"samples": [(60.0 * m, {"twin": Usage(200.0, 20 + m, 9)}) for m in range(30)]}, "descriptors more"),
        ({"samples": [(60.0 * m, {"twin": Usage(200.0, 20, 9 + m)}) for m in range(30)]}, "threads more"),
    ],
)
def test_what_is_wrong_misses_its_target_alone(changes: dict[str, object], text: str) -> None:
    soak = found(**changes)
    (missed,) = [target for target, met in targets(soak) if not met]
    assert text in missed
    assert f"{missed}: MISSED" in markdown(soak)


def test_a_short_soak_says_nothing_of_memory_and_an_empty_one_can_be_written() -> None:
    assert len(targets(found(minutes=2.0))) == 7
    empty = found(minutes=0.1, outcomes=[], samples=[], ticks=[], takes={})
    assert "ended after 0.1 of 30 minutes" in markdown(empty)
