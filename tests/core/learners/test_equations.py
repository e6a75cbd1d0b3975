"""Eq. 6, 7 and 8 against slow references: loops over time, in float64."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vmail_core.learners import equations as eq
from vmail_core.learners.config import Model
from vmail_core.models import Discriminator, WorldModel


@pytest.fixture
def world() -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(32, 2, depth=2, deter=6, stoch=3, hidden=5, min_std=0.1, norm=False).double()


def chunk() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(4, 3, 3, 32, 32, generator=generator, dtype=torch.float64) - 0.5
    return pixels, torch.rand(4, 3, 2, generator=generator, dtype=torch.float64)


def test_eq7_is_the_elbo_summed_step_by_step(world):
    pixels, action = chunk()
    torch.manual_seed(2)
    loss, _, report = eq.eq7_model_loss(world, pixels, action, Model(free_nats=0.0, kl_scale=1.0))
    torch.manual_seed(2)
    noise = torch.randn(4, 3, 3, dtype=torch.float64)
    state, log_likelihood, kl = world.rssm.initial(3), 0.0, 0.0
    for t in range(4):
        embed = world.encoder(pixels[t])
        state = world.rssm.filter_step(state, action[t], embed, sample=False)
        state = state._replace(stoch=state.mean + state.std * noise[t])
        prior = Normal(*world.rssm.prior(state.deter))
        kl += kl_divergence(Normal(state.mean, state.std), prior).sum(-1).mean() / 4
        picture = Normal(world.decoder(state.feature), 1.0)
        constant = 0.5 * math.log(2 * math.pi) * 3 * 32 * 32
        log_likelihood += (picture.log_prob(pixels[t]).sum((-1, -2, -3)) + constant).mean() / 4
    torch.testing.assert_close(loss, kl - log_likelihood)
    torch.testing.assert_close(report["kl"], kl)


def test_free_nats_stop_the_kls_gradient_but_not_its_value(world):
    pixels, action = chunk()
    loss, _, report = eq.eq7_model_loss(world, pixels, action, Model(free_nats=1e6))
    torch.testing.assert_close(loss - report["pixel_loss"], torch.full_like(loss, 1e6))


def test_balanced_kl_has_the_plain_value_and_shared_gradients(world):
    pixels, action = chunk()
    beliefs, (mean, std) = world.rssm.observe(world.embed(pixels), action)
    kl = world.rssm.distribution.kl
    plain = eq.balanced_kl(kl, beliefs, (mean, std), None)
    balanced = eq.balanced_kl(kl, beliefs, (mean, std), 0.8)
    torch.testing.assert_close(plain, balanced)
    ratio = torch.autograd.grad(balanced, mean, retain_graph=True)[0] / torch.autograd.grad(plain, mean)[0]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.8))


def test_eq6_is_the_log_likelihood_of_both_sides():
    torch.manual_seed(0)
    discriminator = Discriminator(4, 2, 8, 2)
    expert, agent = (torch.randn(5, 4), torch.randn(5, 2)), (torch.randn(7, 4), torch.randn(7, 2))
    loss, report = eq.eq6_discriminator_loss(discriminator, expert, agent)
    wanted = 0.0
    for feature, action in zip(*expert, strict=True):
        wanted -= math.log(float(torch.sigmoid(discriminator(feature, action)).detach())) / 5
    for feature, action in zip(*agent, strict=True):
        wanted -= math.log(1.0 - float(torch.sigmoid(discriminator(feature, action)).detach())) / 7
    assert loss.item() == pytest.approx(wanted, abs=1e-5)
    assert 0 < report["d_expert"].item() < 1


def test_eq8_with_lambda_one_is_the_discounted_sum_and_the_value_after_it():
    reward = torch.rand(5, 3, dtype=torch.float64)
    value = torch.rand(6, 3, dtype=torch.float64)
    returns, _ = eq.eq8_policy_return(reward, value, discount=0.9, trace=1.0)
    for t in range(5):
        wanted = sum(0.9 ** (k - t) * reward[k] for k in range(t, 5)) + 0.9 ** (5 - t) * value[5]
        torch.testing.assert_close(returns[t], wanted)


def test_eq8_without_a_critic_is_the_sum_alone():
    reward = torch.rand(4, 2, dtype=torch.float64)
    returns, _ = eq.eq8_policy_return(reward, None, discount=0.5, trace=0.95)
    torch.testing.assert_close(returns[2], reward[2] + 0.5 * reward[3])


def test_lambda_returns_mix_the_n_step_returns():
    reward, value = torch.rand(4, 1, dtype=torch.float64), torch.rand(5, 1, dtype=torch.float64)
    discount, trace, horizon = 0.95, 0.7, 4

    def n_step(n: int) -> torch.Tensor:
        return sum(discount**k * reward[k] for k in range(n)) + discount**n * value[n]

    wanted = (1 - trace) * sum(trace ** (n - 1) * n_step(n) for n in range(1, horizon))
    wanted = wanted + trace ** (horizon - 1) * n_step(horizon)
    torch.testing.assert_close(eq.lambda_returns(reward, value, discount, trace)[0], wanted)


@pytest.mark.parametrize(("kind", "wanted"), [("log_d", math.log(0.75)), ("d", 0.75), ("logit", math.log(0.75 / 0.25))])
def test_rewards_of_a_discriminator_that_says_three_quarters(kind, wanted):
    logit = torch.tensor(math.log(0.75 / 0.25))
    assert float(eq.imitation_reward(logit, kind)) == pytest.approx(wanted, abs=1e-6)


def test_the_parameter_penalty_is_measured_on_the_weights_between_the_sides():
    torch.manual_seed(0)
    discriminator = Discriminator(4, 2, 8, 1)
    expert, agent = ((torch.randn(5, 4), torch.randn(5, 2)) for _ in range(2))
    torch.manual_seed(1)
    penalty = eq.parameter_penalty(discriminator, expert, agent)
    torch.manual_seed(1)
    mixed = eq.between(expert, agent)
    discriminator.zero_grad()
    discriminator(*mixed).mean().backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in discriminator.parameters()))
    assert penalty.item() == pytest.approx((norm - 1.0) ** 2, rel=1e-4)


@pytest.mark.parametrize(("experts", "agents"), [(4, 9), (9, 4), (6, 6)])
def test_penalties_look_between_random_pairs_of_both_sides(experts, agents):
    torch.manual_seed(0)
    expert = (torch.arange(experts)[:, None].double(), torch.zeros(experts, 1).double())
    agent = (100.0 + torch.arange(agents)[:, None].double(), torch.ones(agents, 1).double())
    seen: set[tuple[int, int]] = set()
    for _ in range(300):
        feature, action = eq.between(expert, agent)
        assert feature.shape == (min(experts, agents), 1)
        # The action tells the share of each side, and with it the feature tells the pair.
        assert ((action >= 0) & (action <= 1)).all()
        for one, share in zip(feature[:, 0].tolist(), action[:, 0].tolist(), strict=True):
            pairs = [
                (e, a)
                for e in range(experts)
                for a in range(agents)
                if abs((1 - share) * e + share * (100 + a) - one) < 1e-9
            ]
            seen.update(pairs)
    assert len(seen) == experts * agents, "every pair has its turn"


def test_the_input_penalty_of_a_linear_discriminator_is_its_slopes():
    discriminator = Discriminator(2, 1, 4, 0)
    with torch.no_grad():
        discriminator.network[0].weight.copy_(torch.tensor([[3.0, 0.0, 4.0]]))
    pair = (torch.randn(6, 2), torch.randn(6, 1))
    assert eq.input_penalty(discriminator, pair, pair).item() == pytest.approx(16.0, rel=1e-5)


def test_what_the_policy_raises_of_the_returns():
    returns = torch.tensor([[1.0, 3.0], [10.0, 10.0], [4.0, 0.0]], dtype=torch.float64)
    assert eq.policy_objective(returns, "first", 0.5).item() == 2.0
    assert eq.policy_objective(returns, "all", 0.5).item() == pytest.approx(28.0 / 6.0)
    assert eq.policy_objective(returns, "discounted", 0.5).item() == pytest.approx(
        (4.0 + 0.5 * 20.0 + 0.25 * 4.0) / 6.0
    )
