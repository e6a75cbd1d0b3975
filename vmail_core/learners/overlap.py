"""Policy, critic and discriminator learn in a thread of their own, while the model learns from the next batch.

The model waits for nothing that they learn: of Algorithm 1, line 13 of an update needs none of lines 15 to 19 of the
one before. So a processor's second core can work on those, with the same result to the last digit: they imagine with a
copy of the weights that the model had after their own update, and draw from another generator than the model does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

from vmail_core.models import RSSM

Report = dict[str, Tensor]


class Overlap:
    """One update's lines 15 to 19, behind the caller.

    Attributes:
        rssm: what they imagine with; it gets no gradient.
    """

    def __init__(self, rssm: RSSM) -> None:
        """`rssm` is the model's own."""
        self.rssm = copy.deepcopy(rssm).requires_grad_(False)
        self._weights: list[Tensor] = list(rssm.parameters())
        self._copies: list[Tensor] = list(self.rssm.parameters())
        self._thread = ThreadPoolExecutor(1, "behaviour")
        self._in_flight: Future[Report] | None = None

    def begin(self, learn: Callable[[], Report]) -> None:
        """Begin to `learn`, with the model's weights of now; only when nothing is in flight."""
        assert self._in_flight is None, "finish what is in flight first"
        with torch.no_grad():
            torch._foreach_copy_(self._copies, self._weights)
        self._in_flight = self._thread.submit(learn)

    def finish(self) -> Report:
        """Wait for what is in flight, and return its report: empty where nothing is. Raises what it raised."""
        if self._in_flight is None:
            return {}
        wait([self._in_flight])  # an interruption here leaves it in flight
        job, self._in_flight = self._in_flight, None
        return job.result()
