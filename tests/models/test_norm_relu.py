"""ReLU after a batch norm on visible blocks: nothing is kept twice, and no order of events makes the gradient another one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from selfsup.models.visible import VisibleMap, encode_visible

from .visible_cases import assert_same, ragged, randomised


def batch(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(3, 3, 16, 16, dtype=dtype), ragged(3, 2, 2)


class Net(nn.Module):
    """conv, norm, then whatever `between` makes of it, then a 3x3 and a 1x1 convolution that both look at it."""

    def __init__(self, between):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)
        self.wide, self.narrow = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(8, 6, 1, stride=2)
        self.between = between

    def forward(self, x):
        x = self.between(self.norm(self.first(x)))
        return self.wide(x), self.narrow(x)


BETWEEN = {
    'relu': F.relu,
    'torch': torch.relu,
    'method': lambda x: x.relu(),
    'method in place': lambda x: x.relu_(),
    'in place': lambda x: F.relu(x, inplace=True),
    'module in place': nn.ReLU(inplace=True),
    'twice': lambda x: F.relu(F.relu(x)),
    'changed before': lambda x: F.relu(x.mul_(2)),
    'norm used too': lambda x: F.relu(x) + x,
    'relu used again': lambda x: F.relu(x).mul(0.5) + F.relu(x) * x,
    'forgotten': lambda x: (x.relu(), x)[1],
}


@pytest.mark.parametrize('name', BETWEEN)
def test_same_as_the_masked_path(name):
    assert_same(randomised(Net(BETWEEN[name])), *batch())


@pytest.mark.parametrize(
    ('changed', 'plain'),
    [
        (lambda x: F.relu(x).mul_(2), lambda x: F.relu(x) * 2),
        (lambda x: F.relu(x, inplace=True).add_(1), lambda x: F.relu(x) + 1),
    ],
)
def test_what_is_not_kept_may_be_changed_in_place(changed, plain):
    net, (img, visible) = randomised(Net(changed)), batch()
    found = []
    for net.between in (changed, plain):
        loss = sum(m.dense().square().sum() for m in encode_visible(net, img, visible))
        found.append(torch.autograd.grad(loss, list(net.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('inplace', [True, False])
@pytest.mark.parametrize('size', [16, 4])  # blocks of 8 x 8, and of 2 x 2: these are laid out in another way
def test_norms_without_weights_and_small_blocks(affine, inplace, size):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8, affine=affine),
        nn.ReLU(inplace),
        nn.Conv2d(8, 8, 1),
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.ReLU(inplace),
        nn.Conv2d(8, 4, 3, padding=1),
    )
    img, visible = batch()
    assert_same(randomised(net), img[:, :, :size, :size].contiguous(), visible)


def saved_bytes(net, img, visible):
    """Bytes of the distinct storages that the graph keeps, parameters left out."""
    own, seen = {p.untyped_storage().data_ptr() for p in net.parameters()}, {}

    def pack(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        maps = encode_visible(net, img, visible)
    return sum(
        t.untyped_storage().nbytes()
        for at, t in seen.items()
        if at not in own and t.is_floating_point() and t.dim() > 1
    ), maps


@pytest.mark.parametrize('inplace', [True, False])
def test_the_output_of_relu_is_not_kept(inplace):
    img, visible = batch(torch.float32)
    blocks = int(visible.sum()) * 64 * 4
    net = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace),
        nn.Conv2d(8, 16, 1),
    )
    kept, _ = saved_bytes(net, img, visible)
    assert kept == blocks * (3 + 8 + 8)  # images and the inputs of both norms


def test_a_graph_can_be_used_twice():
    net, (img, visible) = randomised(Net(F.relu)), batch()
    loss = sum(m.dense().square().sum() for m in encode_visible(net, img, visible))
    first, second = (torch.autograd.grad(loss, list(net.parameters()), retain_graph=True) for _ in range(2))
    only = torch.autograd.grad(loss, net.wide.weight, retain_graph=True)[0]  # ReLU itself is not asked
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    torch.testing.assert_close(only, net_gradient(first, net, 'wide.weight'), rtol=0, atol=0)


def net_gradient(gradients, net, name):
    return dict(zip(dict(net.named_parameters()), gradients, strict=True))[name]


def test_checkpointing_gives_the_same_gradient():
    img, visible = batch()
    net = randomised(Net(F.relu))

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return checkpoint(self.net, x, use_reentrant=False)

    plain, again = (
        torch.autograd.grad(
            sum(m.dense().square().sum() for m in encode_visible(n, img, visible)), list(net.parameters())
        )
        for n in (net, Checkpointed())
    )
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b)


def test_half_precision_keeps_half_as_much_and_is_close():
    img, visible = batch(torch.float32)
    torch.manual_seed(0)
    net = Net(nn.ReLU(inplace=True)).train()

    def gradients(path):
        with torch.autocast('cpu', torch.bfloat16):
            maps = encode_visible(net, img, visible, path)
        return torch.autograd.grad(sum(m.dense().float().square().mean() for m in maps), list(net.parameters()))

    for name, a, b in zip(dict(net.named_parameters()), gradients('visible'), gradients('masked'), strict=True):
        if name != 'first.bias':  # before a norm: rounding errors only
            torch.testing.assert_close(
                a, b, rtol=0.05, atol=0.03 * float(b.abs().max()), msg=lambda m, n=name: f'{n}: {m}'
            )


def test_without_gradients_and_in_eval_mode_nothing_special_happens():
    net, (img, visible) = randomised(Net(F.relu)), batch()
    with torch.no_grad():
        encode_visible(net, img, visible)
    net.eval()
    maps = encode_visible(net, img, visible)
    whole = encode_visible(net, img, visible, 'masked')
    for a, b in zip(maps, whole, strict=True):
        torch.testing.assert_close(a.dense(), b.dense())
    assert all(isinstance(m, VisibleMap) and m.normed is None and m.rectified is None for m in maps)
