"""The paper's three learning problems, one function each: Eq. 6, Eq. 7 and Eq. 8.

Sequences are time-major. None of these sees a task's reward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vmail_core.learners.config import Model
from vmail_core.models import Discriminator, Latent, WorldModel
from vmail_core.models.precision import widen


def eq7_model_loss(
    model: WorldModel,
    pixels: Tensor,
    action: Tensor,
    config: Model,
    joints: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Latent, dict[str, Tensor]]:
    """Eq. 7, negated: reconstruction error plus KL from belief to forward model.

    Args:
        model: the world model.
        pixels: (L, B, 3, S, S) in [-0.5, 0.5].
        action: (L, B, A); action[t] led to pixels[t].
        config: weights of the terms.
        joints: (L, B, J) rad, reconstructed as well with `joint_scale`: part of what was observed, though not of what
            the belief is drawn from, unless `proprioception` says so.
        generator: of the noise; None for torch's own.

    Returns:
        The loss (a scalar: mean over steps and batch), the beliefs (L, B, ...) and named parts of the loss.
    """
    embed = model.embed(pixels, joints)
    beliefs, prior = model.rssm.observe(embed, action, generator)
    shown, features = pixels.flatten(0, 1), beliefs.feature.flatten(0, 1)
    if config.decode_fraction < 1.0:
        count = max(1, round(config.decode_fraction * len(shown)))
        chosen = torch.randperm(len(shown), device=shown.device, generator=generator)[:count]
        shown, features = shown[chosen], features[chosen]
    # Unit-variance Gaussian likelihood summed over pixels, without its constant.
    pixel_loss = 0.5 * (widen(model.decoder(features)) - shown).square().sum((-1, -2, -3)).mean()
    kl = balanced_kl(model.rssm.distribution.kl, beliefs, prior, config.kl_balance)
    loss = config.pixel_scale * pixel_loss + config.kl_scale * kl.clamp(min=config.free_nats)
    report = {"pixel_loss": pixel_loss, "kl": kl}
    if model.joint_head is not None:
        assert joints is not None, "model.joint_scale needs joint positions with every batch"
        error = widen(model.joint_head(beliefs.feature)) - joints
        report["joint_loss"] = 0.5 * error.square().sum(-1).mean()
        loss = loss + config.joint_scale * report["joint_loss"]
    return loss, beliefs, {"model_loss": loss, **report}


def balanced_kl(
    kl: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    beliefs: Latent,
    prior: tuple[Tensor, Tensor],
    balance: float | None,
) -> Tensor:
    """Mean KL from belief to prior; with `balance`, that share of its gradient goes to the prior (DreamerV2).

    `kl` is the distribution's own.
    """
    belief, fixed_belief, fixed_prior = beliefs[2:], beliefs.detach()[2:], tuple(part.detach() for part in prior)
    if balance is None:
        return kl(*belief, *prior).mean()
    return balance * kl(*fixed_belief, *prior).mean() + (1.0 - balance) * kl(*belief, *fixed_prior).mean()


def eq6_discriminator_loss(
    discriminator: Discriminator, expert: tuple[Tensor, Tensor], agent: tuple[Tensor, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 6: tell the expert's (z, a) from those that the policy imagines.

    Args:
        discriminator: D.
        expert: features (N, F) and actions (N, A), without history.
        agent: features (M, F) and actions (M, A), without history.

    Returns:
        The loss and the mean D of both sides.
    """
    both = (torch.cat(parts) for parts in zip(expert, agent, strict=True))
    expert_logit, agent_logit = discriminator(*both).tensor_split([len(expert[0])])
    loss = F.softplus(-expert_logit).mean() + F.softplus(agent_logit).mean()
    report = {
        "discriminator_loss": loss,
        "d_expert": expert_logit.sigmoid().mean(),
        "d_agent": agent_logit.sigmoid().mean(),
    }
    return loss, report


def parameter_penalty(
    discriminator: Discriminator, expert: tuple[Tensor, Tensor], agent: tuple[Tensor, Tensor]
) -> Tensor:
    """(norm of the parameters' gradient of the mean logit - 1) squared, between both sides: the published code's."""
    mean_logit = discriminator(*between(expert, agent)).mean()
    gradients = torch.autograd.grad(mean_logit, list(discriminator.parameters()), create_graph=True)
    return (torch.cat([g.flatten() for g in gradients]).norm() - 1.0).square()


