"""The running range of returns: robust to outliers, never below one."""

import torch

from vmail_core.learners.return_range import DECAY, ReturnRange


def test_it_begins_with_the_first_returns_and_follows_slowly():
    scale = ReturnRange()
    returns = torch.linspace(0.0, 100.0, 1001).reshape(7, 143)
    torch.testing.assert_close(scale(returns), torch.tensor(90.0))
    torch.testing.assert_close(scale(2.0 * returns), torch.tensor(DECAY * 90.0 + (1.0 - DECAY) * 180.0))


def test_an_outlier_changes_nothing_and_small_returns_are_not_blown_up():
    returns = torch.zeros(1000)
    returns[0] = 1e6
    assert ReturnRange()(returns) == 1.0
