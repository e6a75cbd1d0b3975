"""The sections of the demo's page. Each takes what demo.json holds and gives HTML; "" when there is nothing to show."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vmail.demo.plots import latency_plot, learning_plot, valve_plot
from vmail.page import escape, facts, table, table_row

METHOD_NAMES = {"vmail": "V-MAIL", "latent_cloning": "latent cloning", "pixel_cloning": "pixel cloning"}
Figures = dict[str, Any]


def summary(figures: Figures) -> str:
    """The result in one sentence."""
    head = figures["headline"]
    return (
        f"the policy turned {head['policy_radians']:.1f} rad of the expert's {head['expert_radians']:.1f}"
        f" ({head['percent']:.0f}\u00a0%)"
    )


def opening(figures: Figures) -> str:
    """What was done, and the result."""
    head, starts, latency = figures["headline"], figures["starts"], figures["latency"]
    learned, seconds = figures["learning"], figures["starts"]["steps"] / 10
    minutes = f" in {learned['minutes']:.0f} minutes" if learned["minutes"] else ""
    if figures["pretrained"]:
        text = f"The policy ships with vmail. It learned from {learned['demos']} demonstrations{minutes} of training."
    else:
        text = f"The policy learned from {learned['demos']} recorded demonstrations and its own practice{minutes}."
    cards = [
        (f"{head['policy_radians']:.1f} rad", f"turned by the policy, mean of {starts['count']} starts", "policy"),
        (f"{head['expert_radians']:.1f} rad", "turned by the expert from the same starts", "expert"),
        (f"{head['percent']:.0f}\u00a0%", "of the expert", ""),
        (f"{latency['p99']:.1f} ms", "camera stamp to bus write, 99 in 100 commands", ""),
    ]
    boxes = "".join(
        f'<div class="card"><b class="{kind}">{value}</b><span>{say}</span></div>' for value, say, kind in cards
    )
    return f"""<p class="label">vmail · {escape(figures["task"])} · {escape(figures["made"][:10])}</p>
<h1>A D'Claw turns a valve by what its camera sees</h1>
<p>{text} Here it runs as it would on the real hand: camera pictures come in through ROS 2, an ONNX policy answers ten
times a second, and the driver writes to nine Dynamixel servos, which are emulated on a simulated claw. An episode is
{seconds:.0f} s; the valve starts anywhere in its turn and the fingers are off by up to 0.2 rad.</p>
<div class="cards">{boxes}</div>"""


def videos(figures: Figures, sources: dict[str, str]) -> str:
    """Expert and policy side by side."""
    blocks = []
    for video in figures["videos"]:
        which = "" if video["which"] == "only" else f"The policy's {escape(video['which'])} start. "
        blocks.append(
            f'<figure><div class="sides"><span class="expert">expert</span><span class="policy">policy</span></div>'
            f'<video src="{sources[video["file"]]}" controls autoplay loop muted playsinline></video>'
            f"<figcaption>{which}Expert {video['expert_radians']:.1f} rad, policy {video['policy_radians']:.1f} rad."
            f"</figcaption></figure>"
        )
    return (
        "<h2>The same start, side by side</h2><p>Drawn again from the joint and valve angles that were recorded while"
        " ROS ran, at their own pace.</p>" + f'<div class="videos">{"".join(blocks)}</div>'
    )


def valve(figures: Figures) -> str:
    """Valve angle over time."""
    return f"""<h2>Every start</h2>
<figure>{valve_plot(figures["valve"])}
<figcaption>Angle turned the wanted way. Thin lines are single starts.</figcaption></figure>"""


def learning(figures: Figures) -> str:
    """The learning curve."""
    learned = figures["learning"]
    if not learned["curve"]:
        return ""
    practice = f", {learned['env_steps']:.0f} steps of practice" if learned["env_steps"] else ""
    updates = f"{learned['updates']:.0f} updates" if learned["updates"] else "training"
    model = figures["bundle"]["training"]["config"].get("model", {})
    joints = model.get("joint_scale", 0.0) > 0.0
    acts_on = "pictures and the joint angles" if model.get("proprioception", False) else "pictures alone"
    saw = "pictures, actions and the joint angles that the servos report" if joints else "pictures and actions only"
    return f"""<h2>Learning</h2>
<figure>{learning_plot(learned, figures["headline"]["expert_radians"])}
<figcaption>Evaluations in the bare simulator while learning ({updates}{practice}). The policy acts on
{acts_on}. Learning saw {saw}: neither radians nor rewards.</figcaption></figure>"""


def scores(figures: Figures) -> str:
    """Everyone's score on the same starts."""
    rows = [_score_row(score, score["name"] == "policy") for score in figures["scores"]]
    latent = _study_row(figures, "latent_cloning", figures["learning"]["demos"])
    rows += [_study_score("latent cloning", f"{figures['study']['source']}, other starts", latent)] if latent else []
    links = figures["chain"]
    loss = links["loss_percent"]
    verdict = "loses" if loss >= 0 else "gains"
    return f"""<h2>Scores</h2>
<p>Radians turned in an episode, and V-MAIL's return, which alone misleads: holding still scores well and turns nothing.
All meet the same starts where a line does not say otherwise. Through ROS and the bus the policy turns
{links["through_ros_radians"]:.1f} rad, in the bare simulator {links["bare_radians"]:.1f}: the chain {verdict}
{abs(loss):.1f}&nbsp;%.</p>
{table(("", "radians", "least", "most", "return"), rows)}"""


