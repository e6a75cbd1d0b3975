"""`vmail trust`: how far a run's imagination may be believed, measured on takes that it did not learn from."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmail.trust_page import write_page
from vmail_core.durable import replace_file
from vmail_core.episodes import Episode, load_episodes
from vmail_core.episodes.commanders import commands_by, in_words
from vmail_core.episodes.frames import at_size
from vmail_core.learners.demonstrations import demo_name, held_out
from vmail_core.learners.prediction_pictures import film_strip
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.trust import (
    BELIEVED,
    CONTEXT,
    STEPS,
    Curves,
    OpenLoopErrors,
    leading,
    missed_share,
    open_loop_errors,
    pooled,
    trust_horizon,
)
from vmail_core.learners.vmail import VMAIL
from vmail_core.models import WorldModel
from vmail_core.provenance import git_commit, machine

FILMED_TAKES = 3
FILMED_STEPS = (1, 2, 5, 10, 20, 30)


def trust_report(
    run: str | Path, episodes: str | Path, out: str | Path | None = None, steps: int | None = None
) -> dict[str, Any]:
    """Measure a run's last checkpoint on held-out takes, and write `trust.json` and `index.html`.

    Args:
        run: the run's folder.
        episodes: folder of takes; those that the run learned from are left out.
        out: folder of the report; by default the run's `trust`.
        steps: how far ahead; by default 30, or fewer where that would leave a take fewer starts than steps.

    Returns:
        What `trust.json` holds.

    Raises:
        FileNotFoundError: no run, no checkpoint in it yet, or no episodes.
        ValueError: the run learned from all takes, or one does not fit it or is too short; the message names it.
    """
    folder, out = RunFolder(Path(run)), Path(out) if out is not None else Path(run) / "trust"
    config, action_size, joint_count = folder.config(), folder.action_size(), folder.joint_count()
    if Path(episodes).resolve() == folder.practice.resolve():
        raise ValueError(f"{run} learned from its own practice: give takes that it has not seen")
    takes, remarks = held_out(load_episodes(episodes), folder.facts(), config, action_size, joint_count)
    takes = [at_size(take, config.model.image_size) for take in takes]
    steps = _steps(takes, steps)
    short = [take for take in takes if len(take) < CONTEXT + steps]
    remarks += [f"left out: {demo_name(take)} has {len(take)} rows, {CONTEXT + steps} are needed" for take in short]
    takes = [take for take in takes if len(take) >= CONTEXT + steps]
    learner = VMAIL(config, action_size, joint_count)
    folder.load_networks(learner)
    model = learner.deployed[0]
    result = {
        "run": str(run),
        "update": folder.state()["update"],
        "task": config.task,
        "run_commit": folder.facts()["commit"],
        "commit": git_commit(),
        "machine": machine(),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "episodes": str(episodes),
        "left_out": remarks,
        "policy_horizon": config.policy.horizon,
        **_measure(model, takes, steps),
    }
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / "trust.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_page(result, _films(model, takes, steps), out)
    return result


def _measure(model: WorldModel, takes: Sequence[Episode], steps: int) -> dict[str, Any]:
    """The figures of the report as JSON data."""
    errors = [open_loop_errors(model, take, steps) for take in takes]
    whole = pooled(errors)
    quantities = {"pixels": whole.pixels} | ({} if whole.joints is None else {"joints": whole.joints})
    horizons = {name: trust_horizon(curves) for name, curves in quantities.items()}
    return {
        "takes": [_take(take, found) for take, found in zip(takes, errors, strict=True)],
        "context": CONTEXT,
        "steps": steps,
        "starts": whole.starts,
        "period_s": round(float(np.median(np.concatenate([np.diff(take.time) for take in takes]))), 6),
        "believed": BELIEVED,
        "trust_horizon": min(horizons.values()),
        "trust_horizons": horizons,
        "better_than_still": {name: leading(c.predicted < c.still) for name, c in quantities.items()},
        "pixels": _plain(whole.pixels, "grey levels"),
        "joints": None if whole.joints is None else _plain(whole.joints, "rad"),
        "why_no_joints": None if whole.joints is not None else _why_no_joints(model, takes),
        "kl": whole.kl.tolist(),
    }


def _steps(takes: Sequence[Episode], asked: int | None) -> int:
    """How far ahead to measure: as asked, or up to STEPS with as many starts in a take of middling length."""
    longest, middling = max(takes, key=len), sorted(takes, key=len)[len(takes) // 2]
    steps = min(STEPS, (len(middling) - CONTEXT + 1) // 2) if asked is None else asked
    if steps < 1 or len(longest) < CONTEXT + steps:
        raise ValueError(
            f"{demo_name(longest)} has {len(longest)} rows, but {CONTEXT} are seen and {max(1, steps)} foretold: "
            "give longer takes" + ("" if asked is None else ", or fewer --steps")
        )
    return steps


def _take(take: Episode, found: OpenLoopErrors) -> dict[str, Any]:
    joints = None if found.joints is None else trust_horizon(found.joints)
    return {
        "name": demo_name(take),
        "rows": len(take),
        "commanded_by": in_words(commands_by(take.provenance, len(take))),
        "starts": found.starts,
        "trust_horizons": {"pixels": trust_horizon(found.pixels), "joints": joints},
    }


def _plain(curves: Curves, unit: str) -> dict[str, Any]:
    """Curves and what is missed as JSON data, where infinity is null."""
    missed = [value if math.isfinite(value) else None for value in missed_share(curves).tolist()]
    return {"unit": unit, **{name: part.tolist() for name, part in curves._asdict().items()}, "missed_share": missed}


def _why_no_joints(model: WorldModel, takes: Sequence[Episode]) -> str:
    if model.joint_head is None:
        return "this model has no joint head: it learned with model.joint_scale=0"
    blind = next(take for take in takes if take.joint_positions is None)
    return f"{demo_name(blind)} has no joint angles"


def _films(model: WorldModel, takes: Sequence[Episode], steps: int) -> dict[str, np.ndarray]:
    """Strips of the first takes by name, each from the middle of the frames that enough others follow."""
    shown = [step for step in FILMED_STEPS if step <= steps]
    films: dict[str, np.ndarray] = {}
    for take in takes[:FILMED_TAKES]:
        same = sum(name.startswith(demo_name(take)) for name in films)  # episodes of one bag
        name = f"{demo_name(take)} ({same + 1})" if same else demo_name(take)
        films[name] = film_strip(model, take, (CONTEXT - 1 + len(take) - 1 - steps) // 2, shown)
    return films
