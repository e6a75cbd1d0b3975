"""Running means of weights: what is scored and deployed where `train.average` asks for it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class RunningMean(nn.Module):
    """An exponential mean of a module's weights that is short at first, lest early weights stay in it for long."""

    n_averaged: Tensor

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Begins with a copy of `module`; `decay` is the share of the mean that an update keeps, in the long run."""
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay = decay
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the present weights in. Nothing here waits for the device."""
        means: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(module.parameters())
        torch._foreach_lerp_(means, current, [1.0 - self.kept()] * len(means))
        self.n_averaged += 1

    def kept(self) -> Tensor:
        """Share of the mean that the coming update keeps: of n weights so far (1 + n) / (10 + n), at most the decay."""
        count = self.n_averaged.float()
        return ((1.0 + count) / (10.0 + count)).clamp(max=self._decay) * (count > 0)
