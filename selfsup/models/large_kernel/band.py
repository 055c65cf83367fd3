"""Depthwise convolution with a kernel that is long along one axis, as products with band matrices.

Along its long axis a kernel is a band matrix: with T[i, j] = w[j - i + K // 2], a kernel K x 1 makes T @ x of a channel's map x (H, W).
A kernel K x N is the sum of N such products, of maps shifted by one column each. All images lie side by side with zero columns
between them, so that a shift is a view. The zeros of T cost arithmetic, but products of matrices run on tensor cores.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def band_conv(x: Tensor, weight: Tensor) -> Tensor:
    """`functional.conv2d(x, weight, padding=(kh // 2, kw // 2), groups=C)`; not twice differentiable.

    Args:
        x: (B, C, H, W) float.
        weight: (C, 1, kh, kw) of the same dtype; odd sides.
    """
    if weight.shape[2] >= weight.shape[3]:
        return _BandConv.apply(x, weight.squeeze(1))
    return _BandConv.apply(x.transpose(2, 3), weight.squeeze(1).transpose(1, 2)).transpose(2, 3)


class _BandConv(torch.autograd.Function):
    """The convolution for a kernel that is long along H; `weight` (C, K, N)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            grad_x = _convolve(grad, weight.flip(1, 2)) if ctx.needs_input_grad[0] else None
            grad_weight = _weight_gradient(x, grad, weight) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight


def _groups(channels: int) -> list[slice]:
    """Channels to work on at a time: a quarter of all, so that the copies of maps that they need stay small."""
    size = max(-(-channels // 4), 16)
    return [slice(i, i + size) for i in range(0, channels, size)]


def _parts(height: int, taps: int) -> list[tuple[int, int, int, int]]:
    """(first, end) of the rows written and (first, end) of those read for parts of a map.

    The parts of a high map have about `taps` rows: the band matrix of all of it would be zeros for the most part.
    """
    size = height if height <= 2 * taps else taps
    return [
        (i, min(i + size, height), max(i - taps // 2, 0), min(i + size + taps // 2, height))
        for i in range(0, height, size)
    ]


def _side_by_side(x: Tensor, short: int) -> Tensor:
    """(C, H + 2, B, W + short // 2) of (B, C, H, W): columns of zeros after each image, rows of zeros above and below all."""
    batch, channels, height, width = x.shape
    flat = x.new_empty(channels, height + 2, batch, width + short // 2)
    flat[:, 0], flat[:, -1], flat[..., width:] = 0, 0, 0
    flat[:, 1:-1, :, :width] = x.permute(1, 2, 0, 3)
    return flat


def _shifted(flat: Tensor, first: int, end: int, shift: int) -> Tensor:
    """(C, end - first, B * W') view of rows of `_side_by_side`, `shift` columns further; beyond an image it reads the zeros around."""
    row = flat.shape[2] * flat.shape[3]
    start = (first + 1) * row + shift
    return flat.flatten(1)[:, start : start + (end - first) * row].unflatten(1, (end - first, row))


def _bands(weight: Tensor, rows: int, columns: int, offset: int) -> Tensor:
    """(C, rows, columns) of (C, K): element (i, j) is weight[j - i + offset], zero beyond the taps."""
    padded = functional.pad(weight, (rows - 1 - offset, columns + offset - weight.shape[1]))
    return padded.unfold(1, columns, 1).flip(1)


def _taps(products: Tensor, taps: int, offset: int) -> Tensor:
    """The transpose of `_bands`: (C, taps) sums over the diagonals of (C, rows, columns), at least in float32."""
    channels, rows, columns = products.shape
    width = rows + columns - 1
    wide = products.new_zeros(channels, rows * (width + 1))
    wide[:, : rows * width].unflatten(1, (rows, width))[:, :, rows - 1 :] = products
    # read with one number more per row, a diagonal is a column
    sums = wide.view(channels, rows, width + 1).sum(1, dtype=torch.promote_types(products.dtype, torch.float32))[
        :, :width
    ]
    return functional.pad(sums, (offset + 1 - rows, taps - offset - columns))


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of (B, C, H, W) with (C, K, N), in the memory format of `x`."""
    (batch, _, height, width), (taps, short) = x.shape, weight.shape[1:]
    out = torch.empty_like(x)
    for group in _groups(len(weight)):
        flat, kernels = _side_by_side(x[:, group], short), weight[group]
        sums = flat.new_empty(
            len(kernels), height, flat.shape[2] * flat.shape[3], dtype=torch.promote_types(x.dtype, torch.float32)
        )
        for first, end, start, stop in _parts(height, taps):
            for t in range(short):
                band = _bands(kernels[:, :, t], end - first, stop - start, start - first + taps // 2)
                _add_product(sums[:, first:end], band, _shifted(flat, start, stop, t - short // 2), t == 0)
        out[:, group] = sums.view(len(kernels), height, batch, -1)[..., :width].permute(2, 0, 1, 3)
    return out


def _add_product(sums: Tensor, a: Tensor, b: Tensor, is_first: bool) -> None:
    """sums (+)= a @ b. In half precision each product is rounded once, and their sum is not."""
    if sums.dtype == a.dtype:
        sums.baddbmm_(a, b, beta=0 if is_first else 1)
    elif is_first:
        sums.copy_(a @ b)
    else:
        sums.add_(a @ b)


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """(C, K, N): for each short tap, sums along the diagonals of grad @ x^T."""
    height, (taps, short) = x.shape[2], weight.shape[1:]
    out = torch.empty_like(weight)
    for group in _groups(len(weight)):
        flat, flat_grad = _side_by_side(x[:, group], short), _side_by_side(grad[:, group], short)
        for t in range(short):
            out[group, :, t] = sum(
                _taps(
                    _shifted(flat_grad, first, end, 0) @ _shifted(flat, start, stop, t - short // 2).transpose(1, 2),
                    taps,
                    start - first + taps // 2,
                )
                for first, end, start, stop in _parts(height, taps)
            )
    return out
