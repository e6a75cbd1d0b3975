"""Distributions of the latent state's sample: Gaussian (Dreamer, the paper) or categorical (DreamerV2, V3).

Both are told by two tensors, `mean` and `std` of a `Latent`: a Gaussian by these, categories by their probabilities and
the logarithms of these.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vmail_core.models.precision import widen

UNIMIX = 0.01
"""Share of a uniform distribution in every categorical one (DreamerV3): no probability and no KL gets out of hand."""


class Distribution(Protocol):
    """What the recurrent model needs of a distribution over Z numbers."""

    size: int  # Z
    raw_size: int  # what a network gives for it

    def statistics(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The two tensors (..., Z) that tell it, from a network's output (..., raw_size)."""
        ...

    def noise(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What `draw` needs, (*shape, Z), of the device and dtype of `like`; by default from torch's own generator."""
        ...

    def draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """A sample (..., Z) with gradients to the statistics."""
        ...

    def mode(self, mean: Tensor, std: Tensor) -> Tensor:
        """The most likely sample (..., Z)."""
        ...

    def kl(self, mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
        """KL in nats to another of its kind, summed over the last dimension."""
        ...


class Gaussian:
    """Z independent Gaussians with standard deviations above `min_std`."""

    def __init__(self, size: int, min_std: float) -> None:
        """See the class."""
        self.size, self.raw_size, self.min_std = size, 2 * size, min_std

    def statistics(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation."""
        mean, raw_std = widen(raw).chunk(2, -1)
        return mean, F.softplus(raw_std) + self.min_std

    def noise(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal."""
        return torch.randn(*shape, self.size, device=like.device, dtype=like.dtype, generator=generator)

    def draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Reparametrised."""
        return mean + std * noise

    def mode(self, mean: Tensor, std: Tensor) -> Tensor:
        """The mean."""
        return mean

    def kl(self, mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
        """In closed form."""
        ratio = (std / other_std).square()
        distance = ((mean - other_mean) / other_std).square()
        return 0.5 * (ratio + distance - 1.0 - ratio.log()).sum(-1)


class Categorical:
    """Variables of `classes` classes each, as one-hot vectors one after the other: Z = variables x classes."""

    def __init__(self, variables: int, classes: int) -> None:
        """See the class."""
        self._shape = (variables, classes)
        self.size = self.raw_size = variables * classes

    def statistics(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and their logarithms."""
        logits = widen(raw).unflatten(-1, self._shape)
        probabilities = (1.0 - UNIMIX) * logits.softmax(-1) + UNIMIX / self._shape[1]
        return probabilities.flatten(-2), probabilities.log().flatten(-2)

    def noise(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Gumbel noise: added to logarithms, it makes the largest of them a sample."""
        uniform = torch.rand(*shape, self.size, device=like.device, dtype=like.dtype, generator=generator)
        tiny = torch.finfo(like.dtype).tiny
        return -(-uniform.clamp(min=tiny).log()).clamp(min=tiny).log()

    def draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """One-hot, with the probabilities' gradients passed straight through."""
        return self._one_hot(std + noise).detach() + mean - mean.detach()

    def mode(self, mean: Tensor, std: Tensor) -> Tensor:
        """The likeliest class of each variable."""
        return self._one_hot(std)

    def kl(self, mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
        """Summed over classes and variables."""
        return (mean * (std - other_std)).sum(-1)

    def _one_hot(self, score: Tensor) -> Tensor:
        of_classes = score.unflatten(-1, self._shape)
        return (of_classes >= of_classes.amax(-1, keepdim=True)).to(score.dtype).flatten(-2)
