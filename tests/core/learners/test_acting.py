"""Acting in practice: the noise grows where D doubts, and only there."""

import numpy as np
import pytest
import torch

from vmail_core.learners.acting import FilteringPolicy, PracticeNoise, new_actor, new_discriminator, new_model
from vmail_core.learners.config import Policy, load_config

ACTION_SIZE = 2
FEATURE, ACTION = torch.zeros(1, 5), torch.zeros(1, ACTION_SIZE)


def noise_where(logit: float, exploration: float, lost_exploration: float) -> PracticeNoise:
    """With a D that says `logit` everywhere."""
    discriminator = new_discriminator(load_config("debug"), ACTION_SIZE, FEATURE.shape[-1])
    with torch.no_grad():
        discriminator.network[-1].weight.zero_()
        discriminator.network[-1].bias.fill_(logit)
    config = Policy(exploration=exploration, lost_exploration=lost_exploration)
    return PracticeNoise(config, discriminator, np.random.default_rng(0))


@pytest.mark.parametrize(("logit", "std"), [(-100.0, 0.5), (0.0, 0.2 + 0.3 / 16), (100.0, 0.2)])
@torch.no_grad()
def test_noise_grows_where_d_is_sure_that_this_is_not_the_expert(logit, std):
    noise = noise_where(logit, exploration=0.2, lost_exploration=0.3)
    assert noise.std(FEATURE, ACTION) == pytest.approx(std)
    drawn = np.stack([noise(FEATURE, ACTION) for _ in range(2000)])
    assert drawn.shape == (2000, ACTION_SIZE) and drawn.std(0) == pytest.approx([std, std], rel=0.06)


@torch.no_grad()
def test_without_exploration_there_is_no_noise():
    assert not noise_where(-100.0, exploration=0.0, lost_exploration=0.0)(FEATURE, ACTION).any()


@torch.no_grad()
def test_a_d_that_knows_nothing_yet_is_not_asked():
    config = Policy(exploration=0.2, lost_exploration=0.3)
    assert PracticeNoise(config, None, np.random.default_rng(0)).std(FEATURE, ACTION) == 0.2


def test_practice_strays_and_deployment_does_not():
    config = load_config("debug")
    model = new_model(config, ACTION_SIZE, 0)
    actor = new_actor(config, ACTION_SIZE, model.feature_size)
    discriminator = new_discriminator(config, ACTION_SIZE, model.feature_size)
    practice_noise = PracticeNoise(config.policy, discriminator, np.random.default_rng(0))
    size = config.model.image_size
    image, still = np.zeros((size, size, 3), np.uint8), np.zeros(ACTION_SIZE, np.float32)
    for noise, same in ((None, True), (practice_noise, False)):
        policy = FilteringPolicy(model, actor, noise)
        first = policy.act(image, still)
        policy.reset()
        assert np.array_equal(first, policy.act(image, still)) == same
