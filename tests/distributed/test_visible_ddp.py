"""Batch norm over ranks that keep different numbers of blocks: two processes give what one gives on the joined batch."""

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.models.layers.norm import SyncBatchNorm
from selfsup.models.visible import encode_visible

from .helpers import run_ranks

VISIBLE = torch.tensor(
    [[[1, 1, 0], [1, 1, 1]], [[0, 1, 1], [1, 0, 1]], [[0, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=torch.bool
)


def network(layer):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4) if layer == 'flag' else SyncBatchNorm.like(nn.BatchNorm2d(4))
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1), nn.BatchNorm2d(2)
    )
    nn.init.uniform_(norm.weight)
    return net.double()


def step(path, layer):
    """Gradients as DDP would average them, and running statistics; each rank takes its part of the batch."""
    net = network(layer)
    img = torch.randn(4, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(4, 2, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    order = torch.arange(4).chunk(distributed.world_size())[distributed.rank()]
    (out,) = encode_visible(net, img[order], VISIBLE[order], path, sync=True)
    (out.dense() * weights[order]).sum().div(4 / distributed.world_size()).backward()
    return [distributed.mean(p.grad) for p in net.parameters()] + [b.double() for b in net.buffers()]


@pytest.mark.parametrize(('path', 'layer'), [('visible', 'flag'), ('masked', 'flag'), ('visible', 'layer')])
def test_two_processes_are_one(path, layer):
    one = step(path, layer)
    for result in run_ranks(step, 2, path, layer):
        for a, b in zip(result, one, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
