"""The variational model of Fig. 1: encoder, RSSM and decoder in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmail_core.models.mlp import mlp
from vmail_core.models.rssm import RSSM, Latent
from vmail_core.models.vision import make_vision, preprocess


class WorldModel(nn.Module):
    """{q, T, U} of Eq. 7. Images are (..., S, S, 3) uint8 at the door, sequences time-major."""

    def __init__(
        self,
        image_size: int,
        action_size: int,
        depth: int,
        deter: int,
        stoch: int,
        hidden: int,
        min_std: float,
        norm: bool,
        vision: str = "dreamer",
        predict_joints: bool = False,
    ) -> None:
        """Build the three parts with matching sizes.

        `predict_joints` adds a head that tells joint angles (..., A) in rad, which only shapes the belief in learning.
        """
        super().__init__()
        self.image_size, self.action_size = image_size, action_size
        self.encoder, embed_size, make_decoder = make_vision(vision, image_size, depth)
        self.rssm = RSSM(action_size, embed_size, deter, stoch, hidden, min_std, norm)
        self.decoder = make_decoder(self.rssm.feature_size)
        self.joint_head = mlp(self.rssm.feature_size, hidden, 1, action_size) if predict_joints else None

    @property
    def feature_size(self) -> int:
        """Length of a latent's feature."""
        return self.rssm.feature_size

    def embed(self, pixels: Tensor) -> Tensor:
        """Preprocessed images (L, B, 3, S, S) to embeddings (L, B, E)."""
        return self.encoder(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])

    def decode(self, feature: Tensor) -> Tensor:
        """Features (L, B, F) to image means (L, B, 3, S, S)."""
        return self.decoder(feature.flatten(0, 1)).unflatten(0, feature.shape[:2])

    @torch.no_grad()
    def filter_image(self, previous: Latent, action: Tensor, image: Tensor, sample: bool = False) -> Latent:
        """One belief update for acting: `action` (B, A) led to `image` (B, S, S, 3) uint8."""
        return self.rssm.filter_step(previous, action, self.encoder(preprocess(image)), sample)
