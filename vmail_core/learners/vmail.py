"""V-MAIL: the update of Algorithm 1, lines 11 to 19.

One call of `VMAIL.update` learns the model (Eq. 7), the discriminator (Eq. 6), then policy and critic (Eq. 8)
from one batch. The loop around it is in `train.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vmail_core.learners import equations as eq
from vmail_core.learners.acting import new_actor, new_model
from vmail_core.learners.config import Config
from vmail_core.learners.return_range import ReturnRange
from vmail_core.models import Actor, Critic, Discriminator, Latent, WorldModel, preprocess


class VMAIL(nn.Module):
    """World model, discriminator, actor and critic with their optimisers."""

    def __init__(self, config: Config, action_size: int, device: str = "cpu") -> None:
        """Build all networks from `config` on `device`."""
        super().__init__()
        self.config, self.action_size = config, action_size
        m, d, p = config.model, config.discriminator, config.policy
        self.model = new_model(config, action_size)
        size = self.model.feature_size
        self.discriminator = Discriminator(size, action_size, d.units, d.layers, d.norm)
        self.actor = new_actor(config, action_size, size)
        self.critic = Critic(size, p.units, p.critic_layers, p.norm)
        self.return_range = ReturnRange()
        self.to(device)
        self.device = torch.device(device)
        self._reduced = wants_bfloat16(config.train.precision, self.device)
        average = running_mean(config.train.average)
        self._averages = [
            AveragedModel(module, multi_avg_fn=average) for module in (self.model, self.actor) if config.train.average
        ]
        self._averaged = nn.ModuleList(self._averages)  # for checkpoints to hold
        self.optimisers = {
            "model": self._adam(self.model, m.learning_rate),
            "discriminator": self._adam(self.discriminator, d.learning_rate),
            "actor": self._adam(self.actor, p.learning_rate),
            "critic": self._adam(self.critic, p.learning_rate),
        }

    @property
    def deployed(self) -> tuple[WorldModel, Actor]:
        """The model and actor that are scored and exported: running means where `train.average` asks for them."""
        if not self._averages:
            return self.model, self.actor
        model, actor = (average.module for average in self._averages)
        return cast(WorldModel, model), cast(Actor, actor)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._reduced)

    def _adam(self, module: nn.Module, learning_rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), learning_rate, eps=1e-7, fused=True)

    def update(
        self,
        image: np.ndarray,
        action: np.ndarray,
        demo_count: int,
        share: float = 1.0,
        joint_positions: np.ndarray | None = None,
    ) -> dict[str, Tensor]:
        """One update from chunks whose first `demo_count` are demonstrations.

        Args:
            image: (L, B, S, S, 3) uint8.
            action: (L, B, A) float32; action[t] led to image[t].
            demo_count: how many of the B chunks the expert made.
            share: of Eq. 8's weight `policy.imitation`; 0 leaves Eq. 6 and Eq. 8 out, and the policy copies the expert.
            joint_positions: (L, B, A) float32 rad at each image; needed with `model.joint_scale`.

        Returns:
            Named scalars.
        """
        assert image.dtype == np.uint8 and action.dtype == np.float32, (image.dtype, action.dtype)
        actions = torch.from_numpy(action).to(self.device)
        pixels = preprocess(torch.from_numpy(image).to(self.device))
        joints = None if joint_positions is None else torch.from_numpy(joint_positions).to(self.device)
        beliefs, report = self.learn_model(pixels, actions, joints)
        expert = (beliefs.feature[:-1, :demo_count].flatten(0, 1), actions[1:, :demo_count].flatten(0, 1))
        if not share * self.config.policy.imitation:
            report |= self._clone(expert)
        else:
            practice = (beliefs.feature[:, demo_count:], actions[1:, demo_count:])
            report |= self.learn_behaviour(self._starts(beliefs), expert, practice, share)
        for average, module in zip(self._averages, (self.model, self.actor), strict=False):
            average.update_parameters(module)
        return report

    def learn_model(
        self, pixels: Tensor, action: Tensor, joints: Tensor | None = None
    ) -> tuple[Latent, dict[str, Tensor]]:
        """Line 13: one step on Eq. 7. Returns the beliefs without history: D and policy never shape the encoder."""
        config = self.config.model
        with self._autocast():
            loss, beliefs, report = eq.eq7_model_loss(self.model, pixels, action, config, joints)
        self._step("model", loss, self.model.parameters())
        return beliefs.detach(), {name: value.detach() for name, value in report.items()}

    def learn_behaviour(
        self, starts: Latent, expert: tuple[Tensor, Tensor], practice: tuple[Tensor, Tensor], share: float = 1.0
    ) -> dict[str, Tensor]:
        """Lines 15 to 19: imagine with the policy, then one step on Eq. 6 and one on Eq. 8."""
        with frozen(self.model, self.discriminator, self.critic), self._autocast():
            features, actions = self.imagine(starts)
        agent = (features[:-1].detach().flatten(0, 1), actions.detach().flatten(0, 1))
        report = self._learn_discriminator(expert, agent)
        report |= self._learn_policy(features, actions, expert, practice, share)
        return {name: value.detach() for name, value in report.items()}

    def _starts(self, beliefs: Latent) -> Latent:
        """Every belief but the last of each chunk, or a random `imagine_from` of them."""
        starts = Latent(*(part[:-1] for part in beliefs)).flatten()
        wanted, have = self.config.policy.imagine_from, len(starts.deter)
        if wanted is None or wanted >= have:
            return starts
        return starts.select(torch.randperm(have, device=self.device)[:wanted])

    def imagine(self, starts: Latent) -> tuple[Tensor, Tensor]:
        """Line 17: roll the policy out in the forward model.

        Returns features (H + 1, N, F) and actions (H, N, A): action[t] is taken in feature[t]. The policy's input
        is cut from its history, so gradients reach it through its actions' consequences alone.
        """
        state, features, actions = starts, [starts.feature], []
        for _ in range(self.config.policy.horizon):
            action = self.actor(state.feature.detach())
            state = self.model.rssm.imagine_step(state, action)
            features.append(state.feature)
            actions.append(action)
        return torch.stack(features), torch.stack(actions)

    def _learn_discriminator(self, expert: tuple[Tensor, Tensor], agent: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        config = self.config.discriminator
        if config.input_noise:
            expert, agent = self._noisy(expert), self._noisy(agent)
        loss, report = eq.eq6_discriminator_loss(self.discriminator, expert, agent)
        if config.penalty == "parameters":
            loss = loss + config.penalty_weight * eq.parameter_penalty(self.discriminator, expert)
        elif config.penalty == "input":
            loss = loss + config.penalty_weight * eq.input_penalty(self.discriminator, expert, agent)
        self._step("discriminator", loss, self.discriminator.parameters())
        return report

    def _noisy(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        feature, action = pair
        return feature, action + self.config.discriminator.input_noise * torch.randn_like(action)

    def _learn_policy(
        self,
        features: Tensor,
        actions: Tensor,
        expert: tuple[Tensor, Tensor],
        practice: tuple[Tensor, Tensor],
        share: float,
    ) -> dict[str, Tensor]:
        config = self.config.policy
        with frozen(self.discriminator, self.critic), self._autocast():
            reward = eq.imitation_reward(self.discriminator(features[:-1], actions), config.reward)
            value = self.critic(features) if config.bootstrap else None
            returns, report = eq.eq8_policy_return(reward, value, config.discount, config.trace)
        scale = self.return_range(returns.detach()) if config.normalise else 1.0
        loss = -share * config.imitation * returns.mean() / scale
        if config.cloning:
            report["cloning_loss"] = self._cloning_loss(expert)
            loss = loss + config.cloning * report["cloning_loss"]
        if config.self_imitation and practice[1].numel():
            report["self_imitation_loss"] = self._self_imitation_loss(*practice)
            loss = loss + config.self_imitation * report["self_imitation_loss"]
        self._step("actor", loss, self.actor.parameters())
        if config.bootstrap:
            critic_loss = 0.5 * (self.critic(features[:-1].detach()) - returns.detach()).square().mean()
            self._step("critic", critic_loss, self.critic.parameters())
            report["critic_loss"] = critic_loss
        return report | {"actor_loss": loss}

    def _cloning_loss(self, expert: tuple[Tensor, Tensor]) -> Tensor:
        """Squared distance of the policy's sampled actions from the expert's on the same beliefs."""
        feature, action = expert
        if self.config.policy.cloning_noise:
            spread = self.config.policy.cloning_noise * feature.std(0, keepdim=True)
            feature = feature + spread * torch.randn_like(feature)
        return (self.actor(feature) - action).square().sum(-1).mean()

    def _self_imitation_loss(self, feature: Tensor, action: Tensor) -> Tensor:
        """Cloning of own practice, beliefs (L, N, F) and the actions (L - 1, N, A) between them, by advantage."""
        config = self.config.policy
        with torch.no_grad():
            reward = eq.imitation_reward(self.discriminator(feature[:-1], action), config.reward)
            value, temperature = self.critic(feature), config.self_imitation_temperature
            weight = eq.advantage_weights(reward, value, config.discount, config.trace, temperature)
        return (weight * (self.actor(feature[:-1]) - action).square().sum(-1)).mean()

    def _clone(self, expert: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """The warm start, and the latent-cloning control: copy the expert on its beliefs, imagine nothing."""
        loss = self._cloning_loss(expert)
        self._step("actor", loss, self.actor.parameters())
        return {"cloning_loss": loss.detach()}

    def _step(self, name: str, loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(list(parameters), self.config.train.gradient_clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient of the {name} became NaN or infinite")
        optimiser.step()


def running_mean(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """For AveragedModel: an exponential mean that is short at first, lest early weights stay in it for long."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        kept = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        torch._foreach_lerp_(list(averages), list(current), 1.0 - kept)

    return update


def wants_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16: as asked, or with "auto" where the processor has them in hardware."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Gradients flow through `modules` but not into them: their weights cost no backward pass."""
    parameters = [p for module in modules for p in module.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
