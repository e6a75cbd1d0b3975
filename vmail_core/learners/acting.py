"""Acting with learned networks in torch: the belief filter and the actor, one picture at a time."""

from __future__ import annotations

import numpy as np
import torch

from vmail_core.models import Actor, Latent, WorldModel


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
