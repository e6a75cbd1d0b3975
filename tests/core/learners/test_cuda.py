"""Learning on a GPU: the captured update does what the plain one does, and runs go on there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy_world import Dot, demos

from vmail_core.learners.config import load_config
from vmail_core.learners.train import Trainer
from vmail_core.learners.vmail import VMAIL

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: run it on one")
UPDATES = 5


VARIANTS: dict[str, dict[str, Any]] = {
    "debug": {},
    "later options": {
        "discriminator.penalty": "input",
        "policy.imagine_from": 8,
        "policy.normalise": True,
        "policy.entropy": 0.01,
        "policy.cloning": 1.0,
        "policy.cloning_noise": 0.2,
        "policy.self_imitation": 0.5,
        "model.decode_fraction": 0.5,
        "model.kl_balance": 0.8,
        "train.average": 0.99,
    },
    "categorical": {"model.classes": 4, "model.norm": True, "discriminator.norm": True},
    "bfloat16": {"train.precision": "bfloat16"},
}


def learner(variant: str, captured: bool) -> VMAIL:
    torch.manual_seed(0)
    made = VMAIL(load_config("debug", VARIANTS[variant]), action_size=2, device="cuda")
    if not captured:
        made._graphs = None
    return made


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_captured_update_is_the_plain_one(variant: str) -> None:
    rng = np.random.default_rng(0)
    batches = [
        (
            rng.integers(0, 255, (6, 4, 32, 32, 3), dtype=np.uint8),
            rng.uniform(-1, 1, (6, 4, 2)).astype(np.float32),
        )
        for _ in range(UPDATES)
    ]
    losses = {}
    for captured in (False, True):
        made = learner(variant, captured)
        torch.cuda.manual_seed(1)
        losses[captured] = [
            {name: float(value) for name, value in made.update(*batch, demo_count=2).items()} for batch in batches
        ]
    # Random numbers differ once a graph draws them: the first update's are drawn alike, later ones agree roughly.
    assert losses[True][0].keys() == losses[False][0].keys()
    for name in ("pixel_loss", "kl", "discriminator_loss"):
        plain, graph = ([losses[kind][i][name] for i in range(UPDATES)] for kind in (False, True))
        assert np.isfinite(graph).all()
        np.testing.assert_allclose(graph, plain, rtol=0.3)


def test_a_run_on_a_gpu_goes_on_from_its_checkpoint(tmp_path) -> None:
    config = load_config("debug", {"train.device": "cuda"})
    first = Trainer(config, demos(), Dot(), tmp_path / "run")
    first.advance()
    first.save()
    second = Trainer(config, demos(), Dot(), tmp_path / "run")
    assert second.progress == first.progress
    for mine, its in zip(second.learner.parameters(), first.learner.parameters(), strict=True):
        assert mine.is_cuda and torch.equal(mine, its)
    second.run()
    assert second.done
