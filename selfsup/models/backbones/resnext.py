"""ResNeXt (Xie et al. 2016, arXiv 1611.05431, table 1): a ResNet whose 3x3 convolutions are grouped and wider.

State dicts have torchvision's names; 50 32x4d and 101 32x8d equal torchvision's `resnext50_32x4d` and `resnext101_32x8d`.
"""

from __future__ import annotations

from typing import Any, Literal

from ...arguments import Count
from ...errors import ConfigError
from ...registry import BACKBONES
from .resnet import ResNet


@BACKBONES.register_module()
class ResNeXt(ResNet):
    """ResNeXt that returns the maps of chosen stages.

    Args:
        depth: 50, 101 or 152.
        groups: of the 3x3 convolutions ("cardinality"); 32 or 64 in the paper.
        width_per_group: channels per group in the first stage; 4 in 32x4d, 8 in 32x8d.
        base_width: another name of `width_per_group`; write one of the two.
        **kwargs: those of `ResNet`.

    Raises:
        ConfigError: a depth below 50, both names of the width, or what `ResNet` refuses.
    """

    def __init__(
        self,
        depth: Literal[50, 101, 152],
        groups: Count = 32,
        width_per_group: Count | None = None,
        base_width: Count | None = None,
        **kwargs: Any,
    ) -> None:
        if width_per_group is not None and base_width is not None:
            raise ConfigError(
                f'ResNeXt width_per_group={width_per_group} and base_width={base_width} are the same setting: write one.'
            )
        width = width_per_group or base_width or 4
        super().__init__(depth, groups=groups, width_per_group=width, **kwargs)
