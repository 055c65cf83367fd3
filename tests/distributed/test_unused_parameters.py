"""A parameter without a gradient under two processes is named, and so is the setting."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.engine.processes.ddp import explain_unfinished, refuse_unused
from selfsup.errors import ConfigError

from .helpers import run_ranks

pytestmark = pytest.mark.dist


class Spare(nn.Module):
    """`spare` takes part in the first passes alone, `never` in none."""

    def __init__(self, never=0):
        super().__init__()
        self.used, self.spare = nn.Linear(2, 2), nn.Linear(2, 2)
        self.never = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(never))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, x, with_spare):
        return (self.spare(self.used(x)) if with_spare else self.used(x)).sum()


def steps(never, with_spare, find=False):
    model = DistributedDataParallel(Spare(never), find_unused_parameters=find)
    try:
        for number, use in enumerate(with_spare):
            with explain_unfinished(model):
                loss = model(torch.ones(3, 2), use)
            loss.backward()
            if number == 0:
                refuse_unused(model)
            model.zero_grad()
    except ConfigError as error:
        return str(error)
    return 'trained'


def test_what_the_loss_never_uses_is_named_before_the_first_step():
    for found in run_ranks(steps, 2, 1, (True,)):
        assert found.startswith('The loss does not depend on the parameters never.0.weight: several processes')
        assert 'find_unused_parameters=True' in found and '\n' not in found


def test_many_names_are_counted():
    found = run_ranks(steps, 2, 7, (False,))[0]
    assert 'parameters spare.weight, spare.bias, never.0.weight, never.1.weight, never.2.weight and 4 more' in found


def test_what_a_later_step_leaves_out_is_named_in_the_next():
    for found in run_ranks(steps, 2, 0, (True, False, True)):
        assert found.startswith('The loss does not depend on the parameters spare.weight, spare.bias: ')


def test_with_the_setting_all_of_it_trains():
    assert run_ranks(steps, 2, 2, (True, False, False), True) == ['trained', 'trained']


def test_one_process_needs_no_gradient_for_every_parameter():
    model = Spare(1)
    model(torch.ones(3, 2), False).backward()
    refuse_unused(model)


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match='out of memory'), explain_unfinished(nn.Linear(1, 1)):
        raise RuntimeError('out of memory')
