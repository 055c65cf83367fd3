"""Maps of visible blocks: statistics and norms are those of the visible positions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError
from selfsup.models.layers.grn import GRN
from selfsup.models.layers.norm import SyncBatchNorm, sync_batch_norm
from selfsup.models.visible import MaskedMap, VisibleMap, encode_visible

from .visible_cases import BOTH, MAPS, close, gradients, hide, positions, ragged, randomised, sample


@BOTH
def test_statistics_are_those_of_visible_positions(kind):
    x, visible = sample(channels=4)
    m, rows = kind.from_dense(x, visible), positions(x, visible)
    assert len(rows[-1]) == 0
    average = torch.stack([r.mean(0) if len(r) else torch.zeros(4) for r in rows])
    close(m.mean((2, 3)), average, 'mean')
    close(F.adaptive_avg_pool2d(m, 1)[:, :, 0, 0], average, 'pool')
    close(m.permute(0, 2, 3, 1).mean((1, 2), keepdim=True)[:, 0, 0], average, 'NHWC mean')
    norms = torch.stack([r.norm(dim=0) for r in rows])
    close(m.norm(p=2, dim=(2, 3)), norms, 'norm per image')
    over_batch = torch.linalg.vector_norm(m.permute(0, 2, 3, 1), dim=(0, 1, 2), keepdim=True)
    close(over_batch, torch.cat(rows).norm(dim=0).view(1, 1, 1, 4), 'norm of the batch')
    # An image without positions has norm 0.
    assert all(torch.isfinite(g).all() for g in gradients(m.norm(p=2, dim=(2, 3)), x))


@BOTH
def test_torch_norm_is_the_method(kind):
    x, visible = sample()
    m = kind.from_dense(x, visible).permute(0, 2, 3, 1)
    out = torch.norm(m, p=2, dim=(1, 2), keepdim=True)
    close(out, m.norm(p=2, dim=(1, 2), keepdim=True), 'method')
    close(out, torch.norm(x.permute(0, 2, 3, 1), p=2, dim=(1, 2), keepdim=True), 'whole map')
    for order in (0, -1, float('-inf')):
        with pytest.raises(ConfigError, match='needs an order above 0'):
            torch.linalg.vector_norm(m, order, (1, 2))


@BOTH
@pytest.mark.parametrize(
    'layer',
    [nn.GroupNorm(2, 4), nn.GroupNorm(1, 4), nn.InstanceNorm2d(4, affine=True)],
    ids=['group', 'layer-like', 'instance'],
)
def test_group_and_instance_norm(kind, layer):
    layer = randomised(layer)
    x, visible = sample(batch=3)
    out = layer(kind.from_dense(x, visible)).dense()
    for image, (rows, given) in enumerate(zip(positions(out, visible), positions(x, visible), strict=True)):
        if len(given):
            # The layer itself, on an image that consists of the visible positions.
            as_image = given.t()[None, :, :, None]
            close(rows, layer(as_image)[0, :, :, 0].t(), f'image {image}')
    close(out, hide(out, visible), 'hidden positions')


@BOTH
def test_batch_norm_counts_visible_positions(kind):
    x, visible = sample()
    ours, plain = nn.BatchNorm2d(4).double(), nn.BatchNorm1d(4).double()
    out, rows = ours(kind.from_dense(x, visible)).dense(), torch.cat(positions(x, visible))
    close(torch.cat(positions(out, visible)), plain(rows), 'map')
    close(ours.running_var, plain.running_var, 'variance')
    close(ours.running_mean, plain.running_mean, 'mean')
    assert int(ours.num_batches_tracked) == 1


@pytest.mark.parametrize('weight', [None, torch.tensor([0.5, -2.0])])
def test_sync_batch_norm_on_one_process_is_batch_norm(weight):
    x = torch.randn(5, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = weight if weight is None else weight.double()
    (m, v), (n, w) = ((torch.zeros(2).double(), torch.ones(2).double()) for _ in range(2))
    ours, plain = (
        sync_batch_norm(x, m, v, weight, weight, 0.1, 1e-5),
        F.batch_norm(x, n, w, weight, weight, True, 0.1, 1e-5),
    )
    close(ours, plain, 'map')
    close(m, n, 'mean')
    close(v, w, 'variance')
    close(*(gradients(y, x)[0] for y in (ours, plain)), 'gradient')


def test_sync_batch_norm_layer_makes_the_path_synchronous():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), SyncBatchNorm.like(nn.BatchNorm2d(4)))
    (out,) = encode_visible(net, torch.randn(2, 3, 8, 8), ragged(2, 2, 2))
    assert out.blocks.sync and list(net[1].state_dict()) == list(nn.BatchNorm2d(4).state_dict())


@pytest.mark.parametrize('scope', ['image', 'batch'])
def test_grn(scope):
    layer = randomised(GRN(4, scope))
    x, visible = sample()
    a, b = (layer(kind.from_dense(x, visible).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).dense() for kind in MAPS)
    close(a, b, scope)
    rows = torch.cat(positions(x, visible)) if scope == 'batch' else positions(x, visible)[0]
    n = rows.norm(dim=0)
    expected = rows * (1 + layer.gamma[0, 0, 0] * n / (n.mean() + 1e-6)) + layer.beta[0, 0, 0]
    close(torch.cat(positions(a, visible)) if scope == 'batch' else positions(a, visible)[0], expected, scope)


@BOTH
@pytest.mark.parametrize('inplace', [False, True])
def test_dropout2d_drops_whole_channels_of_images(kind, inplace):
    x, visible = sample(channels=64)
    m = kind.from_dense(x, visible)
    torch.manual_seed(0)
    out = F.dropout2d(m, 0.5, True, inplace)
    kept = (out.dense() if not inplace else m.dense()).detach() / x.detach()
    for image, grid in zip(kept[:2], visible, strict=False):
        seen = image[:, grid.repeat_interleave(8, 0).repeat_interleave(8, 1)]
        assert torch.all((seen == 0).all(1) | ((seen - 2).abs() < 1e-9).all(1))
        assert 10 < int((seen[:, 0] == 0).sum()) < 54
    torch.manual_seed(0)
    other = VisibleMap if kind is MaskedMap else MaskedMap
    close(out.dense(), F.dropout2d(other.from_dense(x, visible), 0.5).dense(), 'other path')
