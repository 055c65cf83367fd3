"""Depthwise convolution with large kernels in plain torch, as SLaK (arXiv:2207.03620) and RepLKNet (arXiv:2203.06717) use it.

Stride 1, odd kernels, zeros around the map, so that a map keeps its size. What is slow in torch on a CPU is not the convolution but its
gradient for the weights: 104 ms of 134 ms (51 x 5, 8 maps of 56 x 56, 124 channels, 2 cores), and 312 ms of 352 ms for 5 x 51. That
gradient is itself a depthwise convolution: of the map, with the gradient of the output as its kernel. The gradient for the map is one
with the flipped kernel. So both can run about as fast as the forward pass does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from ...errors import ConfigError, ShapeError, did_you_mean
from .band import band_conv
from .operands import in_autocast_dtype, ready_to_convolve


def large_kernel_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None
) -> Tensor:
    """`functional.conv2d(x, weight, bias, padding=(kh // 2, kw // 2), groups=C)`, in the way that is fastest for its shape.

    Args:
        x: (B, C, H, W) float, contiguous or channels-last, or a map of visible blocks.
        weight: (C, 1, kh, kw), kh and kw odd.
        bias: (C,).
        implementation:
            'native': torch's convolution as it is;
            'trimmed': torch's convolution, less the taps that can only touch padding (47 x 5 is 27 x 5 on a map of 14 x 14);
            'correlation': trimmed, with both gradients computed as forward convolutions;
            'band': trimmed, as products with band matrices, see `band_conv`;
            None: chosen by shape, dtype and device, see `choose`.
            'correlation' and 'band' cannot be differentiated twice. A model that is traced or exported (`torch.export`, ONNX) gets
            an ordinary convolution in any case.

    Returns:
        (B, C, H, W) in the dtype of `x` (under autocast: in its dtype) and the memory format of `x`.

    Raises:
        ShapeError: shapes that do not fit, or an even kernel.
        ConfigError: unknown implementation.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(large_kernel_conv2d, (x,), x, weight, bias, implementation)
    _check_implementation(implementation)
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        return _native(x, weight, bias)
    _check_shapes(x, weight, bias)
    if x.is_meta:  # only shapes or FLOPs are asked for, and autocast does not know this device
        return _native(x, weight, bias)
    if x.numel() == 0:
        implementation = 'native'
    elif implementation is None:
        implementation = choose(x, weight)
    return IMPLEMENTATIONS[implementation](*in_autocast_dtype(x, weight, bias))


def choose(x: Tensor, weight: Tensor) -> str:
    """Name of the implementation that `large_kernel_conv2d` takes for these tensors.

    On a CPU 'correlation' where a gradient is needed and 'trimmed' where none is. For every shape of a SLaK-T in training this was
    measured to be within 15 % of the fastest (`benchmarks/speed/large_kernel.py`). Both lay a contiguous map out as channels-last,
    for which torch's convolution can be 100 times as fast. On a GPU: 'band' for kernels of at least 21 taps along one axis, a choice by
    reasoning that has not been measured.
    """
    if x.dtype == torch.float64:
        return 'trimmed'  # an exact test, which may differentiate twice
    if x.device.type == 'cpu':
        return 'correlation' if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad) else 'trimmed'
    kernel = _useful(x, weight)
    return 'band' if max(kernel) >= 21 and min(kernel) <= 7 else 'trimmed'


def _useful(x: Tensor, weight: Tensor) -> tuple[int, int]:
    """(kh, kw) of the taps in the middle that can touch the map: an output is at most H - 1 rows away from an input."""
    return min(weight.shape[2], 2 * x.shape[2] - 1), min(weight.shape[3], 2 * x.shape[3] - 1)


