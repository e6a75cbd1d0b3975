"""Random shifts of pictures (DrQ, Kostrikov et al. 2020), against learning a few demonstrations by heart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shift_chunks(pixels: Tensor, most: int) -> Tensor:
    """Shift chunks (L, B, C, S, S) by up to `most` pixels each way, edges repeated; a chunk's frames all alike.

    Motion within a chunk stays what it was.
    """
    size = pixels.shape[-1]
    padded = F.pad(pixels.flatten(0, 1), (most,) * 4, mode="replicate").unflatten(0, pixels.shape[:2])
    corners = torch.randint(0, 2 * most + 1, (pixels.shape[1], 2)).tolist()
    chunks = [padded[:, i, :, y : y + size, x : x + size] for i, (y, x) in enumerate(corners)]
    return torch.stack(chunks, 1)
