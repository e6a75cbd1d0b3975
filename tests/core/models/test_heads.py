"""The actor's samples and their surprisal against torch's own distributions."""

import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from vmail_core.models import Actor


def new_actor(init_std: float) -> Actor:
    torch.manual_seed(0)
    return Actor(5, 2, units=8, layers=1, init_std=init_std, min_std=1e-4, norm=False).double()


def test_surprisal_is_that_of_a_gaussian_squashed_by_tanh():
    actor, feature = new_actor(0.7), torch.randn(4, 3, 5, dtype=torch.float64)
    mean, std = actor.distribution(feature)
    torch.manual_seed(1)
    action, surprisal = actor.sample(feature)
    squashed = TransformedDistribution(Normal(mean, std), TanhTransform())
    torch.testing.assert_close(surprisal, -Independent(squashed, 1).log_prob(action), rtol=1e-6, atol=1e-6)
    torch.manual_seed(1)
    torch.testing.assert_close(action, actor(feature))


def test_entropy_pulls_an_action_off_its_limit():
    actor = new_actor(0.1)
    with torch.no_grad():
        actor.network[-1].bias[0] = 20.0  # the mean of the first action is 5 before tanh, where D's gradient is gone
    _, surprisal = actor.sample(torch.zeros(100, 5, dtype=torch.float64))
    surprisal.mean().backward()
    assert surprisal.isfinite().all() and actor.network[-1].bias.grad[0] < -1e-4
