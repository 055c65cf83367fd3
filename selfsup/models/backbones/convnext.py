"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545, figure 4 and appendix A).

State dicts have the official names (`downsample_layers.i.j`, `stages.s.b.{gamma,dwconv,norm,pwconv1,pwconv2}`) and give the
official numbers. As in SparK's copy there is no norm after the last stage, unless a classifier is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from ...arguments import Choice, Count, ShareBelowOne, Whole
from ...errors import ConfigError, ShapeError
from ...registry import BACKBONES
from ..layers.convnext_block import ConvNeXtBlock
from ..layers.init import init_convnext
from ..layers.layer_norm2d import LayerNorm2d
from ..layers.pooling import global_average

# Blocks and channels of the four stages. The small ones are ConvNeXt V2's, xlarge is V1's.
ARCHITECTURES = MappingProxyType(
    {
        'atto': ((2, 2, 6, 2), (40, 80, 160, 320)),
        'femto': ((2, 2, 6, 2), (48, 96, 192, 384)),
        'pico': ((2, 2, 6, 2), (64, 128, 256, 512)),
        'nano': ((2, 2, 8, 2), (80, 160, 320, 640)),
        'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
        'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
        'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
        'large': ((3, 3, 27, 3), (192, 384, 768, 1536)),
        'xlarge': ((3, 3, 27, 3), (256, 512, 1024, 2048)),
        'huge': ((3, 3, 27, 3), (352, 704, 1408, 2816)),
    }
)

Arch = Annotated[str | None, Choice(ARCHITECTURES)]
PerStage = Sequence[Count] | None