def _trim(x: Tensor, weight: Tensor) -> Tensor:
    (kh, kw), (height, width) = weight.shape[2:], _useful(x, weight)
    if (kh, kw) == (height, width):
        return weight
    return weight[:, :, (kh - height) // 2 : (kh + height) // 2, (kw - width) // 2 : (kw + width) // 2]


def _native(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    ready, weight = ready_to_convolve(x, weight, len(weight))
    out = functional.conv2d(
        ready, weight, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight)
    )
    return out if ready is x else out.contiguous(memory_format=_layout(x))


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def _channels_last(convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> Tensor:
    """`convolve` in channels-last memory, which torch's CPU convolutions need: a contiguous map can take 16 times as long."""
    if x.device.type != 'cpu' or x.dtype == torch.float64:
        return convolve(x, weight)
    return convolve(x.contiguous(memory_format=torch.channels_last), weight).contiguous(memory_format=_layout(x))


def _trimmed(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _channels_last(lambda x, weight: _native(x, weight, bias), x, _trim(x, weight))


def _correlation(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _plus_bias(_channels_last(_Correlation.apply, x, _trim(x, weight)), bias)


def _band(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _plus_bias(band_conv(x, _trim(x, weight)), bias)


def _plus_bias(out: Tensor, bias: Tensor | None) -> Tensor:
    return out if bias is None else out + bias[:, None, None]


IMPLEMENTATIONS: Mapping[str, Callable] = MappingProxyType(
    {'native': _native, 'trimmed': _trimmed, 'correlation': _correlation, 'band': _band}
)


class _Correlation(torch.autograd.Function):
    """A convolution of which both gradients are convolutions too."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _native(x, weight, None)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = _laid_out_like(grad, x)
        with torch.autocast(grad.device.type, enabled=False):
            grad_x = _native(grad, weight.flip(2, 3), None) if ctx.needs_input_grad[0] else None
            grad_weight = _correlate(x, grad, weight) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight


def _laid_out_like(grad: Tensor, x: Tensor) -> Tensor:
    return grad.contiguous(memory_format=torch.contiguous_format if x.is_contiguous() else torch.channels_last)


def _correlate(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient for the weights (C, 1, kh, kw): each map with its gradient as the kernel, summed over the batch in full precision.

    One image at a time, copied to the same place in the cache: faster by up to a fifth than reading it where it is, and up to twice
    as fast as all images at once as channels of one map.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    padding = weight.shape[2] // 2, weight.shape[3] // 2
    total = weight.new_zeros(1, len(weight), *weight.shape[2:], dtype=dtype)
    for one in zip(x.split(1), grad.split(1), strict=True):
        image, kernel = (t.to(dtype, copy=True) for t in one)
        total += functional.conv2d(image, kernel.transpose(0, 1), padding=padding, groups=len(weight))
    return total.transpose(0, 1).to(weight.dtype)


def _check_implementation(name: str | None) -> None:
    if name is not None and name not in IMPLEMENTATIONS:
        raise ConfigError(
            f'implementation={name!r} is no way to compute a large-kernel convolution.'
            f'{did_you_mean(str(name), IMPLEMENTATIONS)} None chooses by shape and device.'
        )


def _check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if weight.dim() != 4 or weight.shape[1] != 1:
        raise ShapeError(f'The weight of a depthwise convolution must be (C, 1, kh, kw); got {tuple(weight.shape)}.')
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise ShapeError(
            f'A large kernel must have odd sides, so that the map keeps its size; got {tuple(weight.shape[2:])}.'
        )
    if x.dim() != 4 or x.shape[1] != len(weight):
        raise ShapeError(
            f'The map must be (B, {len(weight)}, H, W) for a weight of {len(weight)} channels; got {tuple(x.shape)}.'
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f'The bias must be ({len(weight)},), one number per channel; got {tuple(bias.shape)}.')


class LargeKernelConv2d(nn.Conv2d):
    """Module of `large_kernel_conv2d`. To torch it is an ordinary depthwise `nn.Conv2d`: same attributes, same state dict.

    Args:
        channels: C, of input and output.
        kernel_size: odd; a number, or (height, width).
        bias: whether to add a bias per channel.
        implementation: see `large_kernel_conv2d`; None chooses by shape and device at each call.

    Raises:
        ConfigError: a kernel that is not odd, or an unknown implementation.
    """

    def __init__(
        self, channels: int, kernel_size: int | tuple[int, int], bias: bool = False, implementation: str | None = None
    ) -> None:
        sides = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
        if len(sides) != 2 or not all(type(side) is int and side > 0 and side % 2 for side in sides):
            raise ConfigError(
                f'{type(self).__name__} kernel_size={kernel_size!r}: give an odd number >= 1, or two (height, width).'
            )
        _check_implementation(implementation)
        super().__init__(channels, channels, sides, padding=(sides[0] // 2, sides[1] // 2), groups=channels, bias=bias)
        self.implementation = implementation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) for `x` (B, C, H, W)."""
        return large_kernel_conv2d(x, self.weight, self.bias, self.implementation)

    def extra_repr(self) -> str:
        return super().extra_repr() + (
            '' if self.implementation is None else f', implementation={self.implementation!r}'
        )
