"""Where learning runs: the processor or a GPU, and replay that lives there too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vmail_core.episodes.replay import Arrays, Chunks, HostArrays


def choose_device(wanted: str) -> torch.device:
    """The device that `train.device` asks for; "auto" takes a GPU where there is one.

    Raises:
        ValueError: a GPU is asked for and torch finds none.
    """
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise ValueError("train.device=cuda, but torch finds no GPU: see `nvidia-smi`, or learn with train.device=cpu")
    if not found or wanted == "cpu":
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # shapes are the same at each update: the fastest convolution is found once
    return torch.device("cuda", torch.cuda.current_device())


def device_name(device: torch.device) -> str:
    """For notes: the GPU's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def arrays_on(device: torch.device) -> Arrays:
    """Replay's arrays where learning runs: 250,000 pictures of 64 px take 3.1 GB there."""
    return HostArrays() if device.type == "cpu" else DeviceArrays(device)


class DeviceArrays:
    """Replay's `Arrays` as tensors of a device."""

    def __init__(self, device: torch.device) -> None:
        """Nothing is kept yet."""
        self._device = device

    def keep(self, array: np.ndarray) -> Tensor:
        """A copy on the device."""
        return torch.tensor(array, device=self._device)

    def stack(self, parts: Sequence[Tensor]) -> Tensor:
        """See `Arrays`."""
        return torch.stack(list(parts), 1)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """See `Arrays`."""
        return torch.cat(list(parts), 1)


def on_host(chunks: Chunks) -> Chunks:
    """The same as numpy arrays."""
    return Chunks(*(part.cpu().numpy() if isinstance(part, Tensor) else part for part in chunks))


def wants_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16: as asked, or with "auto" where the processor has them in hardware."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
