"""Acting in torch: the networks that it takes, and how they choose, one picture at a time."""

from __future__ import annotations

import numpy as np
import torch

from vmail_core.learners.config import Config
from vmail_core.models import Actor, Latent, WorldModel


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


class FilteringPolicy:
    """Encoder, filter and actor composed into a visuomotor policy (Sec. 3.2).

    By default deterministic: the posterior's mean and the actor's mode, as deployed.
    """

    def __init__(
        self, model: WorldModel, actor: Actor, exploration: float | None = None, rng: np.random.Generator | None = None
    ) -> None:
        """With `exploration`, sample latents and actions and add noise of that std, for practice."""
        self._model, self._actor, self._exploration = model, actor, exploration
        self._rng = rng or np.random.default_rng(0)
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
        practising = self._exploration is not None
        self.belief = self._model.filter_image(
            self.belief, self._tensor(previous_action), self._tensor(image), joints, sample=practising
        )
        feature = self.belief.feature
        chosen = (self._actor(feature) if practising else self._actor.mode(feature))[0].cpu().numpy()
        if self._exploration:
            chosen = chosen + self._rng.normal(0.0, self._exploration, chosen.shape)
        return np.clip(chosen, -1.0, 1.0).astype(np.float32)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """As a batch of one, where the networks live."""
        return torch.from_numpy(np.ascontiguousarray(array))[None].to(self.belief.deter.device)
