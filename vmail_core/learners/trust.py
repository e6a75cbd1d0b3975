"""How far the world model's imagination may be believed: its open-loop errors on takes, k steps ahead.

From many starts in each take the belief, which has seen the take so far, is carried on by the forward model with the
recorded actions alone, and compared with what came. Four baselines say what an error is worth:

* still: the picture (or the joint angles) at the start stay as they are;
* average: always the take's average picture, or average joint angles;
* frozen: the belief at the start stays as it is, read out by the decoder (or the joint head);
* floor: the belief that has seen the very frame, read out. No prediction is expected to be better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmail_core.episodes.replay import Rows
from vmail_core.learners.open_loop import believe, foretell, grey_levels
from vmail_core.models import Latent, WorldModel

CONTEXT = 5  # pictures that a belief has seen before anything is foretold from it
STEPS = 30
STARTS = 50  # a take
BELIEVED = 0.7  # of `missed_share`: below what a prediction of the average would miss


class Curves(NamedTuple):
    """Errors of one quantity 1 to K steps ahead, (K,) each: root mean square over starts and pixels, or joints."""

    predicted: np.ndarray
    still: np.ndarray
    average: np.ndarray
    frozen: np.ndarray
    floor: np.ndarray


@dataclasses.dataclass(frozen=True)
class OpenLoopErrors:
    """What was measured from `starts` frames, 1 to K steps ahead.

    Attributes:
        starts: how many.
        pixels: in grey levels, 0 to 255.
        joints: in rad; None where the model has no joint head, or a take no joint angles.
        kl: (K,) nats from the belief that has seen the frame to the foretold one, mean over starts.
    """

    starts: int
    pixels: Curves
    joints: Curves | None
    kl: np.ndarray


@torch.no_grad()
def open_loop_errors(
    model: WorldModel, take: Rows, steps: int = STEPS, context: int = CONTEXT, starts: int = STARTS
) -> OpenLoopErrors:
    """Measure the model on one take that it did not learn from. Samples nothing.

    Args:
        model: the world model.
        take: images (T, S, S, 3) uint8 at the model's size, actions (T, A) float32, perhaps joint angles (T, J)
            float32 rad; T is at least context + steps.
        steps: K, how far ahead.
        context: how many pictures the belief has seen at the first start, at least one.
        starts: at most so many, evenly spread over the frames that K more follow.
    """
    begin = _starts(len(take.action), steps, context, starts)
    ahead = begin + np.arange(1, steps + 1)[:, None]  # (K, starts): the row that is foretold
    felt = None if take.joint_positions is None else take.joint_positions[:, None]
    beliefs = Latent(*(part[:, 0] for part in believe(model, take.image[:, None], take.action[:, None], felt)))
    course = foretell(model, beliefs.select(torch.from_numpy(begin)), take.action[ahead])
    came = beliefs.select(torch.from_numpy(ahead))

    def curves(read_out: Callable[[Latent], Tensor], truth: np.ndarray) -> Curves:
        """`read_out` takes latents (N, ...), up to `starts` at once, to what `truth` (T, ...) has a row of a frame."""
        own = np.concatenate([_numpy(read_out(Latent(*part))) for part in zip(*(p.split(starts) for p in beliefs))])
        rows = []
        for k, row in enumerate(ahead):
            predicted = _numpy(read_out(Latent(*(part[k] for part in course))))
            guesses = (predicted, truth[begin], truth.mean(0), own[begin], own[row])
            rows.append([_rms(guess - truth[row]) for guess in guesses])
        return Curves(*np.array(rows).T)

    joints, head = None, model.joint_head
    if head is not None and take.joint_positions is not None:
        joints = curves(lambda latents: head(latents.feature), take.joint_positions)
    pixels = np.moveaxis(take.image, -1, -3).astype(np.float32)
    return OpenLoopErrors(
        starts=len(begin),
        pixels=curves(lambda latents: grey_levels(model, latents), pixels),
        joints=joints,
        kl=_numpy(model.rssm.distribution.kl(came.mean, came.std, course.mean, course.std).mean(1)),
    )


def pooled(takes: Sequence[OpenLoopErrors]) -> OpenLoopErrors:
    """All starts of all takes in one. Joints are there only if every take has them."""
    starts = [take.starts for take in takes]

    def mean(rows: Sequence[np.ndarray]) -> np.ndarray:
        return np.average(np.stack(rows), axis=0, weights=starts)

    def pool(curves: Sequence[Curves]) -> Curves:
        return Curves(*(np.sqrt(mean([part**2 for part in parts])) for parts in zip(*curves, strict=True)))

    joints = [take.joints for take in takes if take.joints is not None]
    return OpenLoopErrors(
        starts=sum(starts),
        pixels=pool([take.pixels for take in takes]),
        joints=pool(joints) if len(joints) == len(takes) else None,
        kl=mean([take.kl for take in takes]),
    )


def missed_share(curves: Curves) -> np.ndarray:
    """How much of what changes within k steps the model fails to foretell, (K,): 0 none, 1 as much as a frozen belief.

    Both errors, of the prediction and of the frozen belief, are counted beyond the floor, which is the read-out's and
    not the prediction's. What changes is the most up to k, lest motion that comes back to where it was count as none.
    Where the world never stops changing, foretelling its average misses about 1 / sqrt(2). Infinite where nothing
    changes beyond the floor and the prediction is worse than it.
    """
    error, change = (np.maximum(part**2 - curves.floor**2, 0.0) for part in (curves.predicted, curves.frozen))
    change = np.maximum.accumulate(change)
    share = np.where(error > 0.0, np.inf, 0.0)
    np.divide(error, change, out=share, where=change > 0.0)
    return np.sqrt(share)


def leading(held: np.ndarray) -> int:
    """How many steps ahead something holds without a break: (K,) bool to 0 ... K."""
    return len(held) if held.all() else int(np.argmin(held))


def trust_horizon(curves: Curves, believed: float = BELIEVED) -> int:
    """Up to how many steps ahead the model may be believed: 0 to K, where K means K or more.

    Up to there it misses less than the share `believed` of what changes, and it is better than the average: a belief
    that sees nothing misses nothing of what it sees. Where nothing moves there is nothing to believe.
    """
    return leading((missed_share(curves) < believed) & (curves.predicted < curves.average))


def _starts(rows: int, steps: int, context: int, most: int) -> np.ndarray:
    """Rows to foretell from, at most `most`."""
    last = rows - 1 - steps
    assert 0 < context <= last + 1, f"a take of {rows} rows is too short for {context} pictures and {steps} steps"
    return np.unique(np.linspace(context - 1, last, most).round().astype(np.int64))


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.square(difference, dtype=np.float64).mean()))
