"""Actor, critic and discriminator: small networks on the latent state z."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmail_core.models.mlp import mlp
from vmail_core.models.precision import widen


class Actor(nn.Module):
    """Policy pi(a | z): a Gaussian squashed by tanh (Dreamer), (..., F) to actions (..., A) in [-1, 1]."""

    def __init__(
        self, feature_size: int, action_size: int, units: int, layers: int, init_std: float, min_std: float, norm: bool
    ) -> None:
        """`init_std` is the Gaussian's standard deviation before tanh at the start; 5 in the paper's code."""
        super().__init__()
        self.network = mlp(feature_size, units, layers, 2 * action_size, norm=norm)
        self.min_std = min_std
        self.raw_init_std = math.log(math.expm1(init_std))

    def distribution(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std before tanh. The mean is softly kept within 5, where tanh still has a gradient."""
        mean, raw_std = widen(self.network(feature)).chunk(2, -1)
        return 5.0 * torch.tanh(mean / 5.0), F.softplus(raw_std + self.raw_init_std) + self.min_std

    def forward(self, feature: Tensor) -> Tensor:
        """A sample with gradients through it."""
        mean, std = self.distribution(feature)
        return torch.tanh(mean + std * torch.randn_like(std))

    def sample(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(..., F) to a sample (..., A) and its surprisal (...), -log pi(a | z) in nats: its mean is the entropy."""
        mean, std = self.distribution(feature)
        noise = torch.randn_like(std)
        raw = mean + std * noise
        # log(1 - tanh(x)^2), the change of volume, in a form that is finite far out (Haarnoja et al. 2018, appendix C).
        volume = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
        surprisal = 0.5 * noise.square() + std.log() + 0.5 * math.log(2.0 * math.pi) + volume
        return torch.tanh(raw), surprisal.sum(-1)

    def mode(self, feature: Tensor) -> Tensor:
        """The action without noise: tanh of the mean."""
        return torch.tanh(self.distribution(feature)[0])


class Critic(nn.Module):
    """Value V(z) of Eq. 8: (..., F) to (...)."""

    def __init__(self, feature_size: int, units: int, layers: int, norm: bool) -> None:
        """A plain network."""
        super().__init__()
        self.network = mlp(feature_size, units, layers, 1, norm=norm)

    def forward(self, feature: Tensor) -> Tensor:
        """Expected return from each state."""
        return widen(self.network(feature)).squeeze(-1)


class Discriminator(nn.Module):
    """D(z, a) of Eq. 6: (..., F), (..., A) to the logit (...) of 'an expert did this'."""

    def __init__(self, feature_size: int, action_size: int, units: int, layers: int, norm: bool = False) -> None:
        """A plain network."""
        super().__init__()
        self.network = mlp(feature_size + action_size, units, layers, 1, norm=norm)

    def forward(self, feature: Tensor, action: Tensor) -> Tensor:
        """Logit; D itself is its sigmoid."""
        return widen(self.network(torch.cat([feature, action], -1))).squeeze(-1)
