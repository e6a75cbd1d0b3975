"""The recurrences with written-out backward passes against the plain loops that autograd differentiates."""

import pytest
import torch
from torch import Tensor

from vmail_core.models import RSSM, Latent


@pytest.fixture
def rssm() -> RSSM:
    torch.manual_seed(0)
    return RSSM(action_size=3, embed_size=7, deter=11, stoch=5, hidden=13, min_std=0.1).double()


def mixed(belief: Latent) -> Tensor:
    """A scalar that every part of a belief moves."""
    return belief.deter.sin().sum() + (belief.stoch * belief.mean).sum() + belief.std.square().sum()


@pytest.mark.parametrize("length", [1, 2, 6])
def test_filtering_a_chunk_has_the_values_and_gradients_of_the_plain_loop(rssm, length):
    shift = torch.randn(length, 2, 13, dtype=torch.float64, requires_grad=True)
    action = torch.randn(length, 2, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(length, 2, 5, dtype=torch.float64)
    weights = [p for name, p in rssm.named_parameters() if not name.startswith(("prior", "posterior_embed"))]
    written, plain = rssm._filter_written_out(shift, action, noise), rssm._filter(shift, action, noise)
    for got, wanted in zip(written, plain, strict=True):
        torch.testing.assert_close(got, wanted)
    inputs = [shift, action, *weights]
    got, wanted = (torch.autograd.grad(mixed(belief), inputs) for belief in (written, plain))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_an_imagined_step_has_the_values_and_gradients_of_the_plain_one(rssm):
    deter, stoch = (torch.randn(4, n, dtype=torch.float64, requires_grad=True) for n in (11, 5))
    action = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    start = Latent(deter, stoch, torch.zeros_like(stoch), torch.ones_like(stoch))

    def two_steps() -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        end = rssm.imagine_step(rssm.imagine_step(start, action), 0.5 * action)
        return mixed(end), *torch.autograd.grad(mixed(end), [deter, stoch, action])

    plain = two_steps()  # the weights want gradients: autograd follows every operation
    rssm.requires_grad_(False)
    written = two_steps()
    for one, other in zip(written, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_imagining_with_weights_that_learn_gives_them_gradients(rssm):
    start = Latent(*(part.double() for part in rssm.initial(2)))
    step = rssm.imagine_step(start, torch.ones(2, 3, dtype=torch.float64))
    assert torch.autograd.grad(mixed(step), rssm.cell.weight_ih)[0].abs().sum() > 0


def test_a_model_with_layernorm_filters_by_the_plain_loop():
    torch.manual_seed(0)
    rssm = RSSM(action_size=3, embed_size=7, deter=11, stoch=5, hidden=13, min_std=0.1, norm=True)
    beliefs, _ = rssm.observe(torch.randn(4, 2, 7), torch.randn(4, 2, 3))
    assert torch.autograd.grad(mixed(beliefs), rssm.norms[0].weight)[0].abs().sum() > 0
