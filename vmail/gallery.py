"""`vmail tasks --gallery`: one page with a picture, a film and what experts and others score, for every task.

Each task's part is written as soon as it is known and kept: the same command goes on where it was stopped, and does
again what it is told to (see `write_gallery`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from rich.console import Console

from vmail.page import data_uri, escape, facts, write_html
from vmail_core.durable import replace_file
from vmail_core.learners.scores import in_words
from vmail_core.learners.train import write_video
from vmail_sim.experts import has_expert, load_expert
from vmail_sim.experts.demos import demonstrate, simulator
from vmail_sim.experts.policy import fingerprint
from vmail_sim.visual import VisualTask

PIXELS = 240
START = 0  # of every film
Acts = Callable[[np.ndarray], np.ndarray]


def write_gallery(tasks: Sequence[str], out: Path, again: bool, console: Console) -> Path:
    """Write `out/index.html`, a self-contained page; returns its path.

    Args:
        tasks: names, in the order in which they are shown.
        out: folder; what it holds of a task already is shown as it is, unless world or expert are others by now.
        again: make that anew, too.
        console: is told what takes long.
    """
    out.mkdir(parents=True, exist_ok=True)
    for number, task in enumerate(tasks, 1):
        if again or not _is_shown(task, out):
            console.print(f"{number} of {len(tasks)}: {task}")
            show_task(task, out)
    return write_html(out / "index.html", "vmail: simulated tasks", [_opening(tasks), *_sections(tasks, out)])


def made_by(task: str) -> dict[str, str | None]:
    """What a task's part of the page depends on."""
    return {"simulator": simulator(task), "expert": fingerprint(task) if has_expert(task) else None}


def _is_shown(task: str, out: Path) -> bool:
    parts = [out / f"{task}{suffix}" for suffix in (".jpg", ".json", *([".mp4"] if has_expert(task) else []))]
    if not all(part.is_file() for part in parts):
        return False
    return bool(json.loads((out / f"{task}.json").read_text()).get("made_by") == made_by(task))


def show_task(task: str, out: Path) -> None:
    """Write a task's picture, its film where an expert ships, and `TASK.json`, which comes last."""
    env = VisualTask(task, 64)
    env.reset(START)
    iio.imwrite(out / f"{task}.jpg", env.large_picture(PIXELS), quality=90)  # a PNG is five times as large
    scores = {"zero action": play(env, lambda state: np.zeros(env.action_size, np.float32))}
    random = np.random.default_rng(START)
    scores["random actions"] = play(env, lambda state: random.uniform(-1.0, 1.0, env.action_size).astype(np.float32))
    steps = None
    (out / f"{task}.mp4").unlink(missing_ok=True)  # of an expert that does not ship any more
    if has_expert(task):
        frames: list[np.ndarray] = []
        episode = demonstrate(load_expert(task), env, START, lambda seen: frames.append(seen.large_picture(PIXELS)))
        scores, steps = {"expert": episode.provenance["score"], **scores}, episode.steps
        write_video(out / f"{task}.mp4", frames, 1.0 / env.control_period)
    known = {
        "task": task,
        "made_by": made_by(task),
        "actions": env.action_size,
        "joints": env.joint_count,
        "period_s": env.control_period,
        "judged_by": env.main_score,
        "scores": scores,
        "steps": steps,
    }
    replace_file(out / f"{task}.json", json.dumps(known, indent=1) + "\n")


def play(env: VisualTask, act: Acts) -> dict[str, float]:
    """The scores of one episode of a policy on full states."""
    env.reset(START)
    while not env.step(act(env.state)).last:
        pass
    return env.score()


def _opening(tasks: Sequence[str]) -> str:
    return f"""<p class="label">vmail</p>
<h1>{len(tasks)} simulated tasks</h1>
<p>What learning sees of each, larger than it sees it, and one episode of the expert that ships for it. Demonstrations:
<code>vmail expert TASK --out DIR</code>. One start tells little of how good an expert is; results/ has more.</p>"""


def _sections(tasks: Sequence[str], out: Path) -> list[str]:
    figures = "".join(_figure(json.loads((out / f"{task}.json").read_text()), out) for task in tasks)
    return [f'<div class="gallery">{figures}</div>']


def _figure(known: dict[str, Any], out: Path) -> str:
    task = known["task"]
    film, picture = out / f"{task}.mp4", data_uri("image/jpeg", (out / f"{task}.jpg").read_bytes())
    if film.is_file():
        source = data_uri("video/mp4", film.read_bytes())
        shown = f'<video src="{source}" poster="{picture}" controls autoplay loop muted playsinline></video>'
    else:
        shown = f'<img src="{picture}" alt="{escape(task)}">'
    joints = f", {known['joints']} joint angles" if known["joints"] else ""
    said = {"acts": f"{known['actions']} actions{joints}, {1.0 / known['period_s']:.0f} Hz"}
    said |= {who: _scores(scores, known["judged_by"]) for who, scores in known["scores"].items()}
    if not film.is_file():
        said["expert"] = f"none ships; python -m vmail_sim.experts.sac {task}"
    return f"<figure>{shown}<figcaption><b>{escape(task)}</b>{facts(said)}</figcaption></figure>"


def _scores(scores: dict[str, float], judged_by: str) -> str:
    """What the task is judged by, first."""
    names = sorted(scores, key=lambda name: name != judged_by)
    return ", ".join(in_words(name, scores[name]) for name in names)
