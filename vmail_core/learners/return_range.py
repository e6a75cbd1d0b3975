"""Return normalisation (DreamerV3, Hafner et al. 2023): the spread of imagined returns, followed over updates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAY = 0.99
LOW, HIGH = 0.05, 0.95  # quantiles: a few outliers change nothing
SMALLEST = 1.0  # returns that hardly differ are not blown up


class ReturnRange(nn.Module):
    """Running distance between the 5 % and 95 % quantiles of returns; part of checkpoints."""

    value: Tensor
    _quantiles: Tensor

    def __init__(self) -> None:
        """Begins with the first batch."""
        super().__init__()
        self.register_buffer("value", torch.full((), torch.nan))
        self.register_buffer("_quantiles", torch.tensor([LOW, HIGH]), persistent=False)

    def forward(self, returns: Tensor) -> Tensor:
        """Take in returns of any shape, without history; gives the present range, at least 1."""
        low, high = torch.quantile(returns.flatten().float(), self._quantiles.float())
        new = high - low
        self.value.copy_(torch.where(self.value.isnan(), new, DECAY * self.value + (1.0 - DECAY) * new))
        return self.value.clamp(min=SMALLEST)
