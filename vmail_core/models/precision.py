"""Precision: matrix products may run in bfloat16 under autocast; everything that is summed or sampled may not."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """`x` in float32 if it is narrower, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
