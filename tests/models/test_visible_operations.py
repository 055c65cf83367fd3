"""Operations beside convolutions that convolutional networks are made of: on partly visible maps as on whole, masked ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError
from selfsup.models.visible import encode_visible

from .visible_cases import BOTH, MAPS, gradients, hide, plain, positions, ragged, sample

TIGHT = 1e-12


def same(a, b, name=''):
    """Equal to 1e-12 of the largest value, and not all zero."""
    assert a.shape == b.shape, name
    size = float(b.detach().abs().max())
    assert size > 0, name
    assert float((a - b).detach().abs().max()) <= TIGHT * size, name


def shuffled(x, groups=2):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def space_to_depth(x, side=2):
    n, c, h, w = x.size()
    x = x.view(n, c, h // side, side, w // side, side).permute(0, 3, 5, 1, 2, 4).contiguous()
    return x.view(n, c * side * side, h // side, w // side)


def depth_to_space(x, side=2):
    n, c, h, w = x.shape
    return (
        x.view(n, c // side**2, side, side, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // side**2, h * side, w * side)
    )


def selected(x):
    """Branches that are weighted against each other, as a selective kernel does."""
    both = torch.stack([x, x * 2 + 1], dim=1)
    return (both * torch.softmax(plain(3, 2, 4, 1, 1), 1)).sum(1)


def radix(x):
    b, c, h, w = x.shape
    split = x.reshape(b, 2, c // 2, h, w)
    return (split * plain(3, 2, 2, 1, 1)).sum(dim=1)


def written(x):
    x = x * 1
    x[:, 1:3] = 0
    x[:, 3] = x[:, 0] * 2
    return x


def coordinates(x):
    b, _, h, w = x.shape
    row = torch.linspace(-1, 1, h, dtype=x.dtype).view(1, 1, h, 1).expand(b, 1, h, w)
    return torch.cat([x, row, plain(1, 2, 1, w).expand(b, 2, h, w)], 1)


PER_POSITION = {
    'channel shuffle': shuffled,
    'ChannelShuffle': lambda x: F.channel_shuffle(x, 2),
    'pixel_unshuffle': lambda x: F.pixel_unshuffle(x, 4),
    'pixel_shuffle': lambda x: F.pixel_shuffle(x, 2),
    'space to depth': space_to_depth,
    'depth to space': depth_to_space,
    'there and back': lambda x: depth_to_space(space_to_depth(x, 4), 4),
    'max of channels': lambda x: x.max(1, keepdim=True)[0],
    'max without the axis': lambda x: torch.max(x, dim=1).values.unsqueeze(1),
    'min of channels': lambda x: x.min(dim=1, keepdim=True).values,
    'amax': lambda x: x.amax(1, keepdim=True) - x.amin(1, True),
    'indices': lambda x: x * (x.max(1, keepdim=True)[1] == 2),
    'mean without the axis': lambda x: x.mean(1).unsqueeze(1),
    'CBAM': lambda x: torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1),
    'softmax': lambda x: x * torch.softmax(x, 1),
    'softmax 2': lambda x: F.softmax(x.permute(0, 2, 3, 1), -1).permute(0, 3, 1, 2),
    'log_softmax': lambda x: F.log_softmax(x, 1),
    'logsumexp': lambda x: torch.logsumexp(x, 1, keepdim=True),
    'var of channels': lambda x: x.var(1, keepdim=True),
    'biased var': lambda x: torch.var(x, dim=(1,), keepdim=True, correction=0),
    'var channels-last': lambda x: (
        y := x.permute(0, 2, 3, 1),
        y * torch.rsqrt(torch.var(y, dim=(-1,), keepdim=True) + 1e-6),
    )[1].permute(0, 3, 1, 2),
    'std of channels': lambda x: x.std(1, False, True),
    'var_mean': lambda x: torch.var_mean(x, 1, keepdim=True)[1],
    'GLU': lambda x: F.glu(x, 1),
    'LRN': lambda x: F.local_response_norm(x, 3),
    'where': lambda x: torch.where(x > 0, x, 0.1 * x),
    'where number': lambda x: torch.where(x > 0, x, 2.0),
    'where method': lambda x: x.where(x > 0, x * x + 3),
    'maximum': lambda x: torch.maximum(x, 0.5 * x * x),
    'max of two': lambda x: torch.max(x, torch.tensor(0.25, dtype=x.dtype)),
    'minimum': lambda x: torch.minimum(x, plain(4, 1, 1)),
    'masked_fill': lambda x: x.masked_fill(x < 0, 3.0),
    'lerp': lambda x: torch.lerp(x, x * x, 0.3),
    'zeros': lambda x: x + torch.zeros_like(x) + torch.full_like(x, 2.0),
    'stack': lambda x: torch.stack([x, x * 2], 0).sum(0),
    'stack last': lambda x: torch.stack([x, x + 2], -1).mean(-1),
    'selective kernel': selected,
    'radix': radix,
    'unbind': lambda x: torch.stack(x.unbind(1)[::-1], 1),
    'unflatten': lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
    'one channel': lambda x: x[:, 2].unsqueeze(1) * x[:, [3, 0]],
    'squeeze': lambda x: x[:, :1].squeeze(1).unsqueeze(1),
    'order': lambda x: x[:, torch.tensor([2, 0, 3, 1])],
    'select': lambda x: x.select(1, 2).unsqueeze(1),
    'narrow': lambda x: x.narrow(1, 1, 2),
    'tensor_split': lambda x: torch.cat(x.tensor_split(3, 1)[::-1], 1),
    'expand': lambda x: x[:, :1].expand(-1, 5, -1, -1) * plain(5, 1, 1),
    'repeat': lambda x: x.repeat_interleave(3, dim=1),
    'one gate, many channels': lambda x: x[:, :1] * plain(3, 7, 1, 1),
    'write': written,
    'coordinates': coordinates,
    'einsum': lambda x: torch.einsum('bchw,cd->bdhw', x, plain(4, 6)),
    'einsum of two': lambda x: torch.einsum('nchw,nkhw->nckhw', x, x + 1).flatten(1, 2),
    'einsum per image': lambda x: torch.einsum('bchw,bcd->bhwd', x, plain(3, 4, 5)).permute(0, 3, 1, 2),
    'matmul': lambda x: (x.permute(0, 2, 3, 1) @ plain(4, 6)).permute(0, 3, 1, 2),
    'grouped linear': lambda x: (
        F.linear(x.unflatten(1, (2, 2)).permute(0, 3, 4, 1, 2), plain(3, 2)).flatten(3).permute(0, 3, 1, 2)
    ),
    'GeM exponent': lambda x: (x * x + 0.5).pow(torch.tensor(3.0, dtype=torch.float64)),
    'flat and back': lambda x: (x.flatten(2) * plain(4, 1) + plain(16 * 24)).view(x.shape),
    'tokens': lambda x: (
        F.linear(x.flatten(2).transpose(1, 2), plain(6, 4), plain(6)).transpose(1, 2).reshape(3, 6, 16, 24)
    ),
}


@BOTH
@pytest.mark.parametrize('name', PER_POSITION)
def test_each_position_for_itself(kind, name):
    """A convolution follows, so that what was left at hidden positions would show."""
    x, visible = sample()
    function = PER_POSITION[name]
    out, whole = function(kind.from_dense(x, visible)), hide(function(x), visible)
    same(out.dense() * 1, hide(out.dense(), visible), 'hidden')
    same(out.dense(), whole, 'map')
    weight = plain(2, whole.shape[1], 3, 3, seed=5)
    out, whole = F.conv2d(out, weight, padding=1).dense(), hide(F.conv2d(whole, weight, padding=1), visible)
    same(out, whole, 'convolved')
    same(hide(gradients(out, x)[0], visible), hide(gradients(whole, x)[0], visible), 'gradient')


BEYOND = {
    'bilinear': lambda x: F.interpolate(x, scale_factor=2, mode='bilinear'),
    'bilinear corners': lambda x: F.interpolate(x, size=(32, 48), mode='bilinear', align_corners=True),
    'bilinear smaller': lambda x: F.interpolate(x, scale_factor=0.5, mode='bilinear'),
    'bicubic': lambda x: F.interpolate(x, scale_factor=2, mode='bicubic'),
    'area': lambda x: F.interpolate(x, size=(8, 12), mode='area'),
    'nearest smaller': lambda x: F.interpolate(x, scale_factor=0.25),
    'nearest-exact': lambda x: F.interpolate(x, (8, 12), mode='nearest-exact'),
    'antialias': lambda x: F.interpolate(x, (8, 12), mode='bilinear', antialias=True),
    'transpose 2': lambda x: F.conv_transpose2d(x, plain(4, 3, 2, 2), plain(3), 2),
    'transpose 4': lambda x: F.conv_transpose2d(x, plain(4, 3, 4, 4), plain(3), 2, 1),
    'transpose 3': lambda x: F.conv_transpose2d(x, plain(4, 3, 3, 3), None, 2, 1, 1),
    'transpose depthwise': lambda x: F.conv_transpose2d(x, plain(4, 1, 3, 3), None, 1, 1, 0, 4),
    'blur pool': lambda x: F.conv2d(
        F.pad(x, (1, 1, 1, 1), mode='reflect'), plain(1, 1, 3, 3).expand(4, 1, 3, 3), stride=2, groups=4
    ),
    'blur pool 4': lambda x: F.conv2d(F.pad(x, (1, 2, 1, 2), mode='reflect'), plain(4, 1, 4, 4), stride=1, groups=4),
    'replicate': lambda x: F.conv2d(F.pad(x, (2, 2, 2, 2), mode='replicate'), plain(2, 4, 5, 5)),
    'circular': lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode='circular'), plain(2, 4, 3, 3)),
    'reflect max': lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), 3, 1),
    'reflect mean': lambda x: F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode='reflect'), 2, 1),
}


@BOTH
@pytest.mark.parametrize('name', BEYOND)
def test_what_looks_at_neighbours_finds_zeros_where_they_are_hidden(kind, name):
    x, visible = sample()
    out, whole = BEYOND[name](kind.from_dense(x, visible)).dense(), hide(BEYOND[name](x), visible)
    same(out, whole, 'map')
    same(hide(gradients(out, x)[0], visible), hide(gradients(whole, x)[0], visible), 'gradient')


@pytest.mark.parametrize('mode', ['reflect', 'replicate', 'circular'])
def test_convolutions_that_pad_by_copies(mode):
    layer = nn.Conv2d(4, 6, 3, 2, 1, padding_mode=mode).double()
    x, visible = sample()
    for kind in MAPS:
        same(layer(kind.from_dense(x, visible)).dense(), hide(layer(x), visible), mode)


def per_image(x, visible, function):
    """What `function` makes of the (P, C) visible positions of each image, 0 where there are none."""
    return torch.stack(
        [function(rows) if len(rows) else torch.zeros(rows.shape[1], dtype=x.dtype) for rows in positions(x, visible)]
    )


def context(x):
    """Positions weighted by a softmax over all of them, as a global context block does."""
    b, c, h, w = x.shape
    weights = F.softmax(x[:, :1].reshape(b, 1, h * w), dim=-1).unsqueeze(3)
    return (x.reshape(b, c, h * w).unsqueeze(1) @ weights).view(b, c)


STATISTICS = {
    'var': (lambda x: x.var((2, 3)), lambda r: r.var(0)),
    'std': (lambda x: x.std((2, 3), keepdim=True)[:, :, 0, 0], lambda r: r.std(0)),
    'biased': (lambda x: torch.var(x, (2, 3), unbiased=False), lambda r: r.var(0, correction=0)),
    'var_mean': (lambda x: torch.stack(torch.var_mean(x, dim=(2, 3))).sum(0), lambda r: r.var(0) + r.mean(0)),
    'std_mean': (lambda x: torch.stack(torch.std_mean(x, (-2, -1))).sum(0), lambda r: r.std(0) + r.mean(0)),
    'amax': (lambda x: x.amax((2, 3)), lambda r: r.amax(0)),
    'amin': (lambda x: x.amin((2, 3), True)[..., 0, 0], lambda r: r.amin(0)),
    'max pool': (lambda x: F.adaptive_max_pool2d(x, 1).flatten(1), lambda r: r.amax(0)),
    'max of tokens': (lambda x: x.flatten(2).max(-1)[0], lambda r: r.amax(0)),
    'mean of tokens': (lambda x: x.flatten(2).transpose(1, 2).mean(1), lambda r: r.mean(0)),
    'channels and positions': (lambda x: x.var((1, 2, 3)), lambda r: r.flatten().var()),
    'all': (lambda x: x.sum((1, 2, 3)) + x.amax((1, 2, 3)) + x.mean((1, 2, 3)), lambda r: r.sum() + r.max() + r.mean()),
    'global context': (context, lambda r: (r * r[:, :1].softmax(0)).sum(0)),
    'einsum over positions': (lambda x: torch.einsum('bchw,bdhw->bcd', x, x * 2), lambda r: r.t() @ r * 2),
    'groups': (lambda x: x.unflatten(1, (2, 2)).mean((3, 4)), lambda r: r.mean(0).view(2, 2)),
}


@BOTH
@pytest.mark.parametrize('name', STATISTICS)
def test_hidden_positions_are_absent_from_statistics(kind, name):
    """Shifted, so that a zero at a hidden position would be the smallest, largest or would move a mean."""
    ours, reference = STATISTICS[name]
    for shift in (5, -5):
        x, visible = sample(seed=1)
        m = kind.from_dense(x, visible) + shift
        rows = positions(x + shift, visible)
        shape = reference(rows[0]).shape
        expected = torch.stack([reference(r) if len(r) else torch.zeros(shape, dtype=x.dtype) for r in rows])
        assert len(rows[-1]) == 0
        out = ours(m)
        same(out, expected, name)
        a, b = gradients(out, x)[0], gradients(expected, x)[0]
        assert torch.isfinite(a).all()
        same(hide(a, visible), hide(b, visible), f'{name}: gradient')


class Gated(nn.Module):
    """A gate at half the scale, as in GhostNetV2: pooled, convolved, normalised, enlarged again."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        gate = torch.sigmoid(self.norm(self.conv(F.avg_pool2d(x, 2, 2))))
        return x * F.interpolate(gate, size=x.shape[-2:], mode='nearest')


