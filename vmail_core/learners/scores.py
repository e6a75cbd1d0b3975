"""Scores in words, and what the demonstrations scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vmail_core.episodes.episode import Episode

PHRASES = {"radians": "turned {:.1f} rad", "return": "return {:.1f}"}


def in_words(name: str, value: float) -> str:
    """A score as a phrase: "turned 12.3 rad"."""
    return PHRASES.get(name, name + " {:.2f}").format(value)


def expert_score(demos: Sequence[Episode], name: str) -> float | None:
    """Mean of what the demonstrations scored, None where that is not known of all of them.

    A demonstration's score is what its provenance says, or its summed rewards where the name is "return".
    """
    known = [_score_of(demo, name) for demo in demos]
    found = [score for score in known if score is not None]
    return float(np.mean(found)) if found and len(found) == len(known) else None


def _score_of(demo: Episode, name: str) -> float | None:
    noted = demo.provenance.get("score", {}).get(name)
    if noted is not None:
        return float(noted)
    if name == "radians" and "radians_turned" in demo.provenance:
        return abs(float(demo.provenance["radians_turned"]))  # whichever way: a demonstration shows the wanted one
    return float(demo.reward.sum()) if name == "return" and demo.reward is not None else None
