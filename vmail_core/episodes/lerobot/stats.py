"""The statistics that lerobot's policies normalise with, of all rows exactly rather than of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
LEVELS = np.arange(256) / 255
"""Pictures count from 0 to 1 there."""

Stats = dict[str, Any]
"""Name of a statistic to nested lists: (D,) for a vector, (3, 1, 1) for pictures."""


def of_rows(values: np.ndarray) -> Stats:
    """Of numbers or truths (T, D)."""
    numbers = values.astype(np.float64)
    found = {"min": values.min(0), "max": values.max(0), "mean": numbers.mean(0), "std": numbers.std(0)}
    found |= {name: np.quantile(numbers, share, axis=0) for name, share in QUANTILES.items()}
    return {name: array.tolist() for name, array in found.items()} | {"count": [len(values)]}


def histogram(images: np.ndarray) -> np.ndarray:
    """How often each level occurs in each channel of pictures (T, H, W, 3) uint8: (3, 256) int64."""
    return np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)])


def of_histogram(counts: np.ndarray, frames: int) -> Stats:
    """Of all pixels of `frames` pictures, from how often each level occurs (3, 256)."""
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ LEVELS
    variance = share @ LEVELS**2 - mean**2
    found = {"min": _quantile(counts, 0.0), "max": _quantile(counts, 1.0), "mean": mean}
    found |= {"std": np.sqrt(np.maximum(variance, 0.0))}
    found |= {name: _quantile(counts, share) for name, share in QUANTILES.items()}
    return {name: array[:, None, None].tolist() for name, array in found.items()} | {"count": [frames]}


def _quantile(counts: np.ndarray, share: float) -> np.ndarray:
    """(3,): the level of the pixel that this share of the others lies below."""
    wanted = share * (counts.sum(1, keepdims=True) - 1)
    return LEVELS[np.argmax(np.cumsum(counts, 1) > wanted, axis=1)]
