"""The page of `vmail trust`: one HTML file with its verdict, plots, film strips and tables inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from matplotlib.axes import Axes

from vmail.inline_plot import EXPERT, POLICY, QUIET, svg
from vmail.page import data_uri, escape, facts, table, table_row, write_html

TABLED_STEPS = (1, 2, 3, 5, 10, 15, 20, 30)
TITLES = {"pixels": "Pictures", "joints": "Joint angles"}


def write_page(result: dict[str, Any], films: dict[str, np.ndarray], out: Path) -> Path:
    """Write `out/index.html`; returns its path.

    Args:
        result: what trust.json holds.
        films: pictures (H, W, 3) uint8 of `film_strip` by name of take.
        out: a folder that exists.
    """
    sections = [
        _opening(result),
        *(_quantity(result, name) for name in TITLES if result[name] is not None),
        _no_joints(result),
        _film(films),
        _missed(result),
        _takes(result),
        _origin(result),
    ]
    return write_html(out / "index.html", f"vmail: {verdict(result)}", sections)


def verdict(result: dict[str, Any]) -> str:
    """How far imagination may be believed, beside how far the policy's goes: one sentence."""
    found, measured, used = result["trust_horizon"], result["steps"], result["policy_horizon"]
    if not found:
        return (
            "this model's imagination may not be believed for a single step: let it learn longer, or from more practice"
        )
    reach = f"{_steps(found)}{' or more' if found == measured else ''} ({found * result['period_s']:.1f} s)"
    if used <= found:
        beside = f"the policy's imagination, {_steps(used)}, stays within that"
    elif found == measured:
        beside = f"the policy imagines {_steps(used)}, more than was measured: longer takes would tell"
    else:
        beside = f"the policy imagines {_steps(used)}: shorten policy.horizon, or let the model learn longer"
    return f"this model's imagination may be believed for {reach}; {beside}"


def _opening(result: dict[str, Any]) -> str:
    sentence, found = verdict(result), result["trust_horizon"]
    more = "+" if found == result["steps"] else ""
    at = min(result["policy_horizon"], result["steps"])
    cards = [
        (f"{found}{more}", f"steps ahead that may be believed ({found * result['period_s']:.1f} s)", "policy"),
        (str(result["policy_horizon"]), "steps that the policy imagines (policy.horizon)", ""),
        (
            f"{result['pixels']['predicted'][at - 1]:.1f}",
            f"grey levels off, {_steps(at)} ahead (the picture stays: {result['pixels']['still'][at - 1]:.1f})",
            "policy",
        ),
    ]
    if result["joints"] is not None:
        joints = result["joints"]
        say = f"rad off, {_steps(at)} ahead (the joints stay: {joints['still'][at - 1]:.3f})"
        cards.append((f"{joints['predicted'][at - 1]:.3f}", say, "policy"))
    boxes = "".join(
        f'<div class="card"><b class="{kind}">{value}</b><span>{say}</span></div>' for value, say, kind in cards
    )
    return f"""<p class="label">vmail trust · {escape(result["task"])} · {escape(result["made"][:10])}</p>
<h1>{escape(sentence[0].upper() + sentence[1:])}.</h1>
<p>In {len(result["takes"])} takes that the run did not learn from, the model stopped at {result["starts"]} frames,
having seen at least {result["context"]} pictures, and foretold the rest from the recorded actions alone, without noise
and without a look at what came. What is said here holds for actions like those in the takes.</p>
<div class="cards">{boxes}</div>"""


def _quantity(result: dict[str, Any], name: str) -> str:
    curves = result[name]
    chosen = sorted(
        {step for step in (*TABLED_STEPS, result["policy_horizon"], result["steps"]) if step <= result["steps"]}
    )
    digits = 3 if name == "joints" else 1
    rows = [
        table_row(
            [str(k), *(f"{curves[c][k - 1]:.{digits}f}" for c in ("predicted", "still", "average", "frozen", "floor")),
             _percent(curves["missed_share"][k - 1]), f"{result['kl'][k - 1]:.1f}"],
            k == result["policy_horizon"],
        )
        for k in chosen
    ]  # fmt: skip
    better, found = result["better_than_still"][name], result["trust_horizons"][name]
    heads = ("steps ahead", "foretold", "it stays", "average", "belief stays", "floor", "missed", "KL, nats")
    return f"""<h2>{TITLES[name]}</h2>
<figure>{_error_plot(result, name)}
<figcaption>Root mean square error in {curves["unit"]}. Better than the assumption that nothing changes:
{_reach(better, result["steps"])}. To be believed: {_reach(found, result["steps"])}.</figcaption></figure>
{table(heads, rows)}"""


def _no_joints(result: dict[str, Any]) -> str:
    if result["why_no_joints"] is None:
        return ""
    return f"<h2>Joint angles</h2><p>Not measured: {escape(result['why_no_joints'])}.</p>"


