"""Depthwise convolution with large kernels in plain torch, as SLaK (arXiv:2207.03620) and RepLKNet (arXiv:2203.06717) use it.

Stride 1, odd kernels, zeros around the map, so that a map keeps its size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from ...errors import ConfigError, ShapeError, did_you_mean

IMPLEMENTATIONS = ('native',)


def large_kernel_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None) -> Tensor:
    """`functional.conv2d(x, weight, bias, padding=(kh // 2, kw // 2), groups=C)`, by the way that is fastest for its shape.

    Args:
        x: (B, C, H, W) float, or a map of visible blocks.
        weight: (C, 1, kh, kw), kh and kw odd.
        bias: (C,).
        implementation: 'native'; None chooses.

    Returns:
        (B, C, H, W).

    Raises:
        ShapeError: shapes that do not fit, or an even kernel.
        ConfigError: unknown implementation.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(large_kernel_conv2d, (x,), x, weight, bias, implementation)
    _check_implementation(implementation)
    _check_shapes(x, weight, bias)
    return functional.conv2d(x, weight, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight))


def _check_implementation(name: str | None) -> None:
    if name is not None and name not in IMPLEMENTATIONS:
        raise ConfigError(f'implementation={name!r} is no way to compute a large-kernel convolution.'
                          f'{did_you_mean(str(name), IMPLEMENTATIONS)} None chooses by shape and device.')


def _check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if weight.dim() != 4 or weight.shape[1] != 1:
        raise ShapeError(f'The weight of a depthwise convolution must be (C, 1, kh, kw); got {tuple(weight.shape)}.')
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise ShapeError(f'A large kernel must have odd sides, so that the map keeps its size; got {tuple(weight.shape[2:])}.')
    if x.dim() != 4 or x.shape[1] != len(weight):
        raise ShapeError(f'The map must be (B, {len(weight)}, H, W) for a weight of {len(weight)} channels; got {tuple(x.shape)}.')
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

    def __init__(self, channels: int, kernel_size: int | tuple[int, int], bias: bool = False, implementation: str | None = None) -> None:
        sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sides) != 2 or not all(type(side) is int and side > 0 and side % 2 for side in sides):
            raise ConfigError(f'{type(self).__name__} kernel_size={kernel_size!r}: give an odd number >= 1, or two (height, width).')
        _check_implementation(implementation)
        super().__init__(channels, channels, sides, padding=(sides[0] // 2, sides[1] // 2), groups=channels, bias=bias)
        self.implementation = implementation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) for `x` (B, C, H, W)."""
        return large_kernel_conv2d(x, self.weight, self.bias, self.implementation)

    def extra_repr(self) -> str:
        return super().extra_repr() + ('' if self.implementation is None else f', implementation={self.implementation!r}')
