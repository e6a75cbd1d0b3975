"""The report of a soak, in Markdown and JSON, and its targets."""

from __future__ import annotations

import collections
import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from processes import Usage
from soak_faults import kinds
from soak_watch import RECOVERY_S, Outcome

MOST_MIB_PER_HOUR, MOST_MORE = 10.0, 2  # growth of a node's memory; more descriptors or threads at the end
LEAST_TICKS = 98.0  # a second, at the median
JUDGED_FROM_MINUTES = 20.0  # before that memory tells nothing
COLUMNS = 6


@dataclasses.dataclass
class Soak:
    """All that a soak has found.

    Attributes:
        command, commit, machine: what ran, of what, and on what.
        minutes: how long it ran; `wanted` is how long it should have.
        outcomes: of the events.
        unsafe, unsafe_texts: commands past the limits on the wire.
        crashes: nodes that ended or did not stop in order, in words.
        takes, take_trouble: what became of takes, and what was wrong with any.
        samples: (seconds, node name to usage) in order of time, from the end of the warm-up on.
        ticks: joint states in each sound second.
        reasons: (node, reason) to how often.
        stray: the driver's holds while nothing was broken.
        silence: longest silence of each node on /diagnostics, s.
        calls: what was refused or not answered.
    """

    command: str
    commit: str
    machine: str
    wanted: float
    minutes: float
    outcomes: list[Outcome]
    unsafe: int
    unsafe_texts: list[str]
    crashes: list[str]
    takes: dict[str, int]
    take_trouble: list[str]
    samples: list[tuple[float, dict[str, Usage]]]
    ticks: list[int]
    reasons: dict[tuple[str, str], int]
    stray: dict[str, int]
    silence: dict[str, float]
    calls: dict[str, int]

    def series(self, node: str, field: str) -> tuple[np.ndarray, np.ndarray]:
        """Hours and values of a node's usage."""
        found = [(at / 3600.0, getattr(usages[node], field)) for at, usages in self.samples if node in usages]
        hours, values = np.array(found, np.float64).reshape(-1, 2).T
        return hours, values

    def nodes(self) -> list[str]:
        """Whose usage is known."""
        return list(self.samples[0][1]) if self.samples else []

    def slope(self, node: str) -> float:
        """Growth of a node's memory, MiB an hour, by least squares."""
        hours, mib = self.series(node, "mib")
        return float(np.polyfit(hours, mib, 1)[0]) if len(hours) > 2 else 0.0


def targets(soak: Soak) -> list[tuple[str, bool]]:
    """Each target in words, with what was found, and whether it is met."""
    lost = [outcome.event for outcome in soak.outcomes if outcome.recovered_after is None]
    kept, least_faults = soak.takes.get("kept", 0), int(soak.wanted)
    found = [
        (f"it lasts {soak.wanted:g} minutes: {soak.minutes:.1f}", soak.minutes >= soak.wanted - 0.1),
        (
            f"it has at least {least_faults} faults, and takes are kept: {len(soak.outcomes)} and {kept}",
            len(soak.outcomes) >= least_faults and kept > 0,
        ),
        (f"no node ended by itself, and all stopped in order: {len(soak.crashes)} did not", not soak.crashes),
        (f"no unsafe command on the wire: {soak.unsafe}", soak.unsafe == 0),
        (
            f"every take is readable whole, and nothing is left behind: {len(soak.take_trouble)} troubles",
            not soak.take_trouble,
        ),
        (
            f"the hand goes on within {RECOVERY_S:.0f} s of every fault: {len(lost)} of {len(soak.outcomes)} did not",
            not lost,
        ),
    ]
    ticks = statistics.median(soak.ticks) if soak.ticks else 0.0
    found.append(
        (f"the driver ticks at least {LEAST_TICKS:g} times a second (median): {ticks:g}", ticks >= LEAST_TICKS)
    )
    if soak.minutes < JUDGED_FROM_MINUTES or not soak.nodes():
        return found
    steepest = max(soak.nodes(), key=soak.slope)
    text = f"no node grows by more than {MOST_MIB_PER_HOUR:g} MiB an hour: {steepest} {soak.slope(steepest):+.1f}"
    found.append((text, soak.slope(steepest) <= MOST_MIB_PER_HOUR))
    for field in ("descriptors", "threads"):
        more = {node: int(values[-1] - values[0]) for node in soak.nodes() for _, values in [soak.series(node, field)]}
        most = max(more, key=lambda node: more[node])
        found.append(
            (f"no node has {MOST_MORE + 1} {field} more at the end: {most} {more[most]:+d}", more[most] <= MOST_MORE)
        )
    return found


