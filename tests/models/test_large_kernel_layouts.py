"""Layouts in which large kernels are convolved: bfloat16 on a CPU comes to an end, and contiguous maps take no slow way."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from selfsup.models.large_kernel.conv import LargeKernelConv2d, choose, large_kernel_conv2d
from selfsup.models.large_kernel.operands import ready_to_convolve
from selfsup.models.layers.convnext_block import ConvNeXtBlock

# What torch's channels-last convolution never ends on: run apart, with a limit. Each line is checked against double precision.
ENDLESS = """
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.models.visible.kernels.conv import depthwise_on_whole_map
from selfsup.models.layers.convnext_block import ConvNeXtBlock
from selfsup.models.large_kernel.conv import IMPLEMENTATIONS, LargeKernelConv2d, large_kernel_conv2d
from selfsup.models.layers.masking import BlockMasking
from selfsup.models.visible import encode_visible
from selfsup.registry import BACKBONES

last, half = torch.channels_last, torch.bfloat16
torch.manual_seed(0)


def check(given, expected):
    scale = float(expected.detach().abs().max())
    assert float((given.double() - expected).detach().abs().max()) <= 0.03 * scale, (given.shape, scale)


for channels, height, width, kernel in ((8, 32, 32, (5, 51)), (2, 3, 31, (1, 15)), (16, 32, 64, (31, 31)), (3, 40, 33, (51, 51))):
    for weight_layout in (torch.contiguous_format, last):
        for implementation in (None, *IMPLEMENTATIONS):
            x = torch.randn(2, channels, height, width).to(half).contiguous(memory_format=last).requires_grad_()
            weight = torch.randn(channels, 1, *kernel).to(half).to(memory_format=weight_layout).requires_grad_()
            out = large_kernel_conv2d(x, weight, None, implementation)
            assert out.is_contiguous(memory_format=last)
            exact = [t.detach().double().requires_grad_() for t in (x, weight)]
            expected = F.conv2d(*exact, padding=(kernel[0] // 2, kernel[1] // 2), groups=channels)
            check(out, expected)
            grad = torch.randn_like(out)
            for given, right in zip(torch.autograd.grad(out, (x, weight), grad), torch.autograd.grad(expected, exact, grad.double())):
                check(given, right)
            with torch.no_grad():
                check(large_kernel_conv2d(x, weight, None, implementation), expected)

images = torch.randn(2, 3, 128, 128).contiguous(memory_format=last)
model = BACKBONES.build(dict(type='SLaK', depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), layer_scale_init_value=None)).to(memory_format=last)
with torch.autocast('cpu', half):
    model(images)[-1].float().sum().backward()
model.eval()
for square in (False, True):
    model.merge(square=square)
    expected = model(images)[-1].double()
    with torch.no_grad(), torch.autocast('cpu', half):
        check(model(images)[-1], expected)
    check(model.to(half)(images.to(half))[-1], expected)
    model.float()

layer = LargeKernelConv2d(8, (5, 51)).to(half).to(memory_format=last)
x = torch.randn(2, 8, 32, 32).to(half).contiguous(memory_format=last)
expected = layer.double()(x.double())
layer.to(half)
check(torch.export.export(layer, (x,)).module()(x), expected)
check(torch.jit.trace(layer, x)(x), expected)

block = ConvNeXtBlock(8, kernel_size=31).to(memory_format=last)
expected = block.double()(x.double())
check(block.to(half)(x), expected)

net = nn.Conv2d(8, 8, (5, 51), padding=(2, 25), groups=8)
visible = BlockMasking(0.5, block=16).draw(torch.zeros(2, 3, 32, 64))
wide = torch.randn(2, 8, 32, 64)
expected = encode_visible(net.double(), wide.double(), visible, 'visible')[0].dense()
check(encode_visible(net.to(half), wide.to(half), visible, 'visible')[0].dense(), expected)
print('all ended')
"""


def test_wide_kernels_in_bfloat16_end_on_a_cpu():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', ENDLESS], capture_output=True, text=True, timeout=150)
    assert done.stdout.endswith('all ended\n'), done.stderr[-2000:]


def test_operands_that_would_not_end_are_laid_out_anew_and_no_others():
    def strides(dtype=torch.bfloat16, channels=8, kernel=(5, 51), groups=None, autocast=False):
        x = torch.randn(2, channels, 32, 32).to(dtype).contiguous(memory_format=torch.channels_last)
        weight = (
            torch.randn(channels, channels // (groups or channels), *kernel)
            .to(dtype)
            .to(memory_format=torch.channels_last)
        )
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            given = ready_to_convolve(x, weight, groups or channels)
        assert torch.equal(given[0], x) and torch.equal(given[1], weight)
        return given[0].stride() == (channels * 1024, 1024, 32, 1) and given[1].stride() == (255, 255, 51, 1)

    assert strides() and strides(channels=2) and strides(channels=16) and strides(torch.float32, autocast=True)
    for others in (
        {'dtype': torch.float32},
        {'dtype': torch.float16},
        {'channels': 17},
        {'kernel': (51, 5)},
        {'groups': 1},
    ):
        assert not strides(**others), others


@pytest.mark.parametrize(
    ('batch', 'side', 'kernel'),
    [(1, 14, (5, 47)), (1, 7, (13, 5)), (8, 14, (5, 5)), (64, 28, (49, 5)), (1, 56, (5, 5))],
)
def test_a_contiguous_map_takes_no_way_that_is_slow_for_it(batch, side, kernel):
    x, weight = torch.randn(batch, 6, side, side), torch.randn(6, 1, *kernel)
    with torch.no_grad():
        assert choose(x.contiguous(memory_format=torch.channels_last), weight) == 'trimmed'
        assert choose(x, weight) == 'trimmed'
        assert choose(x.expand(batch, 6, side, side)[:, :, :, 1:], weight) == 'trimmed'  # no dense block of memory
        torch.testing.assert_close(
            large_kernel_conv2d(x, weight),
            F.conv2d(x, weight, padding=(kernel[0] // 2, kernel[1] // 2), groups=6),
            rtol=1e-4,
            atol=1e-4,
        )
    assert choose(x, weight.requires_grad_()) in ('correlation', 'trimmed')


def test_a_convnext_of_wide_kernels_has_large_kernel_convolutions_under_the_same_names():
    wide, usual = ConvNeXtBlock(8, kernel_size=31), ConvNeXtBlock(8, kernel_size=13)
    assert isinstance(wide.dwconv, LargeKernelConv2d) and type(usual.dwconv) is torch.nn.Conv2d
    assert list(wide.state_dict()) == list(usual.state_dict())
    x = torch.randn(1, 8, 20, 20)
    expected = F.conv2d(x, wide.dwconv.weight, wide.dwconv.bias, padding=15, groups=8)
    torch.testing.assert_close(wide.dwconv(x), expected, rtol=1e-4, atol=1e-4)
