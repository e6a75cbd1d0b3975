"""Image encoders and decoders at 32, 64 and 128 pixels.

`Encoder` and `Decoder` are the convolutional stacks of Dreamer (Hafner et al. 2020), which the paper uses; for 128
pixels they have one layer more, of the published sizes.
`PatchEncoder` and `PatchDecoder` do the same job for a CPU: patches of 4 pixels go in and come out in one
matrix product each, and no transposed convolution, slow there, is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Convolutions of stride 2 that lead from the image to a 2x2 map: channels, in units of the depth; the kernel is 4.
ENCODER_CHANNELS: dict[int, tuple[int, ...]] = {32: (1, 2, 4), 64: (1, 2, 4, 8), 128: (1, 2, 4, 8, 8)}
ENCODER_KERNEL = 4
# Transposed ones that lead from a 1x1 map back to it: (channels, kernel), the last one to the image's own three.
DECODER_LAYERS: dict[int, tuple[tuple[int, int], ...]] = {
    32: ((2, 5), (1, 5), (0, 8)),
    64: ((4, 5), (2, 5), (1, 6), (0, 6)),
    128: ((4, 5), (2, 5), (1, 5), (1, 6), (0, 6)),
}


def preprocess(image: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) float32 in [-0.5, 0.5]."""
    assert image.dtype == torch.uint8, image.dtype
    return image.movedim(-1, -3).float().div_(255.0).sub_(0.5)  # in place: a batch of pictures is large


PATCH = 4  # side of the patches that PatchEncoder reads and PatchDecoder writes
SMALLEST_MAP = 4  # side of the map between the patch stacks and the latent state


def make_vision(kind: str, image_size: int, depth: int) -> tuple[nn.Module, int, Callable[[int], nn.Module]]:
    """An encoder, the size of its embedding, and a function that makes the decoder for a feature size.

    Args:
        kind: "dreamer" or "patch".
        image_size: 32, 64 or 128.
        depth: channels of the first layer.
    """
    if image_size not in ENCODER_CHANNELS:
        raise ValueError(f"image_size={image_size}; the encoder knows {sorted(ENCODER_CHANNELS)}")
    if kind == "patch":
        encoder = PatchEncoder(image_size, depth)
        return encoder, encoder.embed_size, lambda size: PatchDecoder(image_size, depth, size)
    dreamer = Encoder(image_size, depth)
    return dreamer, dreamer.embed_size, lambda size: Decoder(image_size, depth, size)


class Encoder(nn.Module):
    """Image (N, 3, S, S) in [-0.5, 0.5] to embedding (N, E)."""

    def __init__(self, image_size: int, depth: int) -> None:
        """Channels double from `depth` with each layer, up to eight times as many."""
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = 3, image_size
        for multiple in ENCODER_CHANNELS[image_size]:
            layers += [nn.Conv2d(channels, depth * multiple, ENCODER_KERNEL, stride=2), nn.ReLU()]
            channels, size = depth * multiple, (size - ENCODER_KERNEL) // 2 + 1
        self.convolutions = nn.Sequential(*layers[:-1])
        self.embed_size = channels * size * size

    def forward(self, image: Tensor) -> Tensor:
        """Embed a batch of images."""
        # The last ReLU comes after flattening: before it, gradient and activation would lie differently in memory.
        return torch.relu(self.convolutions(image).flatten(1))


