"""Behaviour cloning from pixels: the control that every imitation learner must beat.

Three stacked frames, a small convolutional network, random shifts (DrQ), weight decay and a cosine schedule:
what it takes for cloning to do its best with ten demonstrations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmail_core.episodes.replay import Rows
from vmail_core.models import Encoder, preprocess
from vmail_core.models.mlp import mlp


@dataclasses.dataclass(frozen=True)
class CloningConfig:
    """Choices of pixel cloning."""

    image_size: int = 32
    frames: int = 3
    depth: int = 32
    units: int = 256
    updates: int = 3000
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    shift: int = 2  # pixels
    seed: int = 0


class PixelPolicy(nn.Module):
    """K stacked frames to an action; acts on pictures as `collect.ImagePolicy`."""

    def __init__(self, config: CloningConfig, action_size: int) -> None:
        """Build the network."""
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.image_size, config.depth)
        first = self.encoder.convolutions[0]
        assert isinstance(first, nn.Conv2d)
        self.encoder.convolutions[0] = nn.Conv2d(3 * config.frames, config.depth, first.kernel_size[0], stride=2)
        self.head = mlp(self.encoder.embed_size, config.units, 2, action_size, activation="relu")
        self._recent: list[Tensor] = []

    def forward(self, stack: Tensor) -> Tensor:
        """(N, 3K, S, S) in [-0.5, 0.5] to actions (N, A)."""
        return torch.tanh(self.head(self.encoder(stack)))

    def reset(self) -> None:
        """Forget the last episode's frames."""
        self._recent = []

    @torch.no_grad()
    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """Action (A,) for a picture (S, S, 3); at the start the first frame stands in for those before it."""
        frame = preprocess(torch.from_numpy(np.ascontiguousarray(image)))
        self._recent = [*(self._recent or [frame] * self.config.frames), frame][-self.config.frames :]
        return self(torch.cat(self._recent)[None])[0].numpy()


def random_shift(images: Tensor, pixels: int) -> Tensor:
    """Shift each image (N, C, S, S) by up to `pixels` each way, edges repeated (DrQ)."""
    count, _, size, _ = images.shape
    padded = F.pad(images, (pixels,) * 4, mode="replicate")
    rows = torch.randint(0, 2 * pixels + 1, (count, 1)) + torch.arange(size)
    columns = torch.randint(0, 2 * pixels + 1, (count, 1)) + torch.arange(size)
    index = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def frame_stacks(demos: Sequence[Rows], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Every frame that an action followed, with those before it: (N, K, S, S, 3) uint8 and actions (N, A)."""
    stacks, actions = [], []
    for demo in demos:
        rows = np.arange(len(demo.action) - 1)
        history = np.clip(rows[:, None] + np.arange(1 - frames, 1), 0, None)
        stacks.append(demo.image[history])
        actions.append(demo.action[1:])
    return np.concatenate(stacks), np.concatenate(actions)


def clone_pixels(
    demos: Sequence[Rows], config: CloningConfig, report: Callable[[int, float], None] | None = None
) -> PixelPolicy:
    """Train a PixelPolicy on demonstrations whose pictures have the config's size."""
    torch.manual_seed(config.seed)
    stacks, actions = frame_stacks(demos, config.frames)
    policy = PixelPolicy(config, actions.shape[1])
    optimiser = torch.optim.AdamW(policy.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.updates)
    rng = np.random.default_rng(config.seed)
    for update in range(config.updates):
        chosen = rng.integers(len(stacks), size=config.batch)
        pixels = preprocess(torch.from_numpy(stacks[chosen])).flatten(1, 2)
        error = policy(random_shift(pixels, config.shift)) - torch.from_numpy(actions[chosen])
        loss = error.square().sum(-1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if report is not None and (update + 1) % 100 == 0:
            report(update + 1, loss.item())
    return policy.eval()
