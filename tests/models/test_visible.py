"""Maps of visible blocks: every rule against a plain computation on the whole map, and whole networks on both paths."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.backbones import ConvNeXt, ConvNeXtV2, ResNet
from selfsup.models.layers.grn import GRN
from selfsup.models.layers.norm import SyncBatchNorm, sync_batch_norm
from selfsup.models.visible import MaskedMap, VisibleMap, encode_visible, register_rule

from .visible_cases import assert_same, close, ragged, randomised, weighted_loss

MAPS = [VisibleMap, MaskedMap]
BOTH = pytest.mark.parametrize('kind', MAPS, ids=['visible', 'masked'])


def sample(channels=4, size=(16, 24), grid=(2, 3), batch=3, seed=0, dtype=torch.float64):
    """A whole map with zeros where hidden, in double precision, and its grid; the last image keeps nothing."""
    visible = ragged(batch, *grid, seed)
    visible[1:] &= torch.arange(1, batch)[:, None, None] < max(batch - 1, 2)
    x = torch.randn(batch, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return hide(x, visible).requires_grad_(), visible


def hide(x, visible):
    """`x` with zeros where hidden, by a mask that is enlarged to its size."""
    return x * F.interpolate(visible[:, None].to(x.dtype), size=x.shape[2:], mode='nearest')


def gradients(out, *inputs):
    return torch.autograd.grad(weighted_loss([out]), inputs)


CONVS = [  # kernel, stride, padding, dilation, groups (of 4 channels)
    (1, 1, 0, 1, 1),
    (1, 2, 0, 1, 1),
    (2, 2, 0, 1, 4),
    (3, 1, 1, 1, 1),
    (3, 2, 1, 1, 1),
    (3, 1, 2, 2, 1),
    (3, 1, 1, 1, 2),
    (3, 1, 1, 1, 4),
    (3, 2, 1, 1, 4),
    (5, 1, 2, 1, 4),
    (5, 2, 2, 1, 1),
    (7, 2, 3, 1, 1),
    (7, 1, 3, 1, 4),
    (7, 1, 3, 1, 1),
    (7, 1, 9, 3, 4),
    (11, 1, 5, 1, 4),
    (2, 2, 0, 1, 1),
    (3, 1, 'same', 1, 1),
    (4, 1, 'same', 1, 4),
    (8, 1, 'same', 1, 4),
    ((1, 7), 1, (0, 3), 1, 4),
    ((3, 1), (2, 1), (1, 0), 1, 1),
    (3, 4, 1, 1, 1),
    (21, 1, 10, 1, 4),
]


@BOTH
@pytest.mark.parametrize('size', [(16, 24), (8, 12), (2, 3)], ids=['z=8', 'z=4', 'z=1'])
@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation', 'groups'), CONVS)
def test_convolution_is_mask_convolve_mask(kind, size, kernel, stride, padding, dilation, groups):
    x, visible = sample(size=size)
    steps = stride if isinstance(stride, tuple) else (stride, stride)
    kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    weight = torch.randn(8, 4 // groups, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(8, dtype=torch.float64, requires_grad=True)
    arguments = weight, bias, stride, padding, dilation, groups
    if any((extent // count) % step for extent, count, step in zip(size, (2, 3), steps, strict=True)):
        with pytest.raises(ConfigError, match='a multiple of the stride of the network'):
            F.conv2d(kind.from_dense(x, visible), *arguments)
        return
    out, whole = F.conv2d(kind.from_dense(x, visible), *arguments).dense(), hide(F.conv2d(x, *arguments), visible)
    close(out, whole, 'map')
    for a, b in zip(gradients(out, x, weight, bias), gradients(whole, x, weight, bias), strict=True):
        close(hide(a, visible) if a.shape == x.shape else a, hide(b, visible) if b.shape == x.shape else b, 'gradient')


POOLS = [
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, 3, 1, 1),
    lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-9.0), 3, 2),
    lambda x: F.avg_pool2d(x, 3, 1, 1),
    lambda x: F.avg_pool2d(x, 2, 2),
    lambda x: F.avg_pool2d(x, 3, 2, 1),
    lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False),
    lambda x: F.interpolate(x, scale_factor=2),
    lambda x: F.interpolate(x, size=(32, 72), mode='nearest'),
    lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), torch.ones(2, 4, 3, 3, dtype=torch.float64), None, 2),
    lambda x: F.conv2d(F.pad(x, (1, 2, 1, 2)), torch.ones(4, 1, 4, 4, dtype=torch.float64), groups=4),
]


@BOTH
@pytest.mark.parametrize('number', range(len(POOLS)))
def test_pooling_and_padding(kind, number):
    x, visible = sample()
    with torch.no_grad():
        x -= x.abs()  # negative values: a zero of a hidden neighbour wins a maximum, one beyond the image does not
    out, whole = POOLS[number](kind.from_dense(x, visible)).dense(), hide(POOLS[number](x), visible)
    close(out, whole, 'map')
    close(hide(gradients(out, x)[0], visible), hide(gradients(whole, x)[0], visible), 'gradient')


def positions(x, visible):
    """(visible positions, C), image by image."""
    z = x.shape[2] // visible.shape[1]
    return [
        image.permute(1, 2, 0)[grid.repeat_interleave(z, 0).repeat_interleave(z, 1)]
        for image, grid in zip(x, visible, strict=True)
    ]


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
    assert all(
        torch.isfinite(g).all() for g in gradients(m.norm(p=2, dim=(2, 3)), x)
    )  # an image without positions has norm 0


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
            as_image = given.t()[
                None, :, :, None
            ]  # the layer itself, on an image that consists of the visible positions
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


POINTWISE = [
    lambda x: 2 - x,
    lambda x: 1 / (x + 3.5),
    lambda x: (x * x + 1).sqrt(),
    lambda x: -x / 2,
    lambda x: x**2,
    lambda x: (x - 9) ** -1,
    lambda x: x.exp(),
    torch.sigmoid,
    lambda x: F.relu(x + 1, inplace=True),
    F.hardswish,
    lambda x: x.clamp(min=0.5),
    lambda x: torch.cat([x, x + 1], 1),
    lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    lambda x: x[:, 1:3],
    lambda x: x.split([1, 3], 1)[1],
    lambda x: x + torch.arange(4.0).view(4, 1, 1),
    lambda x: x * torch.arange(3.0).view(3, 1, 1, 1),
    lambda x: x + torch.arange(16 * 24.0).view(1, 1, 16, 24),
    lambda x: torch.addcmul(x, x + 1, x - 1, value=0.5),
    lambda x: x / (x + 20),
    lambda x: x - x.mean(1, keepdim=True),
    lambda x: torch.sqrt((x + 1).pow(2).sum(1, keepdim=True)),
    lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), torch.arange(4.0).double(), torch.ones(4).double()).permute(
        0, 3, 1, 2
    ),
    lambda x: F.linear(x.transpose(1, 3), torch.ones(5, 4).double(), torch.ones(5).double()).transpose(1, 3),
    lambda x: torch.rsub(x, 1) if isinstance(x, torch.Tensor) else 1 - x,
    lambda x: F.normalize(x + 1),
    lambda x: x.add(x, alpha=3),
]


@BOTH
@pytest.mark.parametrize('number', range(len(POINTWISE)))
def test_operations_on_positions(kind, number):
    function = POINTWISE[number]
    x, visible = sample()
    out, whole = function(kind.from_dense(x, visible)).dense(), hide(function(x), visible)
    close(out, whole, 'map')
    a, b = (hide(gradients(y, x)[0], visible) for y in (out, whole))
    assert torch.isfinite(a).all()
    close(a, b, 'gradient')


def tiny(name):
    torch.manual_seed(0)
    if name.startswith('ResNet'):
        return ResNet(int(name[6:]), base_channels=8, stage_blocks=(1, 2, 1, 1), with_cp=name == 'ResNet34')
    sizes = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), out_indices=(0, 1, 2, 3, 4), drop_path_rate=0.3)
    return ConvNeXt(**sizes) if name == 'ConvNeXt' else ConvNeXtV2(grn_scope=name[11:], **sizes)


NETS = ['ResNet18', 'ResNet34', 'ResNet50', 'ConvNeXt', 'ConvNeXtV2-image', 'ConvNeXtV2-batch']


@pytest.mark.parametrize(('size', 'block'), [((64, 96), 32), ((128, 64), 64)])
@pytest.mark.parametrize('name', NETS)
def test_our_networks_on_both_paths(name, size, block):
    visible = ragged(3, size[0] // block, size[1] // block)
    visible[1] = False  # an image of which nothing is seen
    assert_same(randomised(tiny(name)), torch.randn(3, 3, *size, dtype=torch.float64), visible)


@pytest.mark.parametrize('path', ['visible', 'masked'])
@pytest.mark.parametrize('name', NETS)
def test_nothing_hidden_is_the_plain_network(name, path):
    net, img = randomised(tiny(name)), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.manual_seed(5)
    plain = net(img)
    torch.manual_seed(5)
    for a, b in zip(encode_visible(net, img, torch.ones(2, 2, 2, dtype=torch.bool), path), plain, strict=True):
        close(a.dense(), b, name)


def test_what_is_stored():
    x, visible = sample()
    m = VisibleMap.from_dense(x, visible)
    assert m.shape == x.shape and m.size(2) == 16 and m.dim() == 4 and len(m) == 3 and m.dtype == torch.float64
    assert m.values.shape == (int(visible.sum()), 4, 8, 8) and m.values.is_contiguous(memory_format=torch.channels_last)
    for row, (image, y, x_) in enumerate(itertools.islice(visible.nonzero().tolist(), 4)):
        torch.testing.assert_close(m.values[row], x[image, :, 8 * y : 8 * y + 8, 8 * x_ : 8 * x_ + 8])
    assert m.permute(0, 2, 3, 1).shape == (3, 16, 24, 4) and m.float().dtype == torch.float32
    torch.testing.assert_close(m.dense(), x)


def test_autocast_computes_in_half_precision_without_nan():
    visible = ragged(4, 2, 2)
    for name in ('ConvNeXtV2-image', 'ResNet50'):
        net = tiny(name).eval()
        with torch.autocast('cpu', torch.bfloat16):
            a, b = (
                encode_visible(net, torch.ones(4, 3, 64, 64), visible, path)[-1].dense()
                for path in ('visible', 'masked')
            )
        torch.testing.assert_close(a.float(), b.float(), rtol=0.1, atol=0.1)
        weighted_loss([a.float()]).backward()
        assert all(
            torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32
            for p in net.parameters()
            if p.grad is not None
        )
        assert any(float(p.grad.abs().max()) > 0 for p in net.parameters() if p.grad is not None)
    with torch.autocast('cpu', torch.bfloat16):
        m = VisibleMap.from_dense(torch.randn(1, 3, 8, 8), visible[:1])
        assert F.conv2d(m, torch.ones(4, 3, 3, 3), padding=1).dtype == torch.bfloat16


def test_sync_batch_norm_layer_makes_the_path_synchronous():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), SyncBatchNorm.like(nn.BatchNorm2d(4)))
    (out,) = encode_visible(net, torch.randn(2, 3, 8, 8), ragged(2, 2, 2))
    assert out.blocks.sync and list(net[1].state_dict()) == list(nn.BatchNorm2d(4).state_dict())


@pytest.mark.parametrize(
    ('size', 'visible', 'message'),
    [
        ((2, 3, 60, 64), torch.ones(2, 8, 2, dtype=torch.bool), '60 x 64 pixels cannot be cut into 8 x 2 equal blocks'),
        (
            (2, 3, 64, 64),
            torch.ones(2, 2, 2),
            r'must be a bool tensor \(B, fh, fw\), True = kept; got \(2, 2, 2\) torch.float32',
        ),
        ((2, 3, 64, 64), torch.ones(2, 4, dtype=torch.bool), r'must be a bool tensor .* got \(2, 4\)'),
        ((2, 3, 64, 64), torch.ones(1, 2, 2, dtype=torch.bool), '2 images but visible has 1 grids'),
        ((2, 3, 64, 64), torch.zeros(2, 2, 2, dtype=torch.bool), 'keeps no block at all'),
        ((3, 64, 64), torch.ones(2, 2, 2, dtype=torch.bool), 'Images must be a float tensor'),
    ],
)
def test_bad_grids(size, visible, message):
    with pytest.raises(ShapeError, match=message):
        encode_visible(nn.Identity(), torch.zeros(size), visible)


def test_errors_say_what_to_do():
    x, visible = sample()
    m = VisibleMap.from_dense(x, visible)
    with pytest.raises(ConfigError, match=r'no rule for Tensor.cumsum\. Add one with'):
        m.cumsum(1)
    with pytest.raises(ConfigError, match='over all positions'):
        F.fold(m, 2, 2)
    with pytest.raises(ConfigError, match=r'no rule for torch\.trace'):
        torch.trace(m)
    with pytest.raises(ConfigError, match=r"path='visibel'.* Did you mean 'visible'"):
        encode_visible(nn.Identity(), x, visible, 'visibel')
    with pytest.raises(ConfigError, match='returned Tensor of shape'):
        encode_visible(nn.AdaptiveAvgPool2d(1), x, visible)
    with pytest.raises(ConfigError, match='a multiple of the stride of the network'):
        encode_visible(tiny('ResNet18'), torch.randn(1, 3, 64, 64), torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match='do not fit'):
        m + VisibleMap.from_dense(x, visible)
    with pytest.raises(ShapeError, match='does not broadcast'):
        m + torch.ones(5, 1, 1)
    with pytest.raises(ConfigError, match=r'after F\.pad only a convolution or a pooling'):
        F.relu(F.pad(m, (1, 1, 1, 1)))
    with pytest.raises(AttributeError, match='no attribute'):
        m.no_such_thing()


class Doubled(torch.autograd.Function):
    """An operation that torch does not offer to maps: it would run without a gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_a_custom_autograd_function_does_not_lose_the_gradient_silently():
    x, visible = sample()
    with pytest.raises(ConfigError, match='the gradient would be lost'):
        Doubled.apply(VisibleMap.from_dense(x, visible))


