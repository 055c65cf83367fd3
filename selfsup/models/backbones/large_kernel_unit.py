"""The large-kernel unit of SLaK (Liu et al. 2022, arXiv:2207.03620, section 4.1) and its fold into plain convolutions.

With `decom` a K x K kernel is replaced by the sum of a K x N and an N x K kernel, and of an N x N one for what is near; without, by
the sum of a K x K and an N x N kernel, as in RepLKNet (arXiv:2203.06717). Names in the state dict are the official ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import ConfigError
from ..large_kernel.conv import LargeKernelConv2d
from ..layers.norm import build_norm

BN = MappingProxyType({'type': 'BN'})


class LargeKernelUnit(nn.Module):
    """Sum of depthwise convolutions with zeros around the map, each with its own norm.

    State dict: `{LoRA1,LoRA2,lkb_origin,small_conv}.{conv,bn}.*`; merged: `lkb_reparam.{weight,bias}` as in the official code, or
    `LoRA1_reparam.{weight,bias}` and `LoRA2_reparam.weight`.

    Args:
        channels: C of the map.
        large: K, long edge of the kernels, odd.
        small: N, their short edge, odd. With N >= K there is no N x N branch, and without `decom` N may then be any number.
        decom: K x N and N x K kernels instead of a K x K one.
        norm_cfg: norm after each convolution, see `build_norm` (after `resolve_sync_bn`); None for none.
        merged: build what `merge` leaves: no norms, no N x N branch.

    Raises:
        ConfigError: an even kernel, or an unknown norm.
    """

    def __init__(
        self,
        channels: int,
        large: int,
        small: int,
        decom: bool = True,
        norm_cfg: Mapping | None = BN,
        merged: bool = False,
    ) -> None:
        super().__init__()
        self.merged = merged
        if merged:
            if decom:
                self.LoRA1_reparam = LargeKernelConv2d(channels, (large, small), bias=True)
                self.LoRA2_reparam = LargeKernelConv2d(channels, (small, large))  # the one bias is that of the sum
            else:
                self.lkb_reparam = LargeKernelConv2d(channels, large, bias=True)
            return
        if decom:
            self.LoRA1 = _branch(channels, (large, small), norm_cfg)
            self.LoRA2 = _branch(channels, (small, large), norm_cfg)
        else:
            self.lkb_origin = _branch(channels, (large, large), norm_cfg)
        if small < large:
            self.small_conv = _branch(channels, (small, small), norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) for `x` (B, C, H, W)."""
        first, *others = self.children()
        out = first(x)
        for branch in others:
            out = out + branch(x)
        return out

    def check_mergeable(self) -> None:
        """Raise what `merge` would raise."""
        for name, branch in self.named_children():
            norm = _norm_of(branch)
            if norm is None:
                continue
            if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
                kind = type(norm).__name__ + (' without running statistics' if isinstance(norm, _BatchNorm) else '')
                raise ConfigError(
                    f'{name} has a {kind}, which no kernel can take in: only a batch norm with running '
                    'statistics can be merged.'
                )
            if norm.training:
                raise ConfigError(
                    f'The batch norm of {name} is in train mode, in which it uses statistics of the batch; merge() takes in '
                    'running statistics: call eval() first.'
                )

    @torch.no_grad()
    def merge(self, square: bool = False) -> None:
        """Fold norms and the N x N kernel into the large kernels, for inference; the output stays the same up to rounding.

        The N x N kernel goes into the K x N one, which holds it. A unit that was merged before is left as it is, but for `square`.

        Args:
            square: fold everything into one K x K kernel: K * K numbers per channel instead of 2 * K * N.

        Raises:
            ConfigError: a norm that has no running statistics, or uses those of the batch as it is in train mode.
        """
        if self.merged and not (square and hasattr(self, 'LoRA1_reparam')):
            return
        self.check_mergeable()
        parts = {name: _folded(branch) for name, branch in self.named_children()}
        like = next(self.parameters())
        trained = any(p.requires_grad for p in self.parameters())
        weights, bias = (
            [weight for weight, _ in parts.values()],
            reduce(torch.add, (shift for _, shift in parts.values())),
        )
        if square or 'lkb_origin' in parts:
            plain: dict[str, tuple[Tensor, Tensor | None]] = {'lkb_reparam': (_total(weights), bias)}
        else:
            first, second, *rest = weights
            plain = {'LoRA1_reparam': (_total([first, *rest]), bias), 'LoRA2_reparam': (second, None)}
        for name in parts:
            delattr(self, name)
        for name, numbers in plain.items():
            self.add_module(name, _plain(*numbers).to(like).requires_grad_(trained).train(self.training))
        self.merged = True


def _branch(channels: int, kernel_size: tuple[int, int], norm_cfg: Mapping | None) -> nn.Sequential:
    conv = LargeKernelConv2d(channels, kernel_size)
    norms = {} if norm_cfg is None else {'bn': build_norm(dict(norm_cfg), channels)[1]}
    return nn.Sequential(OrderedDict(conv=conv, **norms))


def _norm_of(branch: nn.Module) -> Any:
    """The norm of a branch, or None; only a batch norm can be merged, and has the numbers that are read of it."""
    return getattr(branch, 'bn', None)


def _folded(branch: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (C, 1, kh, kw) and bias (C,) of one convolution that does what the branch does; in double precision."""
    conv: Any = getattr(branch, 'conv', branch)
    norm = _norm_of(branch)
    weight = conv.weight.double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.double()
    if norm is None:
        return weight, bias
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = (bias - norm.running_mean.double()) * scale
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    return weight * scale[:, None, None, None], bias


def _total(weights: list[Tensor]) -> Tensor:
    """Sum of kernels (C, 1, kh, kw) of odd sides, laid on each other at their centres."""
    height, width = (max(weight.shape[axis] for weight in weights) for axis in (2, 3))
    margins = [((height - weight.shape[2]) // 2, (width - weight.shape[3]) // 2) for weight in weights]
    return reduce(
        torch.add, (functional.pad(weight, (w, w, h, h)) for weight, (h, w) in zip(weights, margins, strict=True))
    )


def _plain(weight: Tensor, bias: Tensor | None) -> LargeKernelConv2d:
    """A convolution with these numbers."""
    conv = LargeKernelConv2d(len(weight), (weight.shape[2], weight.shape[3]), bias is not None).to(weight)
    conv.load_state_dict({'weight': weight} if bias is None else {'weight': weight, 'bias': bias})
    return conv
