"""The variational model of Fig. 1: encoder, RSSM and decoder in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmail_core.models.mlp import mlp
from vmail_core.models.proprioception import JointEncoder
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
        predicted_joints: int = 0,
        observed_joints: int = 0,
        classes: int | None = None,
    ) -> None:
        """Build the three parts with matching sizes.

        With `classes` the state is categorical, see `RSSM`.
        `predicted_joints` adds a head that tells so many joint angles in rad from a latent, for learning.
        `observed_joints` makes so many joint angles an observation, beside the picture, that the belief is drawn from.
        """
        super().__init__()
        self.image_size, self.action_size, self.observed_joints = image_size, action_size, observed_joints
        self.encoder, embed_size, make_decoder = make_vision(vision, image_size, depth)
        self.joint_encoder = JointEncoder(observed_joints, hidden) if observed_joints else None
        if self.joint_encoder is not None:
            embed_size += self.joint_encoder.embed_size
        self.rssm = RSSM(action_size, embed_size, deter, stoch, hidden, min_std, norm, classes)
        self.decoder = make_decoder(self.rssm.feature_size)
        self.joint_head = mlp(self.rssm.feature_size, hidden, 1, predicted_joints) if predicted_joints else None

    @property
    def feature_size(self) -> int:
        """Length of a latent's feature."""
        return self.rssm.feature_size

    def embed(self, pixels: Tensor, joints: Tensor | None = None) -> Tensor:
        """Preprocessed images (L, B, 3, S, S), and joint angles (L, B, J) rad if observed, to embeddings (L, B, E)."""
        return self._with_joints(self.encoder(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2]), joints)

    def _with_joints(self, seen: Tensor, joints: Tensor | None) -> Tensor:
        if self.joint_encoder is None:
            return seen
        if joints is None:
            raise ValueError("this model's belief is drawn from joint positions too: give them with every picture")
        return self.joint_encoder(seen, joints)

    @torch.no_grad()
    def filter_image(
        self, previous: Latent, action: Tensor, image: Tensor, joints: Tensor | None = None, sample: bool = False
    ) -> Latent:
        """One belief update for acting: `action` (B, A) led to `image` (B, S, S, 3) uint8, `joints` (B, J) if observed.

        Raises ValueError where joints are observed and not given; where they are not, they change nothing.
        """
        embed = self._with_joints(self.encoder(preprocess(image)), joints)
        return self.rssm.filter_step(previous, action, embed, sample)
