"""V-MAIL: the update of Algorithm 1, lines 11 to 19.

One call of `VMAIL.update` learns the model (Eq. 7), the discriminator (Eq. 6), then policy and critic (Eq. 8)
from one batch. The loop around it is in `train.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vmail_core.episodes.replay import Chunks
from vmail_core.learners import equations as eq
from vmail_core.learners.acting import new_actor, new_discriminator, new_model
from vmail_core.learners.config import Config
from vmail_core.learners.cuda_graph import Graphs
from vmail_core.learners.device import wants_bfloat16
from vmail_core.learners.overlap import Overlap
from vmail_core.learners.return_range import ReturnRange
from vmail_core.learners.running_mean import RunningMean
from vmail_core.models import RSSM, Actor, Critic, Discriminator, Latent, WorldModel, preprocess


class SpoiltGradientError(FloatingPointError):
    """A gradient that is NaN or infinite.

    Attributes:
        behind: with `train.overlap`, it is of the update that was last finished, not of the last one begun.
    """

    def __init__(self, name: str, behind: bool) -> None:
        """Of the part `name`."""
        super().__init__(f"the gradient of the {name} became NaN or infinite")
        self.behind = behind


class VMAIL(nn.Module):
    """World model, discriminator, actor and critic with their optimisers."""

    def __init__(
        self, config: Config, action_size: int, joint_count: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        """Build all networks.

        Args:
            config: all choices.
            action_size: A.
            joint_count: J, joint angles that the robot reports; needed with `model.joint_scale`, else of no concern.
            device: where they live.

        Raises:
            ValueError: the config wants joint angles and there are none.
        """
        super().__init__()
        self.config, p = config, config.policy
        self.model = new_model(config, action_size, joint_count)
        size = self.model.feature_size
        self.discriminator = new_discriminator(config, action_size, size)
        self.actor = new_actor(config, action_size, size)
        self.critic = Critic(size, p.units, p.critic_layers, p.norm)
        self.return_range = ReturnRange()
        self.to(device)
        self.device = torch.device(device)
        self._reduced = wants_bfloat16(config.train.precision, self.device)
        self._graphs = Graphs(self.device) if self.device.type == "cuda" else None
        on_processor = self.device.type == "cpu"
        # The model's noise; None for torch's own generator, the only one that is captured.
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ()))) if on_processor else None
        self._overlap = Overlap(self.model.rssm) if config.train.overlap and on_processor else None
        self._rate_factor = 1.0
        self._averaged = nn.ModuleList(
            RunningMean(module, config.train.average) for module in (self.model, self.actor) if config.train.average
        )
        self.optimisers = {
            "model": self._adam(self.model, config.model.learning_rate),
            "discriminator": self._adam(self.discriminator, config.discriminator.learning_rate),
            "actor": self._adam(self.actor, p.learning_rate),
            "critic": self._adam(self.critic, p.learning_rate),
        }

    @property
    def judge(self) -> Discriminator | None:
        """D, once it has learned something: not in a warm start, and never where cloning is all."""
        return self.discriminator if self.optimisers["discriminator"].state else None

    @property
    def deployed(self) -> tuple[WorldModel, Actor]:
        """The model and actor that are scored and exported: running means where `train.average` asks for them."""
        if not self._averaged:
            return self.model, self.actor
        model, actor = (average.module for average in self._averaged)
        return cast(WorldModel, model), cast(Actor, actor)

    def scale_learning_rates(self, factor: float) -> None:
        """Learn with `factor` times the config's learning rates from the next `begin_update` on."""
        self._rate_factor = factor

    def _scale(self, *names: str) -> None:
        for name in names:
            for group in self.optimisers[name].param_groups:
                rate = self._rate_factor * group["initial_lr"]
                group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate

    def _autocast(self) -> torch.autocast:
        # Weights that were converted are forgotten where it ends, within what is captured: a replay converts them anew.
        # Not kept on a processor: all threads have them together, and forget them when any of them is through.
        kept = self.device.type == "cuda"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._reduced, cache_enabled=kept)

    def _adam(self, module: nn.Module, learning_rate: float) -> torch.optim.Adam:
        group = {"params": list(module.parameters()), "initial_lr": learning_rate}
        # A captured graph keeps the step count and the rate that it reads on the device.
        on_gpu = self.device.type == "cuda"
        rate = torch.tensor(learning_rate, device=self.device) if on_gpu else learning_rate
        return torch.optim.Adam([group], rate, eps=1e-7, fused=True, capturable=on_gpu)

    def update(self, *batch: Any, **options: Any) -> dict[str, Tensor]:
        """`begin_update`, `finish_update` and `check_gradients`: arguments, result and errors are theirs."""
        report = self.begin_update(*batch, **options) | self.finish_update()
        self.check_gradients(report)
        return report

    def begin_update(
        self,
        image: np.ndarray | Tensor,
        action: np.ndarray | Tensor,
        demo_count: int,
        share: float = 1.0,
        joint_positions: np.ndarray | Tensor | None = None,
        expert: Chunks | None = None,
    ) -> dict[str, Tensor]:
        """An update from chunks whose first `demo_count` are demonstrations.

        On a GPU it goes on after the return, and with `train.overlap` its lines 15 to 19 do, until `finish_update` or
        the next one's: so long the arrays must stay as they are.

        Args:
            image: (L, B, S, S, 3) uint8; like the others an array, or a tensor on the learner's device.
            action: (L, B, A) float32; action[t] led to image[t].
            demo_count: how many of the B chunks the expert made.
            share: of Eq. 8's weight `policy.imitation`; 0 leaves Eq. 6 and Eq. 8 out, and the policy copies the expert.
            joint_positions: (L, B, J) float32 rad at each image; needed with `model.joint_scale`.
            expert: more demonstrations, (L, B_E, ...) each, that the model does not learn from: D's expert side (line
                15) and what is cloned; without them the batch's own demonstrations are.

        Returns:
            Named scalars for `check_gradients`; on a GPU the next update overwrites them. With `train.overlap` those of
            lines 15 to 19 are the update's before, if it was not finished.
        """
        self._scale(*(self.optimisers if self._overlap is None else ["model"]))
        wants_joints = bool(self.config.model.joint_scale)
        batch = Chunks(image, action, joint_positions if wants_joints else None)
        extra = (
            Chunks(None, None, None)
            if expert is None
            else expert._replace(joint_positions=expert.joint_positions if wants_joints else None)
        )
        given = [None if part is None else self._on_device(part) for part in (torch.tensor(share), *batch, *extra)]
        behave = bool(share * self.config.policy.imitation)

        def learn(*tensors: Tensor) -> dict[str, Tensor]:
            left = iter(tensors)
            now, *parts = (None if part is None else next(left) for part in given)
            return self._learn(demo_count, behave, cast(Tensor, now), Chunks(*parts[:3]), Chunks(*parts[3:]))

        inputs = [part for part in given if part is not None]
        return self._graphs(("update", demo_count, behave), learn, inputs) if self._graphs else learn(*inputs)

    def _learn(self, demo_count: int, behave: bool, share: Tensor, batch: Chunks, extra: Chunks) -> dict[str, Tensor]:
        """`update` on the device: the shapes are the same each time, and nothing waits for a result."""
        action = batch.action
        assert (batch.image.dtype, action.dtype) == (torch.uint8, torch.float32), (batch.image.dtype, action.dtype)
        beliefs, report = self.learn_model(preprocess(batch.image), action, batch.joint_positions)
        of_expert = None if extra.image is None else self.infer(extra).feature
        self._average(0, self.model)

        def lines_15_to_19() -> dict[str, Tensor]:
            feature = beliefs.feature
            if of_expert is None:
                expert = expert_pairs(feature[:, :demo_count], action[:, :demo_count])
            else:
                expert = expert_pairs(of_expert, extra.action)
            if behave:
                practice = (feature[:, demo_count:], action[1:, demo_count:])
                learned = self.learn_behaviour(self._starts(beliefs), expert, practice, share)
            else:
                learned = self._clone(expert)
            self._average(1, self.actor)
            return learned

        if self._overlap is None:
            return report | lines_15_to_19()
        report |= self._overlap.finish()
        self._scale("discriminator", "actor", "critic")
        self._overlap.begin(lines_15_to_19)
        return report

    def _average(self, which: int, module: nn.Module) -> None:
        if self._averaged:
            cast(RunningMean, self._averaged[which]).update(module)

    def finish_update(self) -> dict[str, Tensor]:
        """Wait for lines 15 to 19 of the last update, with `train.overlap`; their report for `check_gradients`, or {}.

        Before that, nobody else may use the policy, critic or discriminator, or draw from torch's own generator.
        """
        return self._overlap.finish() if self._overlap else {}

    def _on_device(self, array: np.ndarray | Tensor) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    def check_gradients(self, report: dict[str, Tensor]) -> None:
        """Wait for the update that gave `report`.

        Raises:
            SpoiltGradientError: a gradient is not finite, of the first part, in the order of learning, that is named.
                The networks are spoilt then.
        """
        if not report:
            return
        # Beside the model, the others are an update behind it: theirs came first.
        order = sorted(self.optimisers, key=lambda name: name == "model") if self._overlap else self.optimisers
        norms = {name: report[f"{name}_gradient"] for name in order if f"{name}_gradient" in report}
        finite = torch.stack(list(norms.values())).isfinite().tolist()  # a GPU is waited for once
        if not all(finite):
            name = list(norms)[finite.index(False)]
            raise SpoiltGradientError(name, behind=self._overlap is not None and name != "model")

    def learn_model(
        self, pixels: Tensor, action: Tensor, joints: Tensor | None = None
    ) -> tuple[Latent, dict[str, Tensor]]:
        """Line 13: one step on Eq. 7. Returns the beliefs without history: D and policy never shape the encoder."""
        config = self.config.model
        with self._autocast():
            loss, beliefs, report = eq.eq7_model_loss(self.model, pixels, action, config, joints, self.generator)
        report["model_gradient"] = self._step("model", loss, self.model)
        return beliefs.detach(), {name: value.detach() for name, value in report.items()}

    def learn_behaviour(
        self,
        starts: Latent,
        expert: tuple[Tensor, Tensor],
        practice: tuple[Tensor, Tensor],
        share: Tensor | float = 1.0,
    ) -> dict[str, Tensor]:
        """Lines 15 to 19: imagine with the policy, then one step on Eq. 6 and one on Eq. 8."""
        with frozen(self._forward_model, self.discriminator, self.critic), self._autocast():
            features, actions, surprisal = self.imagine(starts)
        agent = (features[:-1].detach().flatten(0, 1), actions.detach().flatten(0, 1))
        report = self._learn_discriminator(expert, agent)
        report |= self._learn_policy(features, actions, surprisal, expert, practice, share)
        return {name: value.detach() for name, value in report.items()}

    @torch.no_grad()
    def infer(self, chunks: Chunks) -> Latent:
        """Line 16: beliefs (L, B, ...) of chunks on the device that the model does not learn from."""
        with self._autocast():
            embed = self.model.embed(preprocess(chunks.image), chunks.joint_positions)
            return self.model.rssm.observe(embed, chunks.action, self.generator)[0]

    @property
    def _forward_model(self) -> RSSM:
        """T, as it is after this update's line 13."""
        return self._overlap.rssm if self._overlap else self.model.rssm

    def _starts(self, beliefs: Latent) -> Latent:
        """Every belief but the last of each chunk, or a random `imagine_from` of them."""
        starts = Latent(*(part[:-1] for part in beliefs)).flatten()
        wanted, have = self.config.policy.imagine_from, len(starts.deter)
        if wanted is None or wanted >= have:
            return starts
        return starts.select(torch.randperm(have, device=self.device)[:wanted])

    def imagine(self, starts: Latent) -> tuple[Tensor, Tensor, Tensor | None]:
        """Line 17: roll the policy out in the forward model.

        Returns features (H + 1, N, F), actions (H, N, A) and, with `policy.entropy`, their surprisals (H, N): action[t]
        is taken in feature[t]. The policy's input is cut from its history, so gradients reach it through its actions'
        consequences alone.
        """
        state, features, actions, surprisals = starts, [starts.feature], [], []
        for _ in range(self.config.policy.horizon):
            seen = state.feature.detach()
            if self.config.policy.entropy:
                action, surprisal = self.actor.sample(seen)
                surprisals.append(surprisal)
            else:
                action = self.actor(seen)
            state = self._forward_model.imagine_step(state, action)
            features.append(state.feature)
            actions.append(action)
        return torch.stack(features), torch.stack(actions), torch.stack(surprisals) if surprisals else None

    def _learn_discriminator(self, expert: tuple[Tensor, Tensor], agent: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        config = self.config.discriminator
        if config.input_noise:
            expert, agent = self._noisy(expert), self._noisy(agent)
        loss, report = eq.eq6_discriminator_loss(self.discriminator, expert, agent)
        if config.penalty == "parameters":
            loss = loss + config.penalty_weight * eq.parameter_penalty(self.discriminator, expert, agent)
        elif config.penalty == "input":
            loss = loss + config.penalty_weight * eq.input_penalty(self.discriminator, expert, agent)
        report["discriminator_gradient"] = self._step("discriminator", loss, self.discriminator)
        return report

    def _noisy(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        feature, action = pair
        return feature, action + self.config.discriminator.input_noise * torch.randn_like(action)

    def _learn_policy(
        self,
        features: Tensor,
        actions: Tensor,
        surprisal: Tensor | None,
        expert: tuple[Tensor, Tensor],
        practice: tuple[Tensor, Tensor],
        share: Tensor | float,
    ) -> dict[str, Tensor]:
        config = self.config.policy
        with frozen(self.discriminator, self.critic), self._autocast():
            reward = eq.imitation_reward(self.discriminator(features[:-1], actions), config.reward)
            value = self.critic(features) if config.bootstrap else None
            returns, report = eq.eq8_policy_return(reward, value, config.discount, config.trace)
        scale = self.return_range(returns.detach()) if config.normalise else 1.0
        objective = eq.policy_objective(returns, config.returns, config.discount)
        loss = -share * config.imitation * objective / scale
        if surprisal is not None:
            report["entropy"] = surprisal.mean()
            loss = loss - config.entropy * report["entropy"]
        if config.cloning:
            report["cloning_loss"] = self._cloning_loss(expert)
            loss = loss + config.cloning * report["cloning_loss"]
        if config.self_imitation and practice[1].numel():
            report["self_imitation_loss"] = self._self_imitation_loss(*practice)
            loss = loss + config.self_imitation * report["self_imitation_loss"]
        report["actor_gradient"] = self._step("actor", loss, self.actor)
        if config.bootstrap:
            critic_loss = 0.5 * (self.critic(features[:-1].detach()) - returns.detach()).square().mean()
            report |= {"critic_loss": critic_loss, "critic_gradient": self._step("critic", critic_loss, self.critic)}
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
        return {"cloning_loss": loss.detach(), "actor_gradient": self._step("actor", loss, self.actor)}

    def _step(self, name: str, loss: Tensor, module: nn.Module) -> Tensor:
        """One step down the loss. Returns the norm of the gradient before it was clipped."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(list(module.parameters()), self.config.train.gradient_clip)
        optimiser.step()
        return norm.detach()


def expert_pairs(feature: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Beliefs (L, B, F), and actions (L, B, A) that led to them, to beliefs and what the expert did there, (N, ...)."""
    return feature[:-1].flatten(0, 1), action[1:].flatten(0, 1)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Gradients flow through `modules` but not into them: their weights cost no backward pass."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
