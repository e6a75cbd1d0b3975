"""The decoder of Dreamer as it is, beside all its layers as transposed convolutions: pictures and their gradients.

    python benchmarks/decoder.py [--pictures 200] [--threads 1] [--device cpu]

Both have the same weights and are timed in turns.
"""

from __future__ import annotations

import argparse
import sys

import torch
from learner import in_turns
from torch import Tensor

from vmail_core.learners.acting import new_model
from vmail_core.learners.config import load_config
from vmail_core.learners.device import choose_device
from vmail_core.models.vision import Decoder


def main() -> int:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper/walker_walk", help="one with model.vision=dreamer")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    model = new_model(load_config(arguments.preset), 6, 0).to(device)
    decoder = model.decoder
    if not isinstance(decoder, Decoder):
        parser.error(f"{arguments.preset} has another decoder: choose a preset with model.vision=dreamer")
    feature = torch.randn(arguments.pictures, model.feature_size, device=device)

    def plain(feature: Tensor) -> Tensor:
        return decoder.convolutions(decoder.embed(feature)[:, :, None, None])

    calls = {
        "as it is": lambda: decoder(feature).square().mean().backward(),
        "transposed convolutions alone": lambda: plain(feature).square().mean().backward(),
    }
    medians = in_turns(calls, arguments.rounds, device)
    print(f"{arguments.preset}, {arguments.pictures} pictures, {device}, {torch.get_num_threads()} threads")
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:<40} {median:>8.1f} ms {median / first:>6.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
