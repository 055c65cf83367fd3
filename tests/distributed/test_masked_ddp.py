"""Batch norms over the visible positions of two processes that see different numbers of blocks, and those of a momentum network over
whole images: the numbers of one process."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from selfsup import distributed
from selfsup.registry import MODELS

from .helpers import run_ranks

WORLD, PER_RANK = 2, 3
BACKBONE = {
    'type': 'ResNet',
    'depth': 18,
    'stage_blocks': (1, 1, 1, 1),
    'base_channels': 8,
    'out_indices': (1, 2, 3, 4),
}
CONFIGS = {
    'SparK': {
        'neck': {'type': 'SparKNeck', 'norm': 'bn'},
        'head': {'type': 'MaskedPixelHead'},
        'decoder': {'type': 'LightDecoder', 'width': 32, 'norm_cfg': {'type': 'GN', 'num_groups': 1}},
    },
    'FCMAE': {'decoder': {'type': 'ConvNeXtV2Decoder', 'width': 16}, 'head': {'type': 'MaskedPixelHead'}},
    'CNNJEPA': {
        'predictor': {'type': 'CNNJEPAPredictor'},
        'neck': {'type': 'CNNJEPAProjection', 'out_channels': 16},
    },
}


def step(name):
    """Loss, gradients and running statistics after one step."""
    torch.manual_seed(0)
    model = MODELS.build({'type': name, 'backbone': dict(BACKBONE), 'sync_bn': True, **CONFIGS[name]}).double().train()
    wrapped = DistributedDataParallel(model, broadcast_buffers=False) if distributed.world_size() > 1 else model
    generator = torch.Generator().manual_seed(5)
    img = torch.randn(WORLD * PER_RANK, 3, 64, 96, generator=generator, dtype=torch.float64)
    order = torch.rand(len(img), 6, generator=generator).argsort(dim=1)
    visible = (order < torch.tensor([5, 4, 4, 1, 2, 1])[:, None]).view(-1, 2, 3)
    found = wrapped({'img': distributed.local_rows(img), 'visible': distributed.local_rows(visible)})
    found.total.backward()
    statistics = {k: v for k, v in model.state_dict().items() if 'running_' in k}
    return (
        distributed.mean(found.total).item(),
        {k: p.grad for k, p in model.named_parameters() if p.requires_grad},
        statistics,
    )


def steps():
    return {name: step(name) for name in CONFIGS}


@pytest.mark.dist
@pytest.mark.filterwarnings('ignore:SyncBN was replaced')  # that of the decoder, which has none here
def test_two_processes_equal_one():
    ranks = run_ranks(steps, WORLD)
    for name in CONFIGS:
        loss, grads, statistics = step(name)
        assert len(statistics) > 20
        for rank in ranks:
            their_loss, their_grads, their_statistics = rank[name]
            assert their_loss == pytest.approx(loss, rel=1e-9)
            for found, expected in ((their_grads, grads), (their_statistics, statistics)):
                assert found.keys() == expected.keys()
                for key, value in expected.items():
                    where = f'{name} {key}: '
                    torch.testing.assert_close(
                        found[key], value, rtol=1e-6, atol=1e-9, msg=lambda m, where=where: where + m
                    )