def test_a_rule_can_be_added():
    x, visible = sample()

    @register_rule(torch.special.erfcx)
    def erfcx(m):
        return m.with_stored(torch.special.erfcx(m.stored))

    close(
        torch.special.erfcx(VisibleMap.from_dense(x, visible)).dense(), hide(torch.special.erfcx(x), visible), 'erfcx'
    )
    with pytest.raises(ConfigError, match="no function 'erfcxx'"):
        register_rule('erfcxx')


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [(8, 16), (4, 8), (2, 4)], ids=['z=4', 'z=2', 'z=1'])
@pytest.mark.parametrize(
    ('kernel', 'stride', 'dilation'), [(1, 1, 1), (3, 1, 1), (3, 1, 2), (5, 1, 1), (3, 2, 1), (1, 2, 1)]
)
def test_small_blocks_that_are_laid_out_for_speed(dtype, size, kernel, stride, dilation):
    """On CPU in float32, rows of small blocks become maps of other shapes; 16 and more blocks take that path."""
    if size[0] // 2 % stride:
        return
    x = torch.randn(8, 12, *size, generator=torch.Generator().manual_seed(0)).to(dtype)
    visible = torch.ones(8, 2, 4, dtype=torch.bool)
    visible[:, 1, 1:] = False
    visible[0, 1] = torch.tensor([False, True, True, True])
    visible[1, 0] = torch.tensor([True, False, False, False])
    x = hide(x, visible).requires_grad_()
    weight = (torch.randn(20, 12, kernel, kernel) / (12 * kernel**2) ** 0.5).to(dtype).requires_grad_()
    bias = torch.randn(20).to(dtype).requires_grad_()
    arguments = weight, bias, stride, dilation * (kernel // 2), dilation
    out, whole = F.conv2d(VisibleMap.from_dense(x, visible), *arguments).dense(), hide(F.conv2d(x, *arguments), visible)
    close(out, whole, 'map')
    for a, b in zip(gradients(out, x, weight, bias), gradients(whole, x, weight, bias), strict=True):
        close(hide(a, visible) if a.shape == x.shape else a, hide(b, visible) if b.shape == x.shape else b, 'gradient')


def test_linear_layers_in_single_precision():
    x, visible = torch.randn(8, 12, 8, 16, requires_grad=True), ragged(8, 2, 4)
    layer = nn.Linear(12, 20)
    out, whole = (
        layer(VisibleMap.from_dense(x, visible).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).dense(),
        layer(x.permute(0, 2, 3, 1)),
    )
    whole = hide(whole.permute(0, 3, 1, 2), visible)
    close(out, whole, 'map')
    for a, b in zip(gradients(out, x, *layer.parameters()), gradients(whole, x, *layer.parameters()), strict=True):
        close(a, b, 'gradient')
