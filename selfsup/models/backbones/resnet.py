"""ResNet (He et al. 2015, arXiv 1512.03385, table 1 and figure 5).

State dicts have torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, `layer2.0.downsample.0`, ...), and `style='pytorch'` gives
torchvision's numbers. Unlike torchvision there is no classifier, any stage can be returned, and the width, the number of
stages and the stem can be changed for small images.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval, Len
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...arguments import Count, Layer, Whole
from ...errors import ConfigError, ShapeError
from ...registry import BACKBONES
from ..layers.norm import CONV_TYPES, NORMS, build_conv, build_norm, frozen_statistics, resolve_sync_bn, set_eval

# Of each stage. A number beyond 1000 is a typing error that would take minutes to build.
PerStage = Annotated[Sequence[Annotated[int, Interval(ge=1, le=1000)]], Len(1, 4)]


@dataclass(frozen=True)
class Settings:
    """What all blocks of a network have in common, see `ResNet`."""

    style: str
    conv_cfg: dict | None
    norm_cfg: dict
    groups: int
    with_cp: bool


class _Block(nn.Module):
    """What both residual blocks share: out = relu(body(x) + shortcut(x)).

    Args:
        inplanes: channels of the input.
        planes: width of the block; the output has `planes * expansion` channels.
        mid_planes: channels of the 3x3 convolution of a Bottleneck.
        stride: of the block, >= 1.
        dilation: of the first 3x3 convolution.
        downsample: projection for the shortcut, or None for the identity.
        settings: of the network. With `with_cp` the body is computed again in the backward pass instead of kept in memory.
    """

    expansion = 1
    conv1: nn.Module
    conv2: nn.Module

    def __init__(
        self,
        inplanes: int,
        planes: int,
        mid_planes: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        settings: Settings,
    ) -> None:
        super().__init__()
        self.norm_names: list[str] = []  # 'bn1', ..., or 'gn1' where the norms are group norms
        layers = self.layers(inplanes, planes, mid_planes, stride, dilation, settings.style)
        for number, (kernel, c_in, c_out, step, spread) in enumerate(layers, 1):
            conv = build_conv(
                settings.conv_cfg,
                c_in,
                c_out,
                kernel,
                stride=step,
                padding=spread * (kernel // 2),
                dilation=spread,
                groups=settings.groups if kernel == 3 else 1,
                bias=False,
            )
            name, norm = build_norm(settings.norm_cfg, c_out, postfix=number)
            self.add_module(f'conv{number}', conv)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.with_cp = settings.with_cp

    @staticmethod
    def layers(
        inplanes: int, planes: int, mid_planes: int, stride: int, dilation: int, style: str
    ) -> list[tuple[int, int, int, int, int]]:
        """(kernel, channels in, channels out, stride, dilation) of each convolution."""
        raise NotImplementedError

    def body(self, x: Tensor) -> Tensor:
        """Convolutions and norms, with a ReLU between them, of `x` (B, inplanes, H, W); plus the shortcut."""
        raise NotImplementedError

    def norm(self, number: int) -> nn.Module:
        """The norm after the convolution of that number, from 1."""
        return getattr(self, self.norm_names[number - 1])

    def shortcut(self, x: Tensor) -> Tensor:
        """(B, planes * expansion, H / stride, W / stride)."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            out = checkpoint(
                self.body, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(self))
            )
        else:
            out = self.body(x)
        return self.relu(out)