class Decoder(nn.Module):
    """Feature (N, F) to the mean of the image, (N, 3, S, S) in [-0.5, 0.5]."""

    def __init__(self, image_size: int, depth: int, feature_size: int) -> None:
        """Mirror of the encoder with the transposed kernels of Dreamer."""
        super().__init__()
        channels = depth * ENCODER_CHANNELS[image_size][-1] * 4  # as many numbers as the encoder's map has
        self.embed = nn.Linear(feature_size, channels)
        layers: list[nn.Module] = []
        for multiple, kernel in DECODER_LAYERS[image_size]:
            layers.append(nn.ConvTranspose2d(channels, depth * multiple or 3, kernel, stride=2))
            if multiple:
                layers.append(nn.ReLU())
            channels = depth * multiple
        self.convolutions = nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        """Decode a batch of features."""
        first, *others, last = self.convolutions
        maps = spread_point(cast(nn.ConvTranspose2d, first), self.embed(feature))
        for layer in others:
            maps = layer(maps)
        return to_few_channels(cast(nn.ConvTranspose2d, last), maps)


def spread_point(layer: nn.ConvTranspose2d, point: Tensor) -> Tensor:
    """`layer(point[:, :, None, None])`, (N, C) to (N, C', K, K), as the matrix product that it is.

    Libraries do not see that: benchmarks/decoder.py.
    """
    kernel = layer.weight.permute(0, 2, 3, 1)  # (C, K, K, C'), as it lies in memory
    maps = F.linear(point, kernel.flatten(1).t()).unflatten(1, kernel.shape[1:])
    return (maps + cast(Tensor, layer.bias)).permute(0, 3, 1, 2)


def to_few_channels(layer: nn.ConvTranspose2d, maps: Tensor) -> Tensor:
    """`layer(maps)`, (N, C, S, S) to (N, C', 2 S + K - 2, ...), for an even kernel K and stride 2, without padding.

    One convolution gives the four pixels of each output square. GPUs have no fast transposed convolution to three
    channels: benchmarks/decoder.py.
    """
    kernel = F.pixel_unshuffle(layer.weight, 2)  # (C, 4 C', K / 2, K / 2): each pixel of a square has its own
    reach = kernel.shape[-1] - 1
    bias = cast(Tensor, layer.bias).repeat_interleave(4)
    squares = F.conv2d(maps, kernel.flip(2, 3).transpose(0, 1), bias, padding=reach)
    return F.pixel_shuffle(squares, 2)


class PatchEncoder(nn.Module):
    """Image (N, 3, S, S) in [-0.5, 0.5] to embedding (N, E): patches, then stride-2 convolutions to 4x4."""

    def __init__(self, image_size: int, depth: int) -> None:
        """`depth` channels a patch, twice as many after that."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, depth, PATCH, stride=PATCH), nn.ReLU()]
        channels, size = depth, image_size // PATCH
        while size > SMALLEST_MAP:
            layers += [nn.Conv2d(channels, 2 * depth, 4, stride=2, padding=1), nn.ReLU()]
            channels, size = 2 * depth, size // 2
        self.convolutions = nn.Sequential(*layers[:-1])
        self.embed_size = channels * size * size

    def forward(self, image: Tensor) -> Tensor:
        """Embed a batch of images."""
        # The last ReLU comes after flattening: before it, gradient and activation would lie differently in memory.
        return torch.relu(self.convolutions(image).flatten(1))


class PatchDecoder(nn.Module):
    """Feature (N, F) to the mean of the image, (N, 3, S, S) in [-0.5, 0.5]: the encoder's mirror."""

    def __init__(self, image_size: int, depth: int, feature_size: int) -> None:
        """Mirror of a PatchEncoder with the same `depth`."""
        super().__init__()
        self._channels = channels = 2 * depth
        self.embed = nn.Linear(feature_size, channels * SMALLEST_MAP**2)
        layers: list[nn.Module] = []
        size = SMALLEST_MAP
        while size < image_size // PATCH:
            layers += [nn.Conv2d(channels, 4 * depth, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()]
            channels, size = depth, 2 * size
        layers += [nn.Conv2d(channels, 3 * PATCH**2, 1), nn.PixelShuffle(PATCH)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        """Decode a batch of features."""
        maps = torch.relu(self.embed(feature)).unflatten(1, (self._channels, SMALLEST_MAP, SMALLEST_MAP))
        return self.convolutions(maps)
