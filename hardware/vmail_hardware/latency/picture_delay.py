"""How long after a joint's motion a picture is stamped that shows it.

A picture's share of a step is how far it lies on the way from the mean picture before to the mean picture after it. For
an edge that moves that is the share of the area that it has swept, so it follows the joint's own share of the step;
noise, and what does not move, take no part. The delay is the shift in time by which both agree best, over all steps
together: a single one, that may be over between two pictures, tells it to a camera's period only.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vmail_hardware.latency.camera_timing import Seen
from vmail_hardware.latency.figures import LatencyError
from vmail_hardware.latency.stepping import WATCH_S, Step

RESTING_S = 0.3  # of pictures before a step and at its end that are averaged
SHIFTS_S = np.arange(-0.3, 0.6, 0.001)
LEAST_CHANGE, LEAST_OVER_NOISE = 100.0, 5.0  # squared grey levels over all pixels, and by what noise alone would be
MOST_OFF = 0.2  # RMS distance of the pictures' shares to the joint's
LEAST_GOOD = 0.5  # share of the steps that must be seen well
AS_GOOD = 0.02  # RMS distance by which a shift may be worse than the best and still be as likely


@dataclasses.dataclass(frozen=True)
class PictureDelay:
    """Seconds by all steps together, and by each that was seen well."""

    together: float
    each: list[float]


def picture_delay(steps: list[Step], seen: list[Seen], source: str, joint: str) -> PictureDelay:
    """How late pictures are.

    Args:
        steps: of the joint.
        seen: pictures, kept, from before the first step until after the last.
        source, joint: for messages.

    Raises:
        LatencyError: the joint's motion is not seen, or other motion is.
    """
    found = [_distances(step, seen) for step in steps]
    good = [off for off in found if off is not None and off.min() < MOST_OFF]
    if len(good) >= LEAST_GOOD * len(steps):
        together = np.mean(np.square(good), axis=0)
        return PictureDelay(_best(np.sqrt(together)), [_best(off) for off in good])
    if sum(off is None for off in found) > (len(steps) - len(good)) / 2:
        raise LatencyError(
            f"{source} does not show that {joint} moves: point it at the joint, light it, keep all else still, move "
            "another joint with --move JOINT, or make the --step longer"
        )
    raise LatencyError(
        f"pictures of {source} do not follow {joint}: nothing else may move in them, and they must come in time; "
        "`vmail doctor --camera` looks at the camera"
    )


def _distances(step: Step, seen: list[Seen]) -> np.ndarray | None:
    """RMS distance of the pictures' shares of a step to the joint's, by shift (SHIFTS_S); None if no motion is seen."""
    end = step.written + WATCH_S
    during = [picture for picture in seen if step.written - RESTING_S < picture.stamp <= end]
    stamps = np.array([picture.stamp for picture in during])
    first, last = stamps <= step.written, stamps > end - RESTING_S
    if min(first.sum(), last.sum()) < 2:
        return np.full(SHIFTS_S.shape, np.inf)
    pictures = np.stack([picture.grey for picture in during if picture.grey is not None]).reshape(len(during), -1)
    before, after = pictures[first].mean(axis=0), pictures[last].mean(axis=0)
    change = after - before
    strength = float(change @ change)
    noise = sum(float(pictures[part].var(axis=0, ddof=1).sum()) / int(part.sum()) for part in (first, last))
    if strength < max(LEAST_CHANGE, LEAST_OVER_NOISE * noise):
        return None
    shown = (pictures - before) @ change / strength
    joint = (step.positions - step.before) / (step.after - step.before)
    moments = stamps[None, :] - SHIFTS_S[:, None]
    return np.sqrt(np.mean((np.interp(moments, step.times, joint) - shown) ** 2, axis=1))


def _best(off: np.ndarray) -> float:
    """The shift in the middle of those that fit as well as the best."""
    return float(SHIFTS_S[off <= off.min() + AS_GOOD].mean())
