"""Recurrent state-space model (Hafner et al. 2019): the belief q and the forward model T of Eq. 7.

A latent state z is a deterministic memory and a sample, Gaussian or categorical. Sequences are time-major: (L, B, ...).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmail_core.models.distributions import Categorical, Distribution, Gaussian
from vmail_core.models.precision import widen
from vmail_core.models.recurrence import FilterChunk, ImagineStep, Weights


class Latent(NamedTuple):
    """A latent state, or a sequence of them: (..., D) deter, (..., Z) stoch, and what tells the distribution of stoch.

    That is mean and std of a Gaussian, or probabilities and their logarithms of categories, (..., Z) each.
    """

    deter: Tensor
    stoch: Tensor
    mean: Tensor
    std: Tensor

    @property
    def feature(self) -> Tensor:
        """What heads see: (..., Z + D)."""
        return torch.cat([self.stoch, self.deter], -1)

    def detach(self) -> Latent:
        """The same values without their history."""
        return Latent(*(part.detach() for part in self))

    def flatten(self) -> Latent:
        """Merge all leading dimensions into one batch."""
        return Latent(*(part.reshape(-1, part.shape[-1]) for part in self))

    def select(self, index: Tensor) -> Latent:
        """Rows of a flat batch."""
        return Latent(*(part[index] for part in self))


class RSSM(nn.Module):
    """Deterministic GRU memory (D) and stochastic state (Z)."""

    def __init__(
        self,
        action_size: int,
        embed_size: int,
        deter: int,
        stoch: int,
        hidden: int,
        min_std: float,
        norm: bool = False,
        classes: int | None = None,
    ) -> None:
        """Sizes as in Dreamer; `norm` puts LayerNorm before the hidden activations.

        With `classes`, the state is `stoch` categorical variables of so many classes each; else as many Gaussians.
        """
        super().__init__()
        self.distribution: Distribution = Categorical(stoch, classes) if classes else Gaussian(stoch, min_std)
        self.deter_size, self.stoch_size, self.min_std = deter, self.distribution.size, min_std
        stoch, raw = self.distribution.size, self.distribution.raw_size
        self.embed_in = nn.Linear(stoch + action_size, hidden)
        self.cell = nn.GRUCell(hidden, deter)
        self.prior_hidden = nn.Linear(deter, hidden)
        self.prior_out = nn.Linear(hidden, raw)
        # The posterior's first layer is split in two, so that the image's half is computed for all times at once.
        self.posterior_deter = nn.Linear(deter, hidden)
        self.posterior_embed = nn.Linear(embed_size, hidden, bias=False)
        self.posterior_out = nn.Linear(hidden, raw)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) if norm else nn.Identity() for _ in range(3))

    @property
    def feature_size(self) -> int:
        """Length of `Latent.feature`."""
        return self.deter_size + self.stoch_size

    def initial(self, batch: int) -> Latent:
        """The empty belief that every chunk starts from: zeros."""
        deter = self.cell.weight_hh.new_zeros(batch, self.deter_size)
        stoch = self.cell.weight_hh.new_zeros(batch, self.stoch_size)
        return Latent(deter, stoch, stoch, torch.ones_like(stoch))

    def remember(self, previous: Latent, action: Tensor) -> Tensor:
        """The next memory (B, D) after `action` (B, A) in `previous`."""
        hidden = F.elu(self.norms[0](self.embed_in(torch.cat([previous.stoch, action], -1))))
        return gru_step(self.cell, hidden, previous.deter)

    def prior(self, deter: Tensor) -> tuple[Tensor, Tensor]:
        """What tells the forward model T(z_t | z_{t-1}, a_{t-1}), from the memory (..., D)."""
        return self.distribution.statistics(self.prior_out(F.elu(self.norms[1](self.prior_hidden(deter)))))

    def posterior(self, deter: Tensor, projected_embed: Tensor) -> tuple[Tensor, Tensor]:
        """What tells the belief q(z_t | x_t, z_{t-1}, a_{t-1}); `projected_embed` comes from `posterior_embed`."""
        hidden = F.elu(self.norms[2](self.posterior_deter(deter) + projected_embed))
        return self.distribution.statistics(self.posterior_out(hidden))

    def _state(self, deter: Tensor, mean: Tensor, std: Tensor, sample: bool) -> Latent:
        stoch = self.distribution
        if not sample:
            return Latent(deter, stoch.mode(mean, std), mean, std)
        return Latent(deter, stoch.draw(mean, std, stoch.noise(mean.shape[:-1], mean)), mean, std)

    def imagine_step(self, previous: Latent, action: Tensor, sample: bool = True) -> Latent:
        """One step of the forward model, by default sampled with gradients through the sample; else its mode."""
        if sample and self._written_out and not self.embed_in.weight.requires_grad:
            noise, weights = torch.randn_like(previous.stoch), self._weights(self.prior_hidden, self.prior_out)
            with torch.autocast(action.device.type, enabled=False):
                into = self._action_part(widen(action))
                return Latent(*ImagineStep.apply(previous.deter, previous.stoch, into, noise, self.min_std, *weights))
        deter = self.remember(previous, action)
        return self._state(deter, *self.prior(deter), sample)

    def filter_step(self, previous: Latent, action: Tensor, embed: Tensor, sample: bool = True) -> Latent:
        """One step of the belief: `action` (B, A) led to the image with embedding `embed` (B, E)."""
        deter = self.remember(previous, action)
        return self._state(deter, *self.posterior(deter, self.posterior_embed(embed)), sample)

    def observe(
        self, embed: Tensor, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Latent, tuple[Tensor, Tensor]]:
        """Filter a batch of chunks: (L, B, E), (L, B, A) to beliefs (L, B, ...) and what tells the prior.

        Noise comes from `generator`, or torch's own.
        """
        noise = self.distribution.noise(action.shape[:2], action, generator)
        shift = self.posterior_embed(embed)
        beliefs = (
            self._filter_written_out(shift, action, noise) if self._written_out else self._filter(shift, action, noise)
        )
        return beliefs, self.prior(beliefs.deter)

    def _filter(self, shift: Tensor, action: Tensor, noise: Tensor) -> Latent:
        """The filter's loop, plainly; `shift` is what `posterior` takes of the pictures."""
        state, states = self.initial(action.shape[1]), []
        for t in range(len(action)):
            deter = self.remember(state, action[t])
            mean, std = self.posterior(deter, shift[t])
            state = Latent(deter, self.distribution.draw(mean, std, noise[t]), mean, std)
            states.append(state)
        return Latent(*(torch.stack(parts) for parts in zip(*states, strict=True)))

    def _filter_written_out(self, shift: Tensor, action: Tensor, noise: Tensor) -> Latent:
        """The same, with its backward pass written out."""
        weights = self._weights(self.posterior_deter, self.posterior_out)
        with torch.autocast(action.device.type, enabled=False):
            return Latent(*FilterChunk.apply(self._action_part(action), widen(shift), noise, self.min_std, *weights))

    @property
    def _written_out(self) -> bool:
        """Whether the recurrences of recurrence.py do for this model: they know Gaussians and no normalisation."""
        return isinstance(self.norms[0], nn.Identity) and isinstance(self.distribution, Gaussian)

    def _action_part(self, action: Tensor) -> Tensor:
        """What the action adds to the memory's input (..., H), with the bias."""
        return F.linear(action, self.embed_in.weight[:, self.stoch_size :], self.embed_in.bias)

    def _weights(self, hidden: nn.Linear, out: nn.Linear) -> Weights:
        cell = self.cell
        return Weights(
            self.embed_in.weight[:, : self.stoch_size],
            cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh,
            hidden.weight, hidden.bias, out.weight, out.bias,
        )  # fmt: skip


def gru_step(cell: nn.GRUCell, inputs: Tensor, memory: Tensor) -> Tensor:
    """`cell(inputs, memory)`, with its matrix products in the precision of autocast and the memory in float32."""
    reset_in, update_in, new_in = widen(F.linear(inputs, cell.weight_ih, cell.bias_ih)).chunk(3, -1)
    reset_mem, update_mem, new_mem = widen(F.linear(memory, cell.weight_hh, cell.bias_hh)).chunk(3, -1)
    reset = torch.sigmoid(reset_in + reset_mem)
    update = torch.sigmoid(update_in + update_mem)
    candidate = torch.tanh(new_in + reset * new_mem)
    return candidate + update * (memory - candidate)
