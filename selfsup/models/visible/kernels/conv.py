"""How the layers that do the arithmetic run on visible blocks: convolutions with a halo, 1x1 convolutions, linear layers.

On CPU the shape of a problem decides more than its size. Measured on 2 cores with torch 2.15 (oneDNN), float32, in multiply-adds per
second of one core: 3x3 convolutions on blocks of 8x8 or 4x4 run at 110 G; on 2x2 at 48 G and on 1x1 at 20 G. 1x1 convolutions on
maps of 4x4 and 8x8 run at 100 G, on 1x1 at 20 G; matrix products run at 48 G. So rows are laid out as maps of 4x4 or 2x2, which
changes nothing but the speed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...large_kernel.conv import large_kernel_conv2d
from ...large_kernel.operands import in_autocast_dtype, ready_to_convolve
from ..grid import Blocks, Pads, map_of, rows_of
from .norm_relu import Rectified

Pair = tuple[int, int]


def _fast_on_cpu(t: Tensor) -> bool:
    return t.device.type == 'cpu' and t.dtype in (torch.float32, torch.bfloat16)


def _square(rows: int) -> int:
    """Side of the maps in which so many rows are laid out for a 1x1 convolution, 0 where they do not divide."""
    return 4 if rows % 16 == 0 and rows >= 512 else 2 if rows % 4 == 0 else 0


def times_matrix(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """rows (M, K) times weight (O, K) transposed, plus bias (O,)."""
    side = _square(len(rows)) if _fast_on_cpu(rows) and weight.dtype == rows.dtype else 0
    if side == 0:
        return functional.linear(rows, weight, bias)
    return rows_of(functional.conv2d(map_of(rows, side, side), weight[:, :, None, None], bias))


def linear(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`functional.linear` of (..., K)."""
    values, weight, bias = in_autocast_dtype(values, weight, bias)
    return times_matrix(values.reshape(-1, values.shape[-1]), weight, bias).view(*values.shape[:-1], len(weight))


def conv_inside(
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    blocks: Blocks,
    stride: Pair,
    dilation: Pair,
    groups: int,
    rectified: Rectified | None = None,
) -> Tensor:
    """A convolution of which no output looks beyond its block."""
    if weight.shape[2:] == (1, 1) and stride != (1, 1) and groups == 1 and _fast_on_cpu(values):
        # what the stride leaves out is not even laid out; measured 1.6 times as fast on the last blocks of a ResNet-50
        values, stride, rectified = values[:, :, :: stride[0], :: stride[1]], (1, 1), None
    small = values.shape[2] * values.shape[3] <= 4
    unfold = small and _fast_on_cpu(values) and groups == 1 and weight.shape[2:] == (1, 1) and stride == (1, 1)
    if rectified is not None:
        return _block_conv(values, weight, bias, blocks, (0, 0, 0, 0), (stride, dilation, groups), unfold, rectified)
    if unfold:
        return map_of(times_matrix(rows_of(values), weight[:, :, 0, 0], bias), *values.shape[2:])
    return functional.conv2d(values, weight, bias, stride, 0, dilation, groups)


class _BlockConv(torch.autograd.Function):
    """A convolution of blocks with their surroundings, which are fetched again in the backward pass instead of being kept.

    With `rectified` the blocks themselves are computed again, too.

    Returns:
        The map, or its rows (see `rows_of`) where `unfold` is set.
    """

    @staticmethod
    def forward(
        ctx,
        values: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        blocks: Blocks,
        pads: Pads,
        settings: tuple[Pair, Pair, int],
        unfold: bool,
        rectified: Rectified | None,
    ) -> Tensor:
        ctx.save_for_backward(weight, *([values] if rectified is None else rectified.ingredients))
        ctx.again, ctx.size = None if rectified is None else rectified.again, values.shape[2:]
        ctx.blocks, ctx.pads, ctx.settings, ctx.unfold = blocks, pads, settings, unfold
        stride, dilation, groups = settings
        x = blocks.fetch(values, pads)
        if not unfold:
            return functional.conv2d(*ready_to_convolve(x, weight, groups), bias, stride, 0, dilation, groups)
        # No view: see `_block_conv`.
        return times_matrix(_columns(x, weight, stride, dilation), _as_matrix(weight), bias).detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *rest = ctx.saved_tensors
        values = rest[0] if ctx.again is None else map_of(ctx.again(*rest), *ctx.size)
        stride, dilation, groups = ctx.settings
        x = ctx.blocks.fetch(values, ctx.pads)
        needs = [bool(n) for n in ctx.needs_input_grad[:3]]
        if not ctx.unfold:
            grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
                grad,
                *ready_to_convolve(x, weight, groups),
                [len(weight)],
                stride,
                [0, 0],
                dilation,
                False,
                [0, 0],
                groups,
                needs,
            )
        else:
            grad_x, grad_weight, grad_bias = _unfolded_backward(grad, x, weight, stride, dilation, needs)
        if grad_x is not None:
            grad_x = ctx.blocks.give_back(grad_x, values.shape[2:], ctx.pads)
        return grad_x, grad_weight, grad_bias, None, None, None, None, None


