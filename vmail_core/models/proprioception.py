"""Proprioception: the joint angles as a second observation beside the picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmail_core.models.mlp import mlp


def symlog(value: Tensor) -> Tensor:
    """sign(x) log(1 + |x|) (DreamerV3): small angles stay as they are, and many turns do not drown the others."""
    return torch.sign(value) * torch.log1p(torch.abs(value))


class JointEncoder(nn.Module):
    """Embeds joint angles and sets them beside the embedding of the picture: (..., E) and (..., J) to (..., E + H)."""

    def __init__(self, joint_count: int, hidden: int) -> None:
        """J joints, H values that stand for them."""
        super().__init__()
        self.embed_size = hidden
        self.network = mlp(joint_count, hidden, 1, hidden)

    def forward(self, seen: Tensor, joint_positions: Tensor) -> Tensor:
        """Joint angles in rad, scaled by nothing that was measured on a data set: a robot's are taken as they are."""
        return torch.cat([seen, F.elu(self.network(symlog(joint_positions)))], -1)
