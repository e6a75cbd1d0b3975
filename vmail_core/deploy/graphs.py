"""The five ONNX graphs of a bundle, from the trained networks.

Each graph is one wrapper module below. Scaling of pixels, layout and rounding live inside the graphs, so that the
runtime only moves arrays.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from vmail_core.deploy.bundle import Sizes
from vmail_core.deploy.runtime import Shapes, graph_shapes
from vmail_core.models import Actor, Discriminator, Latent, WorldModel, preprocess

OPSET = 20


class _Encoder(nn.Module):
    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.encoder, self.joint_encoder = model.encoder, model.joint_encoder

    def forward(self, image: Tensor, joint_positions: Tensor | None = None) -> Tensor:
        seen = self.encoder(preprocess(image))
        return seen if self.joint_encoder is None else self.joint_encoder(seen, joint_positions)


class _Filter(nn.Module):
    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.rssm = model.rssm

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor, embed: Tensor) -> tuple[Tensor, Tensor]:
        belief = self.rssm.filter_step(_latent(deter, stoch), action, embed, sample=False)
        return belief.deter, belief.stoch


class _Policy(nn.Module):
    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        return self.actor.mode(_latent(deter, stoch).feature)


class _Decoder(nn.Module):
    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        pixels = (self.decoder(_latent(deter, stoch).feature) + 0.5) * 255.0
        return pixels.round().clamp(0.0, 255.0).to(torch.uint8).movedim(-3, -1)


class _Discriminator(nn.Module):
    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        return self.discriminator(_latent(deter, stoch).feature, action).unsqueeze(-1)


def _latent(deter: Tensor, stoch: Tensor) -> Latent:
    # The graphs carry the posterior's mean as the sample, and nothing downstream of it reads the std.
    return Latent(deter, stoch, stoch, torch.ones_like(stoch))


def write_graphs(model: WorldModel, actor: Actor, discriminator: Discriminator, folder: Path) -> Sizes:
    """Write the five .onnx files, at batch size 1 with their weights inside, into a folder.

    The modules must be float32, on the CPU and in evaluation mode.
    """
    rssm = model.rssm
    embed_size = rssm.posterior_embed.in_features
    sizes = Sizes(
        image=model.image_size,
        embed=embed_size,
        deter=rssm.deter_size,
        stoch=rssm.stoch_size,
        action=model.action_size,
        joints=model.observed_joints,
    )
    wrappers = {
        "encoder": _Encoder(model),
        "filter": _Filter(model),
        "policy": _Policy(actor),
        "decoder": _Decoder(model),
        "discriminator": _Discriminator(discriminator),
    }
    for name, (inputs, outputs) in graph_shapes(sizes).items():
        graph = _trace(wrappers[name], inputs, list(outputs))
        _strip(graph)
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, folder / f"{name}.onnx")
    return sizes


def _trace(module: nn.Module, inputs: Shapes, outputs: list[str]) -> onnx.ModelProto:
    examples = tuple(
        torch.zeros(shape, dtype=torch.uint8 if name == "image" else torch.float32) for name, shape in inputs.items()
    )
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            examples,
            input_names=list(inputs),
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _strip(graph: onnx.ModelProto) -> None:
    """Drop stack traces and source paths: they differ between machines, and so would the bundle's hashes."""
    body = graph.graph
    for entry in (graph, body, *body.node, *body.input, *body.output, *body.value_info, *body.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that it does not need and on its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
