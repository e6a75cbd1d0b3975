"""The steps of the demo that learn: import takes, train, export, and clone from pixels for comparison."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vmail.demo.steps import progress_bar
from vmail_core.episodes import Episode, load_episodes
from vmail_core.episodes.bag_import import import_bags
from vmail_core.episodes.store import list_episodes
from vmail_core.robot import RobotSpec

DEMOS_NOTE = "demonstrations.json"


def import_takes(takes: Sequence[Path], out: Path, robot: RobotSpec, console: Console) -> None:
    """Import takes as the only episodes of `out`, and say what came of them; all of it is in import_report.json."""
    if out.is_dir():
        shutil.rmtree(out)
    report = import_bags(takes, out, robot)
    rows, seconds = sum(bag.rows for bag in report.sources), sum(bag.seconds for bag in report.sources)
    rates = [rate for bag in report.sources for rate in (bag.rate_min, bag.rate_max) if rate is not None]
    console.print(
        f"    {len(report.episodes)} episodes from {len(takes)} takes: {rows} pictures, {seconds:.0f} s,"
        f" {min(rates):.1f} to {max(rates):.1f} Hz, {sum(len(bag.gaps) for bag in report.sources)} gaps"
    )
    for bag in report.sources:
        for part in bag.rejected:
            console.print(f"    {Path(bag.source).name}: rejected {part.what}: {part.reason}")


def digest_takes(takes: Sequence[Path]) -> str:
    """SHA-256 over names and contents of the takes' files."""
    return _digest(path for take in takes for path in sorted(take.iterdir()) if path.is_file())


def digest_episodes(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's episodes."""
    return _digest(list_episodes(folder)) if folder.is_dir() else ""


def _digest(paths: Any) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def learn(episodes: Path, run: Path, preset: str, overrides: dict[str, Any], console: Console) -> None:
    """Train, or go on with the run in the folder.

    Raises:
        ValueError: the folder's run learned from other demonstrations, or with other settings.
        KeyboardInterrupt: the training was interrupted; it saved a checkpoint.
    """
    from vmail.train import train

    digest, note = digest_episodes(episodes), run / DEMOS_NOTE
    if note.is_file() and json.loads(note.read_text())["episodes_sha256"] != digest:
        raise ValueError(f"{run} learned from other demonstrations; remove it, or choose another --out")
    run.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"episodes_sha256": digest}) + "\n")
    if not train(preset, episodes, run, overrides, console=console).finished:
        raise KeyboardInterrupt


def export(run: Path, out: Path, episodes: Path, robot: RobotSpec, console: Console) -> None:
    """Write the bundle and say how closely it follows the trained network."""
    from vmail_core.deploy.export import export_bundle

    bundle = export_bundle(run, out, episodes, robot=robot, overwrite=True)
    worst = bundle.certificate["differences"]["action"]["worst"]
    console.print(
        f"    bundle {bundle.digest[:12]} follows the trained network over {bundle.certificate['steps']} recorded"
        f" steps; the worst action is off by {worst:.1e}"
    )


def clone_from_pixels(episodes: Path, seed: int, console: Console) -> tuple[Any, dict[str, Any]]:
    """Train the pixel-cloning control on the same demonstrations; returns the policy and what it was trained with."""
    from vmail_core.episodes.frames import at_size
    from vmail_core.learners.bc import CloningConfig, clone_pixels

    config = CloningConfig(seed=seed)
    demos: list[Episode] = [at_size(demo, config.image_size) for demo in load_episodes(episodes)]
    began = time.monotonic()
    with progress_bar(console) as progress:
        task = progress.add_task("    pixel cloning learns", total=config.updates)
        policy = clone_pixels(demos, config, lambda update, loss: progress.update(task, completed=update))
    return policy, {"config": dataclasses.asdict(config), "seconds": round(time.monotonic() - began, 1)}