def _film(films: dict[str, np.ndarray]) -> str:
    strips = "".join(
        f'<figure><img src="{_inline(film)}" alt="Truth, prediction and error over time in {escape(name)}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, film in films.items()
    )
    return f"""<h2>What it foretells</h2>
<p>Above what came, in the middle what the model makes of it, below the error, twice as bright. The blue picture is the
last that it saw.</p>
{strips}"""


def _missed(result: dict[str, Any]) -> str:
    return f"""<h2>What is missed</h2>
<figure>{_missed_plot(result)}
<figcaption>Share of what changes that the model fails to foretell. 100 % is a belief that stands still, about 71 % a
prediction that is always the average. The model is believed while it misses less than {_percent(result["believed"])}
and is better than the average of the take.</figcaption></figure>
<p>The floor is the error of a belief that has seen the very picture: blur of the decoder, which no prediction can be
blamed for. It is taken, as a square, from the squared errors of the prediction and of the belief that stays; the root
of their ratio is what is missed. What changes is the most up to that step, for motion may come back to where it
was.</p>"""


def _takes(result: dict[str, Any]) -> str:
    rows = []
    for take in result["takes"]:
        horizons = [take["trust_horizons"][name] for name in TITLES]
        reach = ["–" if found is None else _more(found, result["steps"]) for found in horizons]
        who = escape(take["commanded_by"] or "–")
        rows.append(table_row([escape(take["name"]), who, str(take["rows"]), str(take["starts"]), *reach]))
    left_out = "".join(f"<p>{escape(remark)}.</p>" for remark in result["left_out"])
    heads = ("take", "commanded by", "rows", "starts", "believed: pictures", "joint angles")
    return f"<h2>Take by take</h2>{table(heads, rows)}{left_out}"


def _origin(result: dict[str, Any]) -> str:
    origins = {
        "run": f"{result['run']}, update {result['update']}, begun at commit {result['run_commit']}",
        "takes": result["episodes"],
        "measured": f"{result['made']}, commit {result['commit']}",
        "machine": result["machine"],
    }
    return f"""<h2>Where this comes from</h2>
{facts(origins)}
<p class="label">All figures of this page are in trust.json beside it.</p>"""


def _error_plot(result: dict[str, Any], name: str) -> str:
    curves, steps = result[name], np.arange(1, result["steps"] + 1)
    lines: dict[str, dict[str, Any]] = {
        "still": {"color": EXPERT, "linewidth": 2.0, "label": "it stays as it is"},
        "average": {"color": QUIET, "linewidth": 1.6, "label": "always the average"},
        "frozen": {"color": EXPERT, "linewidth": 1.2, "linestyle": (0, (2, 2)), "label": "the belief stays"},
        "predicted": {"color": POLICY, "linewidth": 2.8, "label": "foretold"},
        "floor": {"color": QUIET, "linewidth": 1.6, "linestyle": (0, (5, 3)), "label": "the belief that saw it"},
    }

    def draw(axes: Axes) -> None:
        for curve, style in lines.items():
            axes.plot(steps, curves[curve], **style)
        _horizon_line(axes, result)
        axes.set_ylim(0.0, 1.5 * max(curves["still"]))
        axes.set_ylabel(f"error, {curves['unit']}")
        axes.legend(loc="upper left", ncols=2, fontsize=11)

    return svg(draw, f"Error of {TITLES[name].lower()} against steps ahead, beside its baselines")


def _missed_plot(result: dict[str, Any]) -> str:
    steps = np.arange(1, result["steps"] + 1)

    def draw(axes: Axes) -> None:
        for name, color in (("pixels", POLICY), ("joints", EXPERT)):
            if result[name] is not None:
                missed = [np.nan if value is None else 100.0 * value for value in result[name]["missed_share"]]
                axes.plot(steps, missed, color=color, linewidth=2.4, label=TITLES[name].lower())
        axes.axhline(100.0 * result["believed"], color=QUIET, linewidth=1.4, linestyle=(0, (5, 3)))
        _horizon_line(axes, result)
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel("missed, %")
        axes.legend(loc="upper right")

    return svg(draw, "Share of what changes that the model fails to foretell, against steps ahead")


def _horizon_line(axes: Axes, result: dict[str, Any]) -> None:
    if result["policy_horizon"] <= result["steps"]:
        axes.axvline(result["policy_horizon"], color=QUIET, linewidth=1.0)
        axes.annotate(
            "policy.horizon", (result["policy_horizon"], 0.0), (4, 4), xycoords=("data", "axes fraction"),
            textcoords="offset points", color=QUIET,
        )  # fmt: skip
    axes.set_xlim(0.0, result["steps"] + 0.5)
    axes.set_xlabel(f"steps ahead ({result['period_s']:.3g} s each)")


def _inline(picture: np.ndarray) -> str:
    return data_uri("image/png", iio.imwrite("<bytes>", picture, extension=".png"))


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _reach(found: int, measured: int) -> str:
    return f"{_steps(found)} ahead{' or more' if found == measured else ''}"


def _more(found: int, measured: int) -> str:
    return f"{found}{'+' if found == measured else ''}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100.0 * share:.0f}\u00a0%"
