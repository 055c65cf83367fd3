"""Layers on their own."""

import warnings

import torch
from torch import nn

from selfsup.errors import SelfSupWarning
from selfsup.models.layers.functional import full_precision, l2_normalize, similarity
from selfsup.models.layers.momentum import momentum_copy, momentum_update
from selfsup.models.layers.norm import batch_norm_1d, frozen_statistics, resolve_sync_bn
from selfsup.models.layers.pooling import global_average, last_map
from selfsup.models.layers.sobel import Sobel
from selfsup.registry import BACKBONES, NECKS


def test_sync_bn_falls_back_with_one_warning():
    import mmcv.cnn  # noqa: F401  (its first import changes the filters of warnings)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('default')
        model = BACKBONES.build(
            {
                'type': 'ResNet',
                'depth': 18,
                'stage_blocks': (1, 1, 1, 1),
                'base_channels': 8,
                'norm_cfg': {'type': 'SyncBN', 'momentum': 0.2},
            }
        )
        neck = NECKS.build({'type': 'NonLinearNeckSimCLR', 'in_channels': 64, 'hid_channels': 8, 'out_channels': 4})
    messages = [w for w in caught if issubclass(w.category, SelfSupWarning)]
    assert len(messages) == 1 and 'SyncBN was replaced by BN' in str(messages[0].message)
    assert type(model.layer1[0].bn1) is nn.BatchNorm2d and model.bn1.momentum == 0.2
    assert type(neck.bn0) is nn.BatchNorm1d
    neck(model(torch.randn(2, 3, 32, 32)))


def test_sync_bn_is_used_where_it_can_run(monkeypatch):
    monkeypatch.setattr('selfsup.models.layers.norm.can_sync_bn', lambda: True)
    assert resolve_sync_bn({'type': 'SyncBN'}) == {'type': 'SyncBN'}
    assert type(batch_norm_1d(4, sync=True)) is nn.SyncBatchNorm
    assert type(batch_norm_1d(4)) is nn.BatchNorm1d
    model = BACKBONES.build(
        {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'norm_cfg': {'type': 'SyncBN'}}
    )
    assert isinstance(model.bn1, nn.SyncBatchNorm) and 'layer1.0.bn1.weight' in model.state_dict()


def test_frozen_statistics_normalise_by_the_batch():
    norm, x = nn.BatchNorm1d(3), torch.randn(8, 3) + 5
    expected = nn.BatchNorm1d(3)(x)
    with frozen_statistics(norm):
        torch.testing.assert_close(norm(x), expected)
    assert torch.equal(norm.running_mean, torch.zeros(3)) and norm.num_batches_tracked == 0
    norm(x)
    assert norm.num_batches_tracked == 1


def test_sobel_finds_edges():
    img = torch.zeros(1, 3, 6, 6)
    img[..., 3:] = 1  # an edge that crosses W
    out = Sobel()(img)
    assert out.shape == (1, 2, 6, 6)
    torch.testing.assert_close(out[0, 0, 2], torch.tensor([0.0, 0.0, -4.0, -4.0, 0.0, 4.0]))  # last: zero padding
    torch.testing.assert_close(out[0, 1, 2], torch.zeros(6))
    torch.testing.assert_close(Sobel()(img.transpose(2, 3))[0, 1], out[0, 0].T)
    assert list(Sobel().parameters()) == [] and Sobel().state_dict() == {}


def test_functions_keep_precision_under_autocast():
    a, b = l2_normalize(torch.randn(4, 64)), l2_normalize(torch.randn(5, 64))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = similarity(a, b.T)
    assert torch.equal(out, a @ b.T)
    assert full_precision(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
    assert full_precision(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32


def test_pooling():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(global_average((x[:, :1], x)), x.mean((2, 3)))
    assert last_map(x) is x
    vectors = torch.randn(2, 3)
    assert global_average(vectors) is vectors


def test_momentum_update_leaves_buffers_alone():
    source = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    target = momentum_copy(source)
    assert not any(p.requires_grad for p in target.parameters()) and all(p.requires_grad for p in source.parameters())
    source(torch.randn(8, 3) + 4)
    old = target[0].weight.clone()
    nn.init.ones_(source[0].weight)
    momentum_update(target, source, 0.9)
    torch.testing.assert_close(target[0].weight, 0.9 * old + 0.1)
    assert torch.equal(target[1].running_mean, torch.zeros(3))
    momentum_update(nn.Identity(), nn.Identity(), 0.5)  # nothing to do