@BACKBONES.register_module()
class ConvNeXt(nn.Module):
    """ConvNeXt that returns the maps of chosen stages.

    Args:
        arch: 'atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge' or 'huge'.
        depths: blocks per stage, instead of those of `arch`.
        dims: channels per stage, instead of those of `arch`.
        in_channels: channels of the images.
        out_indices: which maps to return, ascending, counted as in `ResNet`: 0 is the stem (stride 4), k the k-th stage (strides 4, 8,
            16, 32). Later stages are not computed and not trained.
        drop_path_rate: of the last block, in [0, 1); it grows linearly from 0 at the first.
        layer_scale_init_value: start of the factors on the residual branches; None for none.
        grn_scope: 'image' or 'batch' puts GRN layers into the blocks (V2); None for none.
        kernel_size: of the depthwise convolutions, odd.
        frozen_stages: k >= 0 freezes the stem and the first k stages (no gradient, no drop path); -1 nothing.
        num_classes: > 0 adds the official `norm` and `head`, which `classify` uses and the maps do not; 0 adds nothing.
        with_cp: trade time for memory: activations of the blocks are computed again in the backward pass.
        large_kernel: for subclasses: from stage (counted from 0) and channels to the unit that a block has in place of its depthwise
            convolution.

    Attributes:
        channels: tuple, channels of each returned map.
        out_channels: channels of the last returned map.

    Raises:
        ConfigError: a value outside of the above.
    """

    def __init__(
        self,
        arch: Arch = None,
        depths: PerStage = None,
        dims: PerStage = None,
        in_channels: Count = 3,
        out_indices: Sequence[Whole] | None = None,
        drop_path_rate: ShareBelowOne = 0.0,
        layer_scale_init_value: float | None = 1e-6,
        grn_scope: Literal['image', 'batch'] | None = None,
        kernel_size: Count = 7,
        frozen_stages: Annotated[int, Ge(-1)] = -1,
        num_classes: Whole = 0,
        with_cp: bool = False,
        large_kernel: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        depths, dims = self._sizes(arch, depths, dims)
        self.out_indices = (len(depths),) if out_indices is None else tuple(out_indices)
        self.in_channels, self.frozen_stages = in_channels, frozen_stages
        self._check(len(depths), kernel_size, num_classes)

        stem = nn.Sequential(nn.Conv2d(in_channels, dims[0], 4, stride=4), LayerNorm2d(dims[0]))
        between = [nn.Sequential(LayerNorm2d(a), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairwise(dims)]
        self.downsample_layers = nn.ModuleList([stem, *between])
        rates = (drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths)))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ConvNeXtBlock(
                        width,
                        next(rates),
                        layer_scale_init_value,
                        grn_scope,
                        kernel_size,
                        None if large_kernel is None else large_kernel(stage, width),
                        with_cp,
                    )
                    for _ in range(depth)
                )
            )
            for stage, (depth, width) in enumerate(zip(depths, dims, strict=True))
        )
        if num_classes:
            self.norm, self.head = nn.LayerNorm(dims[-1], eps=1e-6), nn.Linear(dims[-1], num_classes)
        self.num_classes = num_classes
        every = (dims[0], *dims)
        self.channels = tuple(every[i] for i in self.out_indices)
        self.out_channels = self.channels[-1]
        init_convnext(self)
        for i in range(self.out_indices[-1], len(depths)):  # they can never have a gradient, which DDP would wait for
            self.stages[i].requires_grad_(False)
            if i > 0:
                self.downsample_layers[i].requires_grad_(False)
        self._freeze()

    @classmethod
    def _sizes(
        cls, arch: str | None, depths: Sequence[int] | None, dims: Sequence[int] | None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(depths, dims): those of `arch`, where others are not given."""
        if arch is not None:
            of_arch = ARCHITECTURES[arch]
            depths, dims = of_arch[0] if depths is None else depths, of_arch[1] if dims is None else dims
        if depths is None or dims is None:
            raise ConfigError(f"{cls.__name__} needs arch (for example 'tiny'), or depths and dims.")
        if len(depths) != len(dims) or not depths:
            raise ConfigError(
                f'{cls.__name__} depths={depths!r}, dims={dims!r}: give equally many whole numbers >= 1, one per stage.'
            )
        return tuple(depths), tuple(dims)

    def _check(self, stages: int, kernel_size: int, num_classes: int) -> None:
        name, chosen = type(self).__name__, self.out_indices
        if not chosen or list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(range(stages + 1)):
            raise ConfigError(
                f'{name} out_indices={chosen!r}: give ascending numbers from 0 (stem) to {stages} (last stage).'
            )
        if kernel_size % 2 == 0:
            raise ConfigError(f'{name} kernel_size={kernel_size!r}: it must be odd and at least 1.')
        if self.frozen_stages > stages:
            raise ConfigError(f'{name} frozen_stages={self.frozen_stages!r}: use -1 (nothing) to {stages}.')
        if num_classes and chosen[-1] != stages:
            raise ConfigError(
                f'{name} num_classes={num_classes!r} with out_indices={chosen!r}: a classifier has at least one class and '
                f'needs the last stage, {stages}, in out_indices.'
            )

    def blocks(self) -> list[nn.Module]:
        """The blocks of all stages, in the order in which they run: what a large network is dealt out in (FSDP)."""
        return [block for stage in self.stages for block in stage.children()]

    def _freeze(self) -> None:
        for i in range(max(self.frozen_stages, 1) if self.frozen_stages >= 0 else 0):
            parts = [self.downsample_layers[i]] + ([self.stages[i]] if i < self.frozen_stages else [])
            for part in parts:
                part.eval()
                part.requires_grad_(False)

    def train(self, mode: bool = True) -> ConvNeXt:
        """Like `nn.Module.train`, but what is frozen stays in eval mode."""
        super().train(mode)
        self._freeze()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of `out_indices` for images `x` (B, in_channels, H, W); each (B, channels[i], H / s, W / s), see `out_indices`.

        Raises:
            ShapeError: `x` has another number of channels, or is smaller than the stride of the last map.
        """
        name, stride = type(self).__name__, 4 * 2 ** max(self.out_indices[-1] - 1, 0)
        if x.shape[1] != self.in_channels:
            raise ShapeError(
                f'{name} has in_channels={self.in_channels}, but the images have {x.shape[1]}: '
                f'set in_channels={x.shape[1]}.'
            )
        if min(x.shape[-2:]) < stride:
            raise ShapeError(
                f'{name} shrinks images {stride} times, but they have {x.shape[-2]} x {x.shape[-1]} pixels: use larger ones.'
            )
        x = self.downsample_layers[0](x)
        maps = [x] if 0 in self.out_indices else []
        for i in range(1, self.out_indices[-1] + 1):
            if i > 1:
                x = self.downsample_layers[i - 1](x)
            x = self.stages[i - 1](x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def classify(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of the official classifier for images `x` (B, in_channels, H, W).

        Raises:
            ConfigError: the backbone was built without `num_classes`.
        """
        if not self.num_classes:
            raise ConfigError(f'This {type(self).__name__} has no classifier: give num_classes, for example 1000.')
        return self.head(self.norm(global_average(self(x))))