class BasicBlock(_Block):
    """Two 3x3 convolutions (figure 5, left)."""

    @staticmethod
    def layers(
        inplanes: int, planes: int, mid_planes: int, stride: int, dilation: int, style: str
    ) -> list[tuple[int, int, int, int, int]]:
        return [(3, inplanes, planes, stride, dilation), (3, planes, planes, 1, 1)]

    def body(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(1)(self.conv1(x)))
        out = self.norm(2)(self.conv2(out))
        return out + self.shortcut(x)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions (figure 5, right)."""

    expansion = 4
    conv3: nn.Module

    @staticmethod
    def layers(
        inplanes: int, planes: int, mid_planes: int, stride: int, dilation: int, style: str
    ) -> list[tuple[int, int, int, int, int]]:
        first, second = (1, stride) if style == 'pytorch' else (stride, 1)
        return [
            (1, inplanes, mid_planes, first, 1),
            (3, mid_planes, mid_planes, second, dilation),
            (1, mid_planes, planes * Bottleneck.expansion, 1, 1),
        ]

    def body(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(1)(self.conv1(x)))
        out = self.relu(self.norm(2)(self.conv2(out)))
        out = self.norm(3)(self.conv3(out))
        return out + self.shortcut(x)


ARCHITECTURES: dict[int, tuple[type[_Block], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@BACKBONES.register_module()
class ResNet(nn.Module):
    """ResNet that returns the maps of chosen stages.

    Args:
        depth: 18, 34, 50, 101 or 152; chooses the block and the number of blocks per stage.
        in_channels: channels of the images; 2 after `Sobel`.
        num_stages: 1 to 4.
        strides: of the first block of each stage; entries beyond `num_stages` are not used.
        dilations: of each stage; entries beyond `num_stages` are not used.
        out_indices: which maps to return, ascending. 0 is the stem (after ReLU, before max-pooling), k the k-th stage.
            None returns all: (0, 1, 2, 3, 4) with four stages. Later stages are not computed and not trained.
        style: where a Bottleneck strides: 'pytorch' in its 3x3 convolution, 'caffe' in its first 1x1.
        frozen_stages: k >= 0 freezes the stem and the first k stages (no gradient, BN in eval mode); -1 nothing.
        conv_cfg: e.g. `dict(type='ConvWS')` for weight standardisation; None for plain convolutions.
        norm_cfg: e.g. `dict(type='SyncBN')` or `dict(type='GN', num_groups=32)`.
        norm_eval: keep all BN in eval mode while training.
        with_cp: trade time for memory: activations of the blocks are computed again in the backward pass.
        zero_init_residual: start with the last norm of each block at 0, so that each block is the identity.
        stem: 'imagenet': 7x7 stride 2, then max-pooling stride 2. 'cifar': 3x3 stride 1, no pooling.
        base_channels: channels of the stem and width of the first stage; each stage doubles it.
        stage_blocks: blocks per stage instead of those of `depth`, e.g. (1, 1, 1, 1) for a small network.
        groups: groups of the 3x3 convolutions of depths 50 and up; see `ResNeXt`.
        width_per_group: channels per group in the first stage; None: `base_channels`.

    Attributes:
        channels: tuple, channels of each returned map.
        out_channels: channels of the last returned map.

    Raises:
        ConfigError: a value outside of the above.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152],
        in_channels: Count = 3,
        num_stages: Annotated[int, Interval(ge=1, le=4)] = 4,
        strides: PerStage = (1, 2, 2, 2),
        dilations: PerStage = (1, 1, 1, 1),
        out_indices: Sequence[Whole] | None = None,
        style: Literal['pytorch', 'caffe'] = 'pytorch',
        frozen_stages: Annotated[int, Ge(-1)] = -1,
        conv_cfg: Annotated[dict | None, Layer(CONV_TYPES)] = None,
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        zero_init_residual: bool = False,
        stem: Literal['imagenet', 'cifar'] = 'imagenet',
        base_channels: Count = 64,
        stage_blocks: PerStage | None = None,
        groups: Count = 1,
        width_per_group: Count | None = None,
    ) -> None:
        super().__init__()
        block, blocks = ARCHITECTURES[depth]
        blocks = blocks if stage_blocks is None else tuple(stage_blocks)
        width_per_group = base_channels if width_per_group is None else width_per_group
        if block is BasicBlock and (groups, width_per_group) != (1, base_channels):
            raise ConfigError(
                f'ResNet depth={depth} with groups={groups}, width_per_group={width_per_group}: use depth 50, 101 or 152.'
            )
        self.out_indices = tuple(range(num_stages + 1)) if out_indices is None else tuple(out_indices)
        self.in_channels, self.frozen_stages, self.norm_eval = in_channels, frozen_stages, norm_eval
        self._check(num_stages, strides=strides, dilations=dilations, stage_blocks=blocks)
        norm_cfg = resolve_sync_bn({'type': 'BN', 'requires_grad': True} if norm_cfg is None else norm_cfg)

        kernel, stride = (7, 2) if stem == 'imagenet' else (3, 1)
        self.conv1 = build_conv(
            conv_cfg, in_channels, base_channels, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.norm1_name, norm = build_norm(norm_cfg, base_channels, postfix=1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == 'imagenet' else nn.Identity()

        every, settings = [base_channels], Settings(style, conv_cfg, norm_cfg, groups, with_cp)
        for i in range(num_stages):
            planes = base_channels * 2**i
            mid_planes = planes * width_per_group // base_channels * groups
            sizes = every[-1], planes, mid_planes, strides[i], dilations[i]
            self.add_module(f'layer{i + 1}', _stage(block, blocks[i], *sizes, settings))
            every.append(planes * block.expansion)
        self.channels = tuple(every[i] for i in self.out_indices)
        self.out_channels = self.channels[-1]
        self._init_weights(zero_init_residual)
        for i in range(self.out_indices[-1] + 1, num_stages + 1):
            self.stage(i).requires_grad_(False)  # it can never have a gradient, which DDP would wait for
        self._freeze()

    def _check(self, num_stages: int, **per_stage: Sequence[int]) -> None:
        """Raise a ConfigError for arguments that do not fit each other."""
        chosen = self.out_indices
        if not chosen or list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(range(num_stages + 1)):
            raise ConfigError(
                f'ResNet out_indices={chosen!r}: give ascending numbers from 0 (stem) to num_stages={num_stages}.'
            )
        if self.frozen_stages > num_stages:
            raise ConfigError(
                f'ResNet frozen_stages={self.frozen_stages!r}: use -1 (nothing) to num_stages={num_stages}.'
            )
        for name, values in per_stage.items():
            if len(values) < num_stages:
                raise ConfigError(f'ResNet {name}={tuple(values)!r}: give {num_stages} numbers, one per stage.')

    def stage(self, number: int) -> nn.Module:
        """The blocks of a stage, from 1."""
        return getattr(self, f'layer{number}')

    @property
    def norm1(self) -> nn.Module:
        """The norm of the stem, `bn1`, or after another norm `gn1`, say."""
        return getattr(self, self.norm1_name)

    def _init_weights(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_in', nonlinearity='relu')
        if zero_init_residual:  # norms start at weight 1, bias 0 by themselves
            for module in self.modules():
                if isinstance(module, _Block):
                    nn.init.zeros_(module.norm(len(module.norm_names)).get_parameter('weight'))

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in [self.conv1, self.norm1, *map(self.stage, range(1, self.frozen_stages + 1))]:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Like `nn.Module.train`, but what is frozen stays in eval mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            set_eval(self)
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of `out_indices` for images `x` (B, in_channels, H, W); each (B, channels[i], H / s, W / s).

        Strides s with the 'imagenet' stem and default strides: 2, 4, 8, 16, 32 for indices 0 to 4; with 'cifar' 1, 1, 2, 4, 8.

        Raises:
            ShapeError: `x` has another number of channels.
        """
        if x.shape[1] != self.conv1.in_channels:
            raise ShapeError(
                f'ResNet has in_channels={self.conv1.in_channels}, but the images have {x.shape[1]}: '
                f'set in_channels={x.shape[1]}.'
            )
        x = self.relu(self.norm1(self.conv1(x)))
        maps = [x] if 0 in self.out_indices else []
        if self.out_indices[-1] > 0:
            x = self.maxpool(x)
        for i in range(1, self.out_indices[-1] + 1):
            x = self.stage(i)(x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


def _stage(
    block: type[_Block],
    number: int,
    inplanes: int,
    planes: int,
    mid_planes: int,
    stride: int,
    dilation: int,
    settings: Settings,
) -> nn.Sequential:
    """`number` blocks, the first of which changes size and width."""
    outplanes = planes * block.expansion
    downsample = None
    if stride != 1 or inplanes != outplanes:
        downsample = nn.Sequential(
            build_conv(settings.conv_cfg, inplanes, outplanes, 1, stride=stride, bias=False),
            build_norm(settings.norm_cfg, outplanes)[1],
        )
    first = block(inplanes, planes, mid_planes, stride, dilation, downsample, settings)
    others = (block(outplanes, planes, mid_planes, 1, dilation, None, settings) for _ in range(number - 1))
    return nn.Sequential(first, *others)