def kicks(figures: Figures) -> str:
    """Scores with a kick in mid-episode."""
    if not figures["kicks"]:
        return ""
    plain = {score["name"]: score for score in figures["scores"] if score["where"] == "bare simulator"}
    rows = []
    for score in figures["kicks"]:
        name, alone = score["name"], np.mean(plain[score["name"]]["radians"])
        rows.append(table_row([_named(name), _number(alone), *_spread(score)], name == "policy"))
    return f"""<h2>Kicked</h2>
<p>The same starts in the bare simulator, and once in each episode the valve is spun the wrong way while the claw's
joints jump by up to 0.3 rad.</p>
{table(("", "alone", "kicked", "least", "most", "return"), rows)}"""


def fewer_demos(figures: Figures) -> str:
    """Ten, three and one demonstrations, from the longer study; a dash where nothing was measured."""
    study = figures["study"]
    if study is None:
        return ""
    counts = sorted({row["demos"] for row in study["rows"]}, reverse=True)
    rows = []
    for method in dict.fromkeys(row["method"] for row in study["rows"]):
        found = {row["demos"]: row for row in study["rows"] if row["method"] == method}
        effort = f"about {np.mean([row['minutes'] for row in found.values()]):.0f} min each"
        cells = [_range(found[n], found[n]["seeds"]) if n in found else "–" for n in counts]
        rows.append(table_row([_named(METHOD_NAMES[method], effort), *cells]))
        kicked = [_range(found[n]["kicked"], found[n]["seeds"]) if n in found else "–" for n in counts]
        rows.append(table_row([_named(METHOD_NAMES[method], "kicked"), *kicked]))
    return f"""<h2>With fewer demonstrations</h2>
<p>Not measured by this run: these figures come from {escape(study["source"])}, made by benchmarks/claw_study.py at
commit {escape(", ".join(study["commits"]))} on {escape("; ".join(study["machines"]))}.
Radians turned in the bare simulator: mean, then least and most, of {study["starts"]} starts a seed.</p>
{table(("", *(f"{n} demos" if n > 1 else "1 demo" for n in counts)), rows)}"""


def latency(figures: Figures) -> str:
    """Camera stamp to bus write."""
    found = figures["latency"]
    again = len(found["repeated_episodes"])
    repeated = f" {again} episodes were not whole and were repeated." if again else ""
    percentiles = ", ".join(f"{name} {found[name]:.1f} ms" for name in ("p50", "p90", "p99", "max"))
    return f"""<h2>Latency</h2>
<figure>{latency_plot(found)}<figcaption>Camera stamp to bus write over {found["commands"]} commands: {percentiles};
missed ticks: {found["missed_ticks"]}.{repeated}</figcaption></figure>"""


def origin(figures: Figures) -> str:
    """What is needed to do it again."""
    training, certificate = figures["bundle"]["training"], figures["bundle"]["certificate"]
    difference = certificate.get("differences", {}).get("action", {}).get("worst")
    parity = "" if difference is None else f"; worst action off by {difference:.1e} over {certificate['steps']} steps"
    origins = {
        "machine": figures["machine"],
        "commit": f"{figures['commit']} (training: {training['git_commit']})",
        "demonstrations": _demonstrations(figures),
        "bundle": f"{figures['bundle']['digest'][:16]}{parity}",
        "starts": f"seeds {figures['starts']['first_seed']} and up, {figures['starts']['count']} of them",
        "versions": ", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        "time": ", ".join(f"{step} {_duration(seconds)}" for step, seconds in figures["seconds"].items()),
    }
    settings = escape(json.dumps(training["config"], indent=1))
    return f"""<h2>Where this comes from</h2>
{facts(origins)}
<details><summary>Settings of the training run</summary><pre>{settings}</pre></details>
<p class="label">All figures of this page are in demo.json beside it.</p>"""


def _demonstrations(figures: Figures) -> str:
    """Their names, after who commanded them."""
    by: dict[str, list[str]] = {}
    for demo in figures["demonstrations"]:
        by.setdefault(demo["commanded_by"] or "commander not noted", []).append(demo["name"])
    return "; ".join(f"{who}: {', '.join(names)}" for who, names in by.items())


def _study_row(figures: Figures, method: str, demos: int) -> dict[str, Any] | None:
    rows = figures["study"]["rows"] if figures["study"] else []
    return next((row for row in rows if row["method"] == method and row["demos"] == demos), None)


def _score_row(score: dict[str, Any], ours: bool) -> str:
    return table_row([_named(score["name"], score["where"]), *_spread(score)], ours)


def _study_score(name: str, where: str, row: dict[str, Any]) -> str:
    cells = [_number(row[key]) for key in ("radians", "radians_min", "radians_max")]
    return table_row([_named(name, where), *cells, f"{row['return']:.0f}"])


def _named(name: str, remark: str = "") -> str:
    return escape(name) + (f"<small>{escape(remark)}</small>" if remark else "")


def _range(row: dict[str, Any], seeds: int) -> str:
    """Mean, least and most, and of how many seeds."""
    spread = f"{_number(row['radians_min'])} to {_number(row['radians_max'])}"
    return f"{_number(row['radians'])}<small>{spread}, {seeds} seed{'s' if seeds > 1 else ''}</small>"


def _spread(score: dict[str, Any]) -> list[str]:
    radians = score["radians"]
    return [_number(np.mean(radians)), _number(min(radians)), _number(max(radians)), f"{np.mean(score['return']):.0f}"]


def _number(value: Any) -> str:
    text = f"{float(value):.1f}"
    return "0.0" if text == "-0.0" else text


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