def write(soak: Soak, out: Path) -> None:
    """Write the report to `out`, and all numbers beside it as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(markdown(soak))
    plain = dataclasses.asdict(soak)
    plain["reasons"] = {f"{node}: {reason}": number for (node, reason), number in soak.reasons.items()}
    plain["samples"] = [[at, {n: list(u) for n, u in usages.items()}] for at, usages in soak.samples]
    plain["slopes_mib_per_hour"] = {node: soak.slope(node) for node in soak.nodes()}
    plain["targets"] = [{"target": text, "met": met} for text, met in targets(soak)]
    out.with_suffix(".json").write_text(json.dumps(plain, indent=1, default=_rounded) + "\n")


def markdown(soak: Soak) -> str:
    """The report for people."""
    cut = "" if soak.minutes >= soak.wanted - 0.1 else f" It ended after {soak.minutes:.1f} of {soak.wanted:g} minutes."
    lines = [
        "# Soak",
        "",
        f"Made by `{soak.command}`: the whole graph on the twin (camera, driver at 100 Hz,",
        f"expert and shipped policy by turns, recorder), with faults at random and an operator that mends.{cut}",
        f"Commit {soak.commit}, {soak.machine}.",
        "",
    ]
    lines += [f"* {text}: {'met' if met else 'MISSED'}" for text, met in targets(soak)]
    if soak.minutes < JUDGED_FROM_MINUTES:
        lines.append(f"* growth of memory, descriptors and threads is judged from {JUDGED_FROM_MINUTES:g} minutes on")
    lines += [f"    * {text}" for text in (*soak.crashes, *soak.unsafe_texts, *soak.take_trouble)]
    lines += ["", "## Faults", "", *_faults(soak.outcomes)]
    takes = ", ".join(f"{number} {fate}" for fate, number in sorted(soak.takes.items()))
    lines += [
        "",
        "## Takes",
        "",
        f"{takes or 'none'}. What was kept holds as many frames and commands as the recorder said.",
    ]
    lines += ["", "## Nodes", "", *_usage(soak)]
    if soak.ticks:
        low, median = np.percentile(soak.ticks, [1, 50])
        lines += [
            "",
            f"Driver: {median:.0f} ticks a second (1st percentile {low:.0f}) in {len(soak.ticks)} sound seconds.",
        ]
    stray = ", ".join(f"{reason} {number}" for reason, number in sorted(soak.stray.items()))
    lines += ["", f"Holds of the driver while nothing was broken: {stray or 'none'}."]
    lines += ["", "## What the nodes said", "", *_reasons(soak)]
    return "\n".join(lines) + "\n"


def _faults(outcomes: Sequence[Outcome]) -> list[str]:
    rows = [
        "| fault | times | held | after (median, most) | why | went on | after (median, most) |",
        "|---|---|---|---|---|---|---|",
    ]
    single = [outcome for outcome in outcomes if len(outcome.event.kinds) == 1]
    groups = [(kind, [o for o in single if o.event.kinds == (kind,)]) for kind in kinds()]
    groups.append(("two at once", [o for o in outcomes if len(o.event.kinds) > 1]))
    for name, group in groups:
        moving = [o for o in group if o.moving]
        held = [o.hold_after for o in moving if o.hold_after is not None]
        back = [o.recovered_after for o in group if o.recovered_after is not None]
        why = collections.Counter(reason for o in group for reason in dict.fromkeys(o.holds))
        reasons = ", ".join(f"{reason} {number}" for reason, number in why.most_common())
        rows.append(
            f"| {name} | {len(group)} | {len(held)} of {len(moving)} | {_seconds(held)} | {reasons} "
            f"| {len(back)} | {_seconds(back)} |"
        )
    return [
        *rows,
        "",
        "Held: of those that found the hand moving. The time to go on counts from the fault's end, and is also the",
        "operator's, who looks five times a second, thinks for up to a second, and may be between two takes.",
    ]


def _seconds(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s, {max(values):.2f} s" if values else ""


def _usage(soak: Soak) -> list[str]:
    if not soak.samples:
        return ["It ended before memory was looked at."]
    chosen = np.unique(np.linspace(0, len(soak.samples) - 1, COLUMNS).round().astype(int))
    minutes = [soak.samples[i][0] / 60.0 for i in chosen]
    rows = [
        "Resident memory in MiB at these minutes, and its slope:",
        "",
        "| node | " + " | ".join(f"{minute:.1f}" for minute in minutes) + " | MiB/h | descriptors | threads |",
        "|---|" + "---|" * (len(chosen) + 3),
    ]
    for node in soak.nodes():
        known = [soak.samples[i][1].get(node) for i in chosen]
        mib = " | ".join("" if usage is None else f"{usage.mib:.1f}" for usage in known)
        counts = []
        for field in ("descriptors", "threads"):
            _, values = soak.series(node, field)
            counts.append(f"{values[0]:.0f} to {values[-1]:.0f} (most {values.max():.0f})")
        rows.append(f"| {node} | {mib} | {soak.slope(node):+.1f} | {' | '.join(counts)} |")
    return rows


def _reasons(soak: Soak) -> list[str]:
    by_node: dict[str, list[str]] = {}
    for (node, reason), number in sorted(soak.reasons.items(), key=lambda item: -item[1]):
        by_node.setdefault(node, []).append(f"{reason} {number}")
    rows = [
        f"* {node}: {', '.join(reasons)}; longest silence {soak.silence.get(node, 0.0):.1f} s"
        for node, reasons in sorted(by_node.items())
    ]
    calls = ", ".join(f"{call} {number}" for call, number in sorted(soak.calls.items()))
    return [*rows, f"* calls: {calls or 'all were obeyed'}"]


def _rounded(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
