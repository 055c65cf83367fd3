"""Linear classifiers on several layers of a frozen backbone (Goyal et al. 2019, arXiv 1905.01235, section 5; appendix for the pooling)."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Literal

import torch.nn.functional as F
from annotated_types import Interval, Len
from torch import Tensor, nn

from ...arguments import Choice, Count, Layer
from ...errors import ShapeError
from ...registry import HEADS
from ..layers.functional import full_precision, top1_accuracy
from ..layers.init import init_linear_layers
from ..layers.norm import NORMS, build_norm, resolve_sync_bn
from ..layers.pooling import LAYER_WINDOWS, pool_layer

BASIC, BOTTLENECK = (64, 64, 128, 256, 512), (64, 256, 512, 1024, 2048)
CHANNELS = MappingProxyType(
    {'resnet18': BASIC, 'resnet34': BASIC, 'resnet50': BOTTLENECK, 'resnet101': BOTTLENECK, 'resnet152': BOTTLENECK}
)


@HEADS.register_module()
class MultiClsHead(nn.Module):
    """For each layer: average pooling to about 9,000 numbers, a norm over channels, one linear layer.

    With a ResNet-50 the layers 0 to 4 give 9216, 9216, 8192, 9216 and 8192 numbers.

    Args:
        pool_type: 'specified': the windows made for images of 224 pixels; 'adaptive': as many cells for any size.
        in_indices: layers, 0 (stem) to 4: what the backbone's `out_indices` are.
        with_last_layer_unpool: True adds one more linear layer on the last map, neither pooled (7 x 7) nor normed, as OpenSelfSup
            does. 'replace' leaves the last layer's map unpooled instead of adding one, as True did at first: for checkpoints of that time.
        backbone: 'resnet50' (also 'resnet18', 'resnet34', 'resnet101', 'resnet152'), for the channels of its layers.
        norm_cfg: BN, SyncBN or GN with arguments, e.g. `dict(type='BN', momentum=0.1, affine=False)`; None for no norm.
        num_classes: number of classes; labels are in [0, num_classes).
    """

    def __init__(
        self,
        pool_type: Literal['adaptive', 'specified'] = 'adaptive',
        in_indices: Annotated[Sequence[Annotated[int, Interval(ge=0, le=4)]], Len(1)] = (0,),
        with_last_layer_unpool: bool | Literal['replace'] = False,
        backbone: Annotated[str, Choice(CHANNELS)] = 'resnet50',
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = {'type': 'BN'},  # noqa: B006
        num_classes: Count = 1000,
    ) -> None:
        super().__init__()
        self.adaptive, self.in_indices = pool_type == 'adaptive', tuple(in_indices)
        pooled = len(self.in_indices) - (with_last_layer_unpool == 'replace')
        # of each classifier: its layer, and whether the map is pooled
        self.inputs = [(layer, i < pooled) for i, layer in enumerate(self.in_indices)]
        if with_last_layer_unpool is True:
            self.inputs.append((self.in_indices[-1], False))
        channels = [CHANNELS[backbone][layer] for layer, _ in self.inputs]
        sides = [LAYER_WINDOWS[layer][2] if pooled else LAYER_WINDOWS[layer][0] for layer, pooled in self.inputs]
        norm_cfg = None if norm_cfg is None else resolve_sync_bn(norm_cfg)
        self.norms = nn.ModuleList(
            nn.Identity() if norm_cfg is None else build_norm(norm_cfg, c)[1] for c in channels[: len(self.in_indices)]
        )
        self.fcs = nn.ModuleList(
            nn.Linear(c * side * side, num_classes) for c, side in zip(channels, sides, strict=True)
        )
        self.init_weights()

    def init_weights(self, init_linear: str = 'normal', std: float = 0.01) -> None:
        """See `init_linear_layers`."""
        init_linear_layers(self, init_linear, std)

    def pool(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C, side, side), one per classifier: of each layer its pooled one, then perhaps the last as it is.

        Raises:
            ShapeError: not one map per layer.
        """
        if isinstance(maps, Tensor) or len(maps) != len(self.in_indices):
            number = 1 if isinstance(maps, Tensor) else len(maps)
            raise ShapeError(
                f'MultiClsHead reads one map for each of in_indices={self.in_indices}; it got {number}: set out_indices of '
                f'the backbone to {self.in_indices}.'
            )
        return [
            pool_layer(x, layer, self.adaptive) if pooled else x
            for x, (layer, pooled) in zip([*maps, maps[-1]], self.inputs, strict=False)
        ]

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits `{'head0': (B, num_classes), 'head1': ...}`, numbered by position in `in_indices`; an unpooled one comes last.

        Args:
            maps: (B, C, H, W) of each layer.
        """
        return self.classify(self.pool(maps))

    def classify(self, pooled: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits of what `pool` returned."""
        logits = {}
        for i, x in enumerate(pooled):
            values = (self.norms[i](x) if i < len(self.norms) else x).flatten(1)
            if values.shape[1] != self.fcs[i].in_features:
                raise ShapeError(
                    f'MultiClsHead: layer {self.inputs[i][0]} of shape {tuple(x.shape)} gives {values.shape[1]} numbers, '
                    f"not {self.fcs[i].in_features}: use images of 224 pixels, pool_type='adaptive', or another backbone."
                )
            logits[f'head{i}'] = self.fcs[i](values)
        return logits

    def loss(self, logits: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Cross entropy and top-1 accuracy of each layer.

        Args:
            logits: what `forward` returned.
            labels: (B,) int64.

        Returns:
            `loss.1`, `acc.1` (percent), `loss.2`, ..., numbered from 1 by position.
        """
        out = {}
        for i, scores in enumerate(map(full_precision, logits.values()), 1):
            out[f'loss.{i}'] = F.cross_entropy(scores, labels)
            out[f'acc.{i}'] = top1_accuracy(scores, labels)
        return out
