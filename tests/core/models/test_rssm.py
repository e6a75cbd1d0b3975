import pytest
import torch

from vmail_core.models import RSSM, Latent
from vmail_core.models.rssm import gru_step


@pytest.fixture
def rssm() -> RSSM:
    torch.manual_seed(0)
    return RSSM(action_size=3, embed_size=7, deter=11, stoch=5, hidden=13, min_std=0.1)


def test_the_memory_step_is_torchs_gru_cell():
    cell = torch.nn.GRUCell(6, 9)
    inputs, memory = torch.randn(4, 6), torch.randn(4, 9)
    torch.testing.assert_close(gru_step(cell, inputs, memory), cell(inputs, memory))


def test_observing_a_chunk_is_filtering_it_step_by_step(rssm):
    embed, action = torch.randn(6, 2, 7), torch.randn(6, 2, 3)
    torch.manual_seed(1)
    beliefs, (prior_mean, prior_std) = rssm.observe(embed, action)
    torch.manual_seed(1)
    noise = torch.randn(6, 2, 5)
    state = rssm.initial(2)
    for t in range(6):
        step = rssm.filter_step(state, action[t], embed[t], sample=False)
        state = Latent(step.deter, step.mean + step.std * noise[t], step.mean, step.std)
        torch.testing.assert_close(state.feature, beliefs.feature[t])
        mean, std = rssm.prior(state.deter)
        torch.testing.assert_close(mean, prior_mean[t])
        torch.testing.assert_close(std, prior_std[t])


def test_an_imagined_step_has_the_statistics_of_the_forward_model(rssm):
    start = Latent(*(part.expand(20_000, -1) for part in rssm.initial(1)))
    action = torch.ones(1, 3).expand(20_000, -1)
    step = rssm.imagine_step(start, action)
    torch.testing.assert_close(step.stoch.mean(0), step.mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(step.stoch.std(0), step.std[0], atol=0.05, rtol=0)
    assert (step.std >= 0.1).all()
