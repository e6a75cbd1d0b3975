"""What the world model foretells from recorded actions alone, without a look at what came (open loop).

Nothing here samples: beliefs and predictions go on with their means, as the deployed policy's belief does. So looking
at a model leaves the random state of its learner as it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vmail_core.models import Latent, WorldModel

GREY_LEVELS = 255.0


@torch.no_grad()
def believe(model: WorldModel, image: np.ndarray, action: np.ndarray, joints: np.ndarray | None = None) -> Latent:
    """Beliefs that have seen every picture up to theirs, from the empty one on.

    Args:
        model: the world model.
        image: (L, B, S, S, 3) uint8.
        action: (L, B, A) float32; action[t] led to image[t].
        joints: (L, B, J) float32 rad at each image, where the model observes them.

    Returns:
        (L, B, ...) latents; row t has seen image[t].
    """
    pictures, actions = _on_device(model, image), _on_device(model, action)
    felt = None if joints is None else _on_device(model, joints)
    state, states = model.rssm.initial(image.shape[1]), []
    for t in range(len(pictures)):
        state = model.filter_image(state, actions[t], pictures[t], None if felt is None else felt[t])
        states.append(state)
    return _stack(states)


@torch.no_grad()
def foretell(model: WorldModel, start: Latent, action: np.ndarray) -> Latent:
    """The forward model's course from beliefs `start` (B, ...) under actions (K, B, A) float32: (K, B, ...) latents."""
    state, states = start, []
    for taken in _on_device(model, action):
        state = model.rssm.imagine_step(state, taken, sample=False)
        states.append(state)
    return _stack(states)


@torch.no_grad()
def grey_levels(model: WorldModel, latents: Latent) -> Tensor:
    """Decoded pictures of latents (N, ...): (N, 3, S, S) float32, within the 0 to 255 that a picture can show."""
    return ((model.decoder(latents.feature) + 0.5) * GREY_LEVELS).clamp_(0.0, GREY_LEVELS)


def predict_pictures(
    model: WorldModel, image: np.ndarray, action: np.ndarray, context: int, joints: np.ndarray | None = None
) -> np.ndarray:
    """Chunks as the belief has them for `context` pictures, and as the model foretells them from then on.

    Args:
        model: the world model.
        image: (L, B, S, S, 3) uint8, of which only the first `context` rows are looked at.
        action: (L, B, A) float32; action[t] led to image[t].
        context: 1 to L - 1.
        joints: (L, B, J) float32 rad, of which as many rows are looked at, where the model observes them.

    Returns:
        (L, B, S, S, 3) uint8: reconstructions, then predictions.
    """
    assert 0 < context < len(image), (context, len(image))
    seen = believe(model, image[:context], action[:context], None if joints is None else joints[:context])
    ahead = foretell(model, Latent(*(part[-1] for part in seen)), action[context:])
    course = Latent(*(torch.cat(parts) for parts in zip(seen, ahead, strict=True))).flatten()
    pictures = grey_levels(model, course).round().to(torch.uint8).movedim(-3, -1)
    return pictures.unflatten(0, image.shape[:2]).cpu().numpy()


def _on_device(model: WorldModel, array: np.ndarray) -> Tensor:
    """A copy, for episodes are read-only, where the model's weights are."""
    return torch.tensor(array, device=model.rssm.cell.weight_hh.device)


def _stack(states: list[Latent]) -> Latent:
    return Latent(*(torch.stack(parts) for parts in zip(*states, strict=True)))
