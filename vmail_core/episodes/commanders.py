"""Who commanded an episode or a take: how many commands were whose, as its provenance tells, and that in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPERT_SOURCE = "expert in simulator"
"""The `source` of demonstrations that an expert gave in the bare simulator."""


def commands_by(provenance: Mapping[str, Any], rows: int) -> dict[str, int]:
    """Name of each commander to the number of actions that are theirs; empty where nothing is said.

    Args:
        provenance: of an episode: `commanders` tells from which row on who commanded, `commander` only who did.
        rows: the episode's; the first one has no action.
    """
    shifts = provenance.get("commanders")
    if shifts:
        ends = [*(shift["from_row"] for shift in shifts[1:]), rows]
        found: dict[str, int] = {}
        for shift, end in zip(shifts, ends, strict=True):
            found[shift["name"]] = found.get(shift["name"], 0) + end - shift["from_row"]
        return found
    name = "expert" if provenance.get("source") == EXPERT_SOURCE else provenance.get("commander", "")
    return {name: rows - 1} if name else {}


def in_words(commands: Mapping[str, int]) -> str:
    """ "policy", or of several "policy 60 %, keyboard 40 %", the busiest first; empty where nobody is named."""
    whole = sum(commands.values())
    if set(commands) <= {""} or not whole:
        return ""
    if len(commands) == 1:
        return next(iter(commands))
    ranked = sorted(commands.items(), key=lambda item: -item[1])
    return ", ".join(f"{name or 'unknown'} {100.0 * count / whole:.0f} %" for name, count in ranked)
