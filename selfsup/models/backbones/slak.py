"""SLaK (Liu et al. 2022, arXiv:2207.03620, sections 3 and 4): ConvNeXt with kernels of up to 51 x 51 as sums of long, narrow ones.

State dicts have the official names: those of `ConvNeXt`, with `large_kernel.{LoRA1,LoRA2,small_conv,lkb_origin}.{conv,bn}.*` in place of
`dwconv.*`. As in `ConvNeXt` there is no norm after the last stage, unless a classifier is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from annotated_types import Ge
from torch import nn

from ...arguments import Count, Layer, Positive, ShareBelowOne, Whole
from ...errors import ConfigError
from ...registry import BACKBONES
from ..layers.norm import NORMS, resolve_sync_bn
from .convnext import Arch, ConvNeXt, PerStage
from .large_kernel_unit import BN, LargeKernelUnit


@BACKBONES.register_module()
class SLaK(ConvNeXt):
    """SLaK that returns the maps of chosen stages. Sparse training is a matter of the run: `SparseTrainingHook`.

    Args:
        arch: 'tiny', 'small', 'base' or 'large', or another one of `ConvNeXt`.
        depths: blocks per stage, instead of those of `arch`.
        dims: channels per stage, instead of those of `arch`; before `width_factor`.
        width_factor: > 0; multiplies the channels, fractions are cut off. The paper's networks have 1.3 and 40 % of their weights at 0.
        kernel_size: the long edge of the kernels of each stage, odd, and at last N, the short edge of all. See `LargeKernelUnit`.
        decom: K x N and N x K kernels in place of K x K.
        norm_cfg: norm after each depthwise convolution, `dict(type='SyncBN')` in the paper; None for none.
        drop_path_rate: see `ConvNeXt`; the paper has 0.1 (tiny), 0.4 (small) and 0.5 (base).
        layer_scale_init_value: see `ConvNeXt`.
        in_channels: channels of the images.
        out_indices: see `ConvNeXt`.
        frozen_stages: see `ConvNeXt`; norms of frozen stages use their running statistics.
        num_classes: see `ConvNeXt`.
        with_cp: see `ConvNeXt`.
        merged: build the network that `merge` leaves, to load its weights.

    Raises:
        ConfigError: a value outside of the above, or what `ConvNeXt` refuses.
    """

    def __init__(
        self,
        arch: Arch = None,
        depths: PerStage = None,
        dims: PerStage = None,
        width_factor: Positive = 1.0,
        kernel_size: Sequence[Count] = (51, 49, 47, 13, 5),
        decom: bool = True,
        norm_cfg: Annotated[Mapping | None, Layer(NORMS)] = BN,
        drop_path_rate: ShareBelowOne = 0.0,
        layer_scale_init_value: float | None = 1e-6,
        in_channels: Count = 3,
        out_indices: Sequence[Whole] | None = None,
        frozen_stages: Annotated[int, Ge(-1)] = -1,
        num_classes: Whole = 0,
        with_cp: bool = False,
        merged: bool = False,
    ) -> None:
        depths, dims = self._sizes(arch, depths, dims)
        if width_factor * min(dims) < 1:
            raise ConfigError(f'SLaK width_factor={width_factor!r}: it must leave each of {dims} channels at least 1.')
        *large, small = _edges(kernel_size, len(depths), decom)
        if norm_cfg is not None and not merged:
            norm_cfg = resolve_sync_bn(dict(norm_cfg))

        def unit(stage: int, channels: int) -> nn.Module:
            return LargeKernelUnit(channels, large[stage], small, decom, norm_cfg, merged)

        super().__init__(
            depths=depths,
            dims=tuple(int(width_factor * n) for n in dims),
            in_channels=in_channels,
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            layer_scale_init_value=layer_scale_init_value,
            frozen_stages=frozen_stages,
            num_classes=num_classes,
            with_cp=with_cp,
            large_kernel=unit,
        )

    def merge(self, square: bool = False) -> SLaK:
        """Fold the norms and small kernels of all blocks into their large kernels, for deployment; maps stay the same up to rounding.

        In place, cannot be undone, and only the training network should be trained. The state dict is that of `merged=True` afterwards
        (after `square=True` with `decom=False`, where no N is above K).

        Args:
            square: see `LargeKernelUnit.merge`.

        Returns:
            This network.

        Raises:
            ConfigError: it is in train mode, or its norms have no running statistics; nothing was changed.
        """
        units = [module for module in self.modules() if isinstance(module, LargeKernelUnit)]
        for unit in units:
            unit.check_mergeable()
        for unit in units:
            unit.merge(square)
        return self


def _edges(kernel_size: Sequence[int], stages: int, decom: bool) -> tuple[int, ...]:
    """`kernel_size`, checked.

    Raises:
        ConfigError: another number of them, or an even one where a map would change its size.
    """
    edges = tuple(kernel_size)
    if len(edges) != stages + 1:
        raise ConfigError(
            f'SLaK kernel_size={kernel_size!r}: give {stages + 1} whole numbers, the long edge of the kernels of each of the '
            f'{stages} stages and the short edge of all, for example (51, 49, 47, 13, 5).'
        )
    used = edges if decom or edges[-1] < max(edges[:-1]) else edges[:-1]
    if any(edge % 2 == 0 for edge in used):
        raise ConfigError(
            f'SLaK kernel_size={kernel_size!r}, decom={decom}: edges must be odd, so that maps keep their size. (Without '
            'decom, a short edge above all long ones says that there is no small kernel, and may be even.)'
        )
    return edges
