"""A smallest learning rate above the rate: refused where it was written, warned about where a small batch makes the rate so small."""

import pytest
import torch

from selfsup.engine.schedulers import PolicyLR
from selfsup.errors import ConfigError, SelfSupWarning


def schedule(lr, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
    return PolicyLR(optimizer, 10, 100, policy='CosineAnnealing', min_lr=1e-3, **settings)


def test_a_rate_that_was_given_is_refused():
    with pytest.raises(ConfigError, match=r'min_lr=0.001 is above the learning rate, 0.0001'):
        schedule(1e-4)


def test_a_rate_that_follows_from_a_small_batch_is_warned_about():
    with pytest.warns(SelfSupWarning, match=r'min_lr=0.001 is above the learning rate of 1 of 1 parameter groups'):
        schedule(1e-4, base_lr=0.1)
    with pytest.raises(ConfigError, match=r'min_lr=0.001 is above the learning rate'):
        schedule(1e-5, base_lr=1e-4)
