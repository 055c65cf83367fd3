"""Maps to test, and the comparison of the visible path with the masked one."""

import copy

import pytest
import torch
import torch.nn.functional as F

from selfsup.models.backbones import ConvNeXt, ConvNeXtV2, ResNet
from selfsup.models.visible import MaskedMap, VisibleMap, encode_visible


def ragged(batch, fh, fw, seed=0):
    """(batch, fh, fw) bool with unequal counts: the first image keeps one block more than half, the others a random share."""
    visible = torch.rand(batch, fh, fw, generator=torch.Generator().manual_seed(seed)) < 0.5
    visible[0] = True
    visible[0, 0, 0] = False
    visible[-1, 0, -1] = True
    return visible


def weighted_loss(maps):
    """A loss that reads every element with its own weight, so that a permuted map would change it."""
    return sum((m * torch.linspace(-1, 1, m[0].numel(), dtype=m.dtype).view_as(m[0])).square().mean() for m in maps)


def run(net, img, visible, path):
    """Maps, gradients and buffers of a copy of `net` after one pass in its present mode."""
    net = copy.deepcopy(net)
    torch.manual_seed(1)
    maps = [m.dense() for m in encode_visible(net, img, visible, path)]
    weighted_loss(maps).backward()
    return (
        maps,
        {k: p.grad for k, p in net.named_parameters()},
        {k: b for k, b in net.named_buffers() if b.is_floating_point()},
    )


def randomised(net, seed=0):
    """`net` in double precision and training mode, with no weight left at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    net = net.double().train()
    for parameter in net.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.05
    return net


def assert_same(net, img, visible):
    """Forward maps, all gradients and all running statistics agree to 1e-5 relative (in double: the rest is arithmetic)."""
    (maps, grads, buffers), (other_maps, other_grads, other_buffers) = (
        run(net, img, visible, path) for path in ('visible', 'masked')
    )
    for a, b in zip(maps, other_maps, strict=True):
        assert float(b.detach().abs().max()) > 0
        close(a, b, 'map')
    largest = max(float(g.abs().max()) for g in other_grads.values() if g is not None)
    for name, b in other_grads.items():
        assert (grads[name] is None) == (b is None), name
        if b is not None:
            # A bias before a norm has a gradient of rounding errors only.
            close(grads[name], b, name, floor=1e-6 * largest)
    for name, b in other_buffers.items():
        close(buffers[name], b, name, floor=1e-6)


def close(a, b, name, floor=0.0):
    """The largest difference is at most 1e-5 of the largest value (or of `floor`)."""
    difference, size = float((a - b).detach().abs().max()), float(b.detach().abs().max())
    assert difference <= 1e-5 * max(size, floor), f'{name}: {difference:.2e} of {size:.2e}'


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


def positions(x, visible):
    """(visible positions, C), image by image."""
    z = x.shape[2] // visible.shape[1]
    return [
        image.permute(1, 2, 0)[grid.repeat_interleave(z, 0).repeat_interleave(z, 1)]
        for image, grid in zip(x, visible, strict=True)
    ]


def plain(*size, seed=3):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tiny(name):
    torch.manual_seed(0)
    if name.startswith('ResNet'):
        return ResNet(int(name[6:]), base_channels=8, stage_blocks=(1, 2, 1, 1), with_cp=name == 'ResNet34')
    sizes = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), out_indices=(0, 1, 2, 3, 4), drop_path_rate=0.3)
    return ConvNeXt(**sizes) if name == 'ConvNeXt' else ConvNeXtV2(grn_scope=name[11:], **sizes)
