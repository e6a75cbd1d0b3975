"""V-MAIL's update written straightforwardly in eager torch: what the learner's speed is measured against.

The same networks and sizes as `vmail_core.learners.vmail`, written as one would from the paper, and as Dreamer's code
is: pictures encoded and decoded at once, a loop over time with whole cells between, demonstrations and practice in two
passes, standard layouts and Adam. Every frame is decoded, also where the preset decodes a share: that choice is part of
the ratio. What costs no time is left out (noise on latents, normalised returns, other rewards than the logit, the
encoder of joint angles).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmail_core.learners.config import Config
from vmail_core.learners.equations import advantage_weights, input_penalty, lambda_returns
from vmail_core.models.distributions import Gaussian
from vmail_core.models.heads import Actor, Critic, Discriminator
from vmail_core.models.mlp import mlp
from vmail_core.models.vision import make_vision


class EagerVMAIL:
    """One update, as plainly as it can be said."""

    def __init__(self, config: Config, action_size: int, device: str = "cpu") -> None:
        """Networks of the sizes in `config`."""
        m, d, p = config.model, config.discriminator, config.policy
        self.config, self.device = config, torch.device(device)
        self.encoder, embed, make_decoder = make_vision(m.vision, m.image_size, m.depth)
        size = m.deter + m.stoch
        self.decoder = make_decoder(size)
        self.embed_in = nn.Linear(m.stoch + action_size, m.hidden)
        self.cell = nn.GRUCell(m.hidden, m.deter)
        self.prior = nn.Sequential(nn.Linear(m.deter, m.hidden), nn.ELU(), nn.Linear(m.hidden, 2 * m.stoch))
        self.posterior = nn.Sequential(nn.Linear(m.deter + embed, m.hidden), nn.ELU(), nn.Linear(m.hidden, 2 * m.stoch))
        self.joints = mlp(size, m.hidden, 1, action_size)
        self.model = nn.ModuleList(
            [self.encoder, self.decoder, self.embed_in, self.cell, self.prior, self.posterior, self.joints]
        ).to(device)
        self.discriminator = Discriminator(size, action_size, d.units, d.layers, d.norm).to(device)
        self.actor = Actor(size, action_size, p.units, p.actor_layers, p.init_std, p.min_std, p.norm).to(device)
        self.critic = Critic(size, p.units, p.critic_layers, p.norm).to(device)
        rates = {"model": m.learning_rate, "discriminator": d.learning_rate, "actor": p.learning_rate}
        self.optimisers = {
            name: torch.optim.Adam(getattr(self, name).parameters(), rate)
            for name, rate in (rates | {"critic": p.learning_rate}).items()
        }

    def update(
        self,
        image: np.ndarray | Tensor,
        action: np.ndarray | Tensor,
        demo_count: int,
        joint_positions: np.ndarray | Tensor | None = None,
        expert: object = None,
    ) -> None:
        """See `VMAIL.update`. The expert's own batch is left alone, which is in favour of this implementation."""
        pixels = torch.as_tensor(image, device=self.device).movedim(-1, -3).float() / 255.0 - 0.5
        actions = torch.as_tensor(action, device=self.device)
        joints = None if joint_positions is None else torch.as_tensor(joint_positions, device=self.device)
        parts = (slice(0, demo_count), slice(demo_count, None))
        passes = [
            self.learn_from(pixels[:, part], actions[:, part], None if joints is None else joints[:, part])
            for part in parts
        ]
        (demo_loss, _), (practice_loss, _) = passes
        self._step("model", (demo_loss + practice_loss) / 2)
        demo, practice = (states.detach() for _, states in passes)
        self.learn_behaviour(demo, practice, actions, demo_count)

    def learn_from(self, pixels: Tensor, actions: Tensor, joints: Tensor | None) -> tuple[Tensor, Tensor]:
        """Eq. 7 on one kind of chunk; returns the loss and the features (L, B, Z + D)."""
        m = self.config.model
        deter = pixels.new_zeros(pixels.shape[1], m.deter)
        stoch = pixels.new_zeros(pixels.shape[1], m.stoch)
        states, divergence = [], []
        embeds = self.encoder(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        for embed, action in zip(embeds, actions, strict=True):
            deter = self.remember(deter, stoch, action)
            prior = self._gaussian(self.prior(deter))
            belief = self._gaussian(self.posterior(torch.cat([deter, embed], -1)))
            stoch = belief[0] + belief[1] * torch.randn_like(belief[1])
            divergence.append(self._balanced(belief, prior))
            states.append(torch.cat([stoch, deter], -1))
        feature = torch.stack(states)
        shown = self.decoder(feature.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        pixel_loss = 0.5 * (shown - pixels).square().sum((-1, -2, -3)).mean()
        kl = torch.stack(divergence).mean().clamp(min=m.free_nats)
        loss = m.pixel_scale * pixel_loss + m.kl_scale * kl
        if joints is not None and m.joint_scale:
            loss = loss + m.joint_scale * 0.5 * (self.joints(feature) - joints).square().sum(-1).mean()
        return loss, feature

    def remember(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """The next memory."""
        return self.cell(F.elu(self.embed_in(torch.cat([stoch, action], -1))), deter)

    def _gaussian(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = raw.chunk(2, -1)
        return mean, F.softplus(std) + self.config.model.min_std

    def _balanced(self, belief: tuple[Tensor, Tensor], prior: tuple[Tensor, Tensor]) -> Tensor:
        share, kl = self.config.model.kl_balance, Gaussian(0, 0.0).kl
        if share is None:
            return kl(*belief, *prior)
        to_prior = kl(belief[0].detach(), belief[1].detach(), *prior)
        return share * to_prior + (1.0 - share) * kl(*belief, prior[0].detach(), prior[1].detach())

    def learn_behaviour(self, demo: Tensor, practice: Tensor, actions: Tensor, demo_count: int) -> None:
        """Eq. 6 and Eq. 8."""
        d, p = self.config.discriminator, self.config.policy
        starts = torch.cat([demo[:-1].flatten(0, 1), practice[:-1].flatten(0, 1)])
        if p.imagine_from is not None:
            starts = starts[torch.randperm(len(starts))[: p.imagine_from]]
        features, imagined = self.imagine(starts)
        expert = (demo[:-1].flatten(0, 1), actions[1:, :demo_count].flatten(0, 1))
        agent = (features[:-1].detach().flatten(0, 1), imagined.detach().flatten(0, 1))
        loss = F.softplus(-self.discriminator(*expert)).mean() + F.softplus(self.discriminator(*agent)).mean()
        if d.penalty == "input":
            loss = loss + d.penalty_weight * input_penalty(self.discriminator, expert, agent)
        self._step("discriminator", loss)
        reward, value = self.discriminator(features[:-1], imagined), self.critic(features)
        returns = lambda_returns(reward, value, p.discount, p.trace)
        loss = -p.imitation * returns.mean()
        if p.cloning:
            loss = loss + p.cloning * (self.actor(expert[0]) - expert[1]).square().sum(-1).mean()
        if p.self_imitation:
            own = actions[1:, demo_count:]
            with torch.no_grad():
                real, judged = self.discriminator(practice[:-1], own), self.critic(practice)
                weight = advantage_weights(real, judged, p.discount, p.trace, p.self_imitation_temperature)
            loss = loss + p.self_imitation * (weight * (self.actor(practice[:-1]) - own).square().sum(-1)).mean()
        self._step("actor", loss)
        value = self.critic(features[:-1].detach())
        self._step("critic", 0.5 * (value - returns.detach()).square().mean())

    def imagine(self, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Roll the policy out in the model: features (H + 1, N, F) and actions (H, N, A)."""
        stoch, deter = starts.split([self.config.model.stoch, self.config.model.deter], -1)
        features, actions = [starts], []
        for _ in range(self.config.policy.horizon):
            action = self.actor(features[-1].detach())
            deter = self.remember(deter, stoch, action)
            mean, std = self._gaussian(self.prior(deter))
            stoch = mean + std * torch.randn_like(std)
            features.append(torch.cat([stoch, deter], -1))
            actions.append(action)
        return torch.stack(features), torch.stack(actions)

    def _step(self, name: str, loss: Tensor) -> None:
        module: nn.Module = getattr(self, name)
        self.optimisers[name].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), self.config.train.gradient_clip)
        self.optimisers[name].step()