@pytest.mark.parametrize(('size', 'grid'), [((4, 6), (4, 6)), ((7, 5), (7, 5)), ((3, 3), (3, 3))])
def test_pools_over_several_blocks(size, grid):
    """A position of the pooled map is visible if any that it covers is; an odd last row or column is not covered, as in torch."""
    net = Gated().double()
    x, visible = plain(3, 4, *size), ragged(3, *grid)
    x = hide(x, visible).requires_grad_()
    covered = visible[:, : size[0] // 2 * 2, : size[1] // 2 * 2].unfold(1, 2, 2).unfold(2, 2, 2).flatten(3).any(3)
    pooled = F.avg_pool2d(x, 2, 2)
    mask = covered[:, None].to(x.dtype)
    rows = net.conv(pooled).permute(0, 2, 3, 1)[covered]
    normed = torch.zeros(len(x), *pooled.shape[2:], 4, dtype=x.dtype).index_put(
        (covered,), nn.BatchNorm1d(4).double()(rows)
    )
    gate = torch.sigmoid(normed.permute(0, 3, 1, 2)) * mask
    whole = hide(x * F.interpolate(gate, size=size, mode='nearest'), visible)
    (expected,) = gradients(whole, x)
    for kind in MAPS:
        net.norm.reset_running_stats()
        out = net(kind.from_dense(x, visible)).dense()
        same(out, whole, 'map')
        same(hide(gradients(out, x)[0], visible), hide(expected, visible), 'gradient')
        same(net.norm.running_mean, rows.mean(0).detach() * 0.1, 'running mean')


def test_a_pooled_map_cannot_be_returned():
    with pytest.raises(ConfigError, match='a multiple of the stride of the network'):
        encode_visible(nn.AvgPool2d(2), plain(2, 4, 4, 4), ragged(2, 4, 4))


def dynamic(x, weight):
    """A convolution with weights of each image's own, written as one of groups."""
    b, c, h, w = x.shape
    out = F.conv2d(x.reshape(1, b * c, h, w), weight.flatten(0, 1), None, 2, 1, groups=b)
    return out.permute([1, 0, 2, 3]).view(b, weight.shape[1], out.shape[-2], out.shape[-1])


@BOTH
def test_weights_per_image(kind):
    x, visible = sample()
    weight = plain(3, 5, 4, 3, 3).requires_grad_()
    whole = hide(torch.cat([F.conv2d(x[i : i + 1], weight[i], None, 2, 1) for i in range(3)]), visible)
    out = dynamic(kind.from_dense(x, visible), weight).dense()
    same(out, whole, 'map')
    (a, ours), (b, other) = gradients(out, x, weight), gradients(whole, x, weight)
    same(hide(a, visible), hide(b, visible), 'gradient of the images')
    same(ours, other, 'gradient of the weights')


REFUSED = {
    'attention': (
        lambda m: (t := m.flatten(2).transpose(1, 2), t @ t.transpose(1, 2))[1],
        'needs a convolutional network',
    ),
    'windows': (
        lambda m: m.permute(0, 2, 3, 1).view(3, 4, 4, 6, 4, 4).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 4),
        'needs a convol',
    ),
    'images with channels': (lambda m: m.reshape(12, 16, 24), 'needs a convolutional'),
    'roll': (lambda m: m.roll(1, -1), 'needs a convolutional'),
    'flip': (lambda m: torch.flip(m, (3,)), 'needs a convolutional'),
    'regions': (lambda m: F.adaptive_avg_pool2d(m, 2), 'needs a convolutional'),
    'rows': (lambda m: m[:, :, 0], 'Only the channels'),
    'one spatial axis': (lambda m: m.mean(3), 'over its two spatial axes'),
    'over images': (lambda m: m.var(0), 'its two spatial axes'),
    'fused attention': (lambda m: F.scaled_dot_product_attention(m, m, m), 'needs a convolutional network'),
    'einsum of positions': (lambda m: torch.einsum('bchw,bcij->bhwij', m, m), 'needs a convolutional network'),
    'einsum without images': (lambda m: torch.einsum('bchw,cd->dhw', m, plain(4, 2)), 'must keep the images'),
    'fft': (torch.fft.rfft2, 'needs a convolutional network'),
    'squeeze': (lambda m: m.squeeze(), 'needs one dimension'),
    'flat wide': (lambda m: F.pad(m.permute(0, 2, 3, 1), (0, 0, 0, 2)), 'needs a convolutional network'),
    'unfolded wrongly': (lambda m: m.reshape(1, 12, 16, 24).reshape(3, 16, 4, 24), 'can only be unfolded'),
    'folded elsewhere': (lambda m: F.relu(m.reshape(1, 12, 16, 24)), 'only a convolution is'),
    'groups': (lambda m: F.channel_shuffle(m, 3), 'groups that divide them'),
    'unshuffle': (lambda m: F.pixel_unshuffle(m, 16), 'block size'),
    'tokens with a group norm': (lambda m: F.group_norm(m.flatten(2), 2), 'needs a convolutional network'),
}


@BOTH
@pytest.mark.parametrize('name', REFUSED)
def test_what_has_no_meaning_is_refused_with_the_reason(kind, name):
    function, message = REFUSED[name]
    with pytest.raises(ConfigError, match=message) as caught:
        function(kind.from_dense(*sample()))
    assert '\n' not in str(caught.value)
