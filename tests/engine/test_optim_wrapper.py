"""Accumulation, clipping and mixed precision of the optimizer wrappers."""

import pytest
import torch

from selfsup.engine.optim_wrapper import AmpOptimWrapper, OptimWrapper
from selfsup.errors import ConfigError


def make(cls=OptimWrapper, **kwargs):
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 2)
    return net, cls(optimizer=torch.optim.SGD(net.parameters(), lr=0.1), **kwargs)


def test_clipping_keeps_the_norm_for_the_log():
    net, optim = make(clip_grad={'max_norm': 0.5})
    (net(torch.ones(3, 4)) ** 2).sum().backward()
    before = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in net.parameters()]))
    assert optim.step()
    assert torch.allclose(optim.grad_norm, before)
    assert torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in net.parameters()])) <= 0.5 + 1e-6


def test_bf16_on_the_cpu_computes_in_bf16_and_steps_in_fp32():
    net, optim = make(AmpOptimWrapper)
    with optim.autocast():
        out = net(torch.ones(3, 4))
    assert out.dtype is torch.bfloat16
    optim.backward(out.float().sum())
    assert optim.step()
    assert all(p.dtype is torch.float32 for p in net.parameters())


def test_fp16_skips_a_step_that_overflowed_and_says_so():
    net, optim = make(AmpOptimWrapper, dtype='float16', loss_scale={'init_scale': 8.0})
    weight = net.weight.detach().clone()
    with optim.autocast():
        loss = net(torch.ones(3, 4)).float().sum()
    optim.backward(loss * float('inf'))
    assert not optim.step()
    assert torch.equal(net.weight, weight)
    optim.zero_grad()
    with optim.autocast():
        loss = net(torch.ones(3, 4)).float().sum()
    optim.backward(loss)
    assert optim.step()
    assert not torch.equal(net.weight, weight)


def test_the_scaler_is_part_of_the_state():
    net, optim = make(AmpOptimWrapper, dtype='float16', loss_scale={'init_scale': 8.0})
    optim.backward(net(torch.ones(3, 4)).sum() * float('inf'))
    optim.step()
    _, other = make(AmpOptimWrapper, dtype='float16', loss_scale={'init_scale': 8.0})
    other.load_state_dict(optim.state_dict())
    assert other.loss_scaler.get_scale() == optim.loss_scaler.get_scale() == 4.0


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'dtype': 'half'}, "dtype='half'"),
        ({'loss_scale': 'static'}, "loss_scale='static'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        make(AmpOptimWrapper, **kwargs)
