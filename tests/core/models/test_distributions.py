"""Distributions of the latent sample against torch.distributions, and a learner with categories."""

import numpy as np
import torch
from torch.distributions import Independent, Normal, OneHotCategorical, kl_divergence

from vmail_core.learners.config import load_config
from vmail_core.learners.vmail import VMAIL
from vmail_core.models.distributions import UNIMIX, Categorical, Gaussian


def test_the_gaussians_kl_is_torchs():
    gaussian = Gaussian(5, 0.1)
    pair = [gaussian.statistics(torch.randn(7, 10)) for _ in range(2)]
    wanted = kl_divergence(*(Independent(Normal(*statistics), 1) for statistics in pair))
    torch.testing.assert_close(gaussian.kl(*pair[0], *pair[1]), wanted)


def test_the_categories_kl_is_torchs_summed_over_variables():
    categorical = Categorical(3, 4)
    pair = [categorical.statistics(torch.randn(7, 12)) for _ in range(2)]
    wanted = kl_divergence(*(OneHotCategorical(probs=mean.unflatten(-1, (3, 4))) for mean, _ in pair)).sum(-1)
    torch.testing.assert_close(categorical.kl(*pair[0], *pair[1]), wanted)


def test_samples_are_one_hot_as_often_as_their_probability_says_and_pass_gradients_straight_through():
    categorical = Categorical(2, 3)
    raw = torch.tensor([[2.0, 0.0, -1.0, 0.0, 0.0, 9.0]]).requires_grad_()
    mean, std = categorical.statistics(raw)
    torch.manual_seed(0)
    samples = categorical.draw(mean, std, categorical.noise((20_000, 1), mean))
    np.testing.assert_allclose(sorted({round(value, 4) for value in samples.unique().tolist()}), [0.0, 1.0])
    torch.testing.assert_close(samples.sum(-1), torch.full((20_000, 1), 2.0))
    torch.testing.assert_close(samples.mean(0), mean, atol=0.02, rtol=0.0)
    weights = torch.randn(6)
    (through,) = torch.autograd.grad((samples[0] * weights).sum(), raw, retain_graph=True)
    torch.testing.assert_close(through, torch.autograd.grad((mean * weights).sum(), raw)[0])


def test_no_class_is_ever_impossible_and_the_mode_is_the_likeliest():
    categorical = Categorical(1, 4)
    mean, std = categorical.statistics(torch.tensor([[100.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(mean.min(), torch.tensor(UNIMIX / 4))
    assert categorical.mode(mean, std).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_every_part_of_a_learner_with_categories_learns():
    torch.manual_seed(0)
    learner = VMAIL(load_config("debug", {"model.stoch": 4, "model.classes": 5}), action_size=2)
    assert learner.model.feature_size == 8 + 20
    parts = ("model", "discriminator", "actor", "critic")
    before = {part: [weight.clone() for weight in getattr(learner, part).parameters()] for part in parts}
    image = torch.randint(0, 255, (6, 4, 32, 32, 3), dtype=torch.uint8)
    report = learner.update(image, torch.rand(6, 4, 2), demo_count=2)
    assert all(torch.isfinite(value) for value in report.values()), report
    for part, old in before.items():
        new = list(getattr(learner, part).parameters())
        assert any(not torch.equal(one, other) for one, other in zip(old, new, strict=True)), part