def input_penalty(discriminator: Discriminator, expert: tuple[Tensor, Tensor], agent: tuple[Tensor, Tensor]) -> Tensor:
    """Gradient penalty on inputs between expert and agent (Gulrajani et al. 2017), used by DAC and later work."""
    inputs = [part.requires_grad_() for part in between(expert, agent)]
    gradients = torch.autograd.grad(discriminator(*inputs).sum(), inputs, create_graph=True)
    return (torch.cat(gradients, -1).norm(dim=-1) - 1.0).square().mean()


def between(expert: tuple[Tensor, Tensor], agent: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Random mixes of random pairs of both sides, without history: as many as the smaller side has."""
    device, count = expert[0].device, min(len(expert[0]), len(agent[0]))
    mix = torch.rand(count, 1, device=device)
    of_expert, of_agent = (torch.randperm(len(side[0]), device=device)[:count] for side in (expert, agent))
    return [(mix * e[of_expert] + (1.0 - mix) * a[of_agent]).detach() for e, a in zip(expert, agent, strict=True)]


def imitation_reward(logit: Tensor, kind: str) -> Tensor:
    """The policy's reward from D's logit: log D (Eq. 8), D (published code) or the logit itself (DAC)."""
    if kind == "log_d":
        return F.logsigmoid(logit)
    return logit.sigmoid() if kind == "d" else logit


def lambda_returns(reward: Tensor, value: Tensor, discount: float, trace: float) -> Tensor:
    """TD(lambda) targets: reward (H, N), value (H + 1, N) of the states before and after, to (H, N).

    That is target[t] = reward[t] + discount * ((1 - trace) * value[t + 1] + trace * target[t + 1]) with the last value
    as the last target, written as one sum: with gradients a loop takes hundreds of small operations.
    """
    step = torch.arange(len(reward), dtype=reward.dtype, device=reward.device)
    ahead = step - step[:, None]
    weights = ((discount * trace) ** ahead.clamp(min=0)).triu()[..., None]  # (H, H, 1): of step k in target t
    steps = reward + discount * (1.0 - trace) * value[1:]
    return (weights * steps).sum(1) + discount * trace * weights[:, -1] * value[-1]


def eq8_policy_return(
    reward: Tensor, value: Tensor | None, discount: float, trace: float
) -> tuple[Tensor, dict[str, Any]]:
    """Eq. 8: discounted imitation reward over the imagined horizon plus, with `value`, what follows it.

    Args:
        reward: (H, N) imitation rewards of imagined steps.
        value: (H + 1, N) critic's values, or None for the published claw and DMC setting without bootstrap.
        discount: gamma.
        trace: lambda; 1 is Eq. 8 to the letter, less trades bias for variance.

    Returns:
        Returns (H, N) from every imagined step on, differentiable through model and discriminator. Those in row 0, of
        K = H steps, are Eq. 8's; later rows, of fewer steps each, are for the critic and for other `policy.returns`.
    """
    if value is None:
        value, trace = torch.zeros_like(torch.cat([reward, reward[:1]])), 1.0
    returns = lambda_returns(reward, value, discount, trace)
    return returns, {"imagined_reward": reward.mean(), "imagined_return": returns[0].mean()}


def policy_objective(returns: Tensor, which: str, discount: float) -> Tensor:
    """What the policy raises, of returns (H, N): see `policy.returns`."""
    if which == "first":
        return returns[0].mean()
    if which == "discounted":
        weights = discount ** torch.arange(len(returns), dtype=returns.dtype, device=returns.device)
        return (weights[:, None] * returns).mean()
    return returns.mean()


def advantage_weights(reward: Tensor, value: Tensor, discount: float, trace: float, temperature: float) -> Tensor:
    """How much each real step is worth copying: exp(advantage / temperature), mean 1 (AWR, Peng et al. 2019).

    Args:
        reward: (T, N) imitation rewards of real steps.
        value: (T + 1, N) critic's values around them.
        discount: gamma.
        trace: lambda.
        temperature: in standard deviations of the advantage; small copies only the best.

    Returns:
        Weights (T, N), at most 20 times the mean before scaling.
    """
    advantage = lambda_returns(reward, value, discount, trace) - value[:-1]
    scaled = (advantage - advantage.mean()) / (temperature * advantage.std().clamp(min=1e-6))
    weights = scaled.clamp(max=3.0).exp()
    return weights / weights.mean()