def _block_conv(
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    blocks: Blocks,
    pads: Pads,
    settings: tuple[Pair, Pair, int],
    unfold: bool,
    rectified: Rectified | None,
) -> Tensor:
    out = _BlockConv.apply(values, weight, bias, blocks, pads, settings, unfold, rectified)
    if not unfold:
        return out
    stride = settings[0]  # a view made within the function could not be changed in place by what follows
    return map_of(out, values.shape[2] // stride[0], values.shape[3] // stride[1])


def _windows(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Tensor:
    """(N, h, w, kh, kw, C) view of the windows of x (N, C, H, W), channels-last."""
    n, c, height, width = x.shape
    kh, kw = weight.shape[2:]
    h, w = (
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip((height, width), (kh, kw), stride, dilation, strict=True)
    )
    row = width * c
    return x.permute(0, 2, 3, 1).as_strided(
        (n, h, w, kh, kw, c), (height * row, stride[0] * row, stride[1] * c, dilation[0] * row, dilation[1] * c, 1)
    )


def _columns(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Tensor:
    """One row (kh * kw * C) per output."""
    windows = _windows(x, weight, stride, dilation)
    return windows.reshape(-1, windows.shape[3:].numel())


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _unfolded_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, dilation: Pair, needs: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients for the fetched blocks, the weight and the bias, as far as they are needed; `grad` has one row per output."""
    windows = _windows(x, weight, stride, dilation)
    columns, matrix = windows.reshape(-1, windows.shape[3:].numel()), _as_matrix(weight)
    side = _square(len(columns)) or 1
    grad_columns, grad_matrix, grad_bias = torch.ops.aten.convolution_backward(
        map_of(grad.contiguous(), side, side),
        map_of(columns, side, side),
        matrix[:, :, None, None],
        [len(weight)],
        [1, 1],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        1,
        needs,
    )
    grad_x = grad_weight = None
    if needs[0] and weight.shape[2:] == (1, 1) and stride == (1, 1):
        grad_x = map_of(rows_of(grad_columns), *x.shape[2:])
    elif needs[0]:
        grad_x = torch.zeros_like(x)
        parts, target = rows_of(grad_columns).view(windows.shape), _windows(grad_x, weight, stride, dilation)
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                target[:, :, :, i, j] += parts[:, :, :, i, j]
    if needs[1]:
        grad_weight = grad_matrix.view(len(weight), *weight.shape[2:], weight.shape[1]).permute(0, 3, 1, 2)
    return grad_x, grad_weight, grad_bias


def conv_with_halo(
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    blocks: Blocks,
    pads: Pads,
    stride: Pair,
    dilation: Pair,
    groups: int,
    rectified: Rectified | None = None,
) -> Tensor:
    """A convolution that looks beyond its blocks, by `pads` at the (top, bottom, left, right)."""
    outputs = (values.shape[2] // stride[0]) * (values.shape[3] // stride[1])
    unfold = outputs <= 4 and groups == 1 and _fast_on_cpu(values) and weight.dtype == values.dtype
    return _block_conv(values, weight, bias, blocks, pads, (stride, dilation, groups), unfold, rectified)


def depthwise_on_whole_map(
    values: Tensor, weight: Tensor, bias: Tensor | None, blocks: Blocks, pads: Pads, dilation: Pair, groups: int
) -> Tensor:
    """A convolution of stride 1 over the whole map, with zeros where hidden; see `prefers_whole_map`."""
    top, bottom, left, right = pads
    dense = blocks.scatter(values)
    if (top, left) != (bottom, right):
        dense, top, left = functional.pad(dense, (left, right, top, bottom)), 0, 0
    same = dilation == (1, 1) and (top * 2 + 1, left * 2 + 1) == tuple(weight.shape[2:])
    if same and values.device.type == 'cpu' and values.dtype == torch.float32:
        # oneDNN's gradient for the weights takes longer than all the rest; 768 channels of 7x7 in all: 17 ms, so 2.4
        return blocks.gather(large_kernel_conv2d(dense, weight, bias, 'correlation'))
    return blocks.gather(
        functional.conv2d(*ready_to_convolve(dense, weight, groups), bias, 1, (top, left), dilation, groups)
    )


def prefers_whole_map(values: Tensor, weight: Tensor, groups: int, stride: Pair) -> bool:
    """Whether a depthwise kernel is so large that a block with its halo holds more than the whole map, per visible block.

    A 7x7 kernel at 60 % hidden: blocks of 8x8 grow 3.1 times and the whole map is 2.5 times as large, but the arithmetic is
    done for visible outputs only: measured twice as fast in blocks. At 4x4 the two are even, below the whole map wins.
    """
    return (
        groups == len(weight)
        and weight.shape[1] == 1
        and stride == (1, 1)
        and max(weight.shape[2:]) > min(values.shape[2:])
    )


class _MaxPool(torch.autograd.Function):
    """Max-pooling of fetched blocks that keeps the winners only, two bytes each, and not the blocks."""

    @staticmethod
    def forward(ctx, fetched: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
        out, index = functional.max_pool2d(fetched, kernel, stride, 0, dilation, return_indices=True)
        ctx.save_for_backward(index.to(torch.int16))
        ctx.settings, ctx.size = (kernel, stride, [0, 0], dilation, False), fetched.shape
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        like = grad.new_empty(ctx.size).contiguous(memory_format=torch.channels_last)  # its shape is what matters
        pool = torch.ops.aten.max_pool2d_with_indices_backward
        return pool(grad, like, *ctx.settings, index.long()), None, None, None


def max_pool(fetched: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """`functional.max_pool2d` of blocks that hold all they need."""
    if fetched.shape[2] * fetched.shape[3] > torch.iinfo(torch.int16).max:
        return functional.max_pool2d(fetched, kernel, stride, 0, dilation)
    return _MaxPool.apply(fetched, kernel, stride, dilation)
