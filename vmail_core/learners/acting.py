"""Acting in torch: the networks that it takes, and how they choose, one picture at a time."""

from __future__ import annotations

import numpy as np
import torch

from vmail_core.learners.config import Config
from vmail_core.learners.config import Policy as PolicyConfig
from vmail_core.models import Actor, Discriminator, Latent, WorldModel


def new_model(config: Config, action_size: int, joint_count: int) -> WorldModel:
    """A world model as the config wants it.

    Raises:
        ValueError: the config wants joint angles and there are none.
    """
    m = config.model
    if m.joint_scale and joint_count < 1:
        raise ValueError(
            f"model.joint_scale={m.joint_scale} wants joint angles, and {config.task} has none: learn without them, "
            "model.joint_scale=0 and model.proprioception=false"
        )
    model = WorldModel(
        m.image_size,
        action_size,
        m.depth,
        m.deter,
        m.stoch,
        m.hidden,
        m.min_std,
        m.norm,
        m.vision,
        classes=m.classes,
        predicted_joints=joint_count if m.joint_scale else 0,
        observed_joints=joint_count if m.proprioception else 0,
    )
    for parameter in model.parameters():
        if parameter.dim() == 4:  # the layout that both CPU and GPU convolutions run fastest in
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return model


def new_actor(config: Config, action_size: int, feature_size: int) -> Actor:
    """An actor as the config wants it."""
    p = config.policy
    return Actor(feature_size, action_size, p.units, p.actor_layers, p.init_std, p.min_std, p.norm)


def new_discriminator(config: Config, action_size: int, feature_size: int) -> Discriminator:
    """A discriminator as the config wants it."""
    d = config.discriminator
    return Discriminator(feature_size, action_size, d.units, d.layers, d.norm)


class PracticeNoise:
    """What practice adds to the policy's actions.

    A policy that is out of step with its task can go on for seconds in the same futile way, and small noise never ends
    that. D tells such moments from the expert's well, so there the noise may grow (`policy.lost_exploration`).
    """

    def __init__(self, config: PolicyConfig, discriminator: Discriminator | None, rng: np.random.Generator) -> None:
        """Take `exploration` and `lost_exploration` of the config, and the generator to draw from.

        `discriminator` is None as long as D has learned nothing and has nothing to say.
        """
        self._config, self._discriminator, self._rng = config, discriminator, rng

    def std(self, feature: torch.Tensor, action: torch.Tensor) -> float:
        """For feature (1, F) and the action (1, A) that the policy chose."""
        std, lost = self._config.exploration, self._config.lost_exploration
        if lost and self._discriminator is not None:
            unlike = torch.sigmoid(-self._discriminator(feature, action)).item()  # 1 - D
            std += lost * unlike**4
        return std

    def __call__(self, feature: torch.Tensor, action: torch.Tensor) -> np.ndarray:
        """A draw to be added to the action: (A,) float64."""
        std = self.std(feature, action)
        return self._rng.normal(0.0, std, action.shape[-1]) if std else np.zeros(action.shape[-1])


class FilteringPolicy:
    """Encoder, filter and actor composed into a visuomotor policy (Sec. 3.2).

    By default deterministic: the posterior's mean and the actor's mode, as deployed.
    """

    def __init__(self, model: WorldModel, actor: Actor, noise: PracticeNoise | None = None) -> None:
        """With `noise`, for practice, also sample latents and actions."""
        self._model, self._actor, self._noise = model, actor, noise
        self.belief: Latent = model.rssm.initial(1)

    def reset(self) -> None:
        """Forget everything."""
        self.belief = self._model.rssm.initial(1)

    @torch.no_grad()
    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """Update the belief with what is observed and choose an action; see `ImagePolicy`."""
        joints = None if joint_positions is None else self._tensor(joint_positions)
        practising = self._noise is not None
        self.belief = self._model.filter_image(
            self.belief, self._tensor(previous_action), self._tensor(image), joints, sample=practising
        )
        feature = self.belief.feature
        action = self._actor(feature) if practising else self._actor.mode(feature)
        chosen = action[0].cpu().numpy()
        if self._noise is not None:
            chosen = chosen + self._noise(feature, action)
        return np.clip(chosen, -1.0, 1.0).astype(np.float32)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """As a batch of one, where the networks live."""
        return torch.from_numpy(np.ascontiguousarray(array))[None].to(self.belief.deter.device)
