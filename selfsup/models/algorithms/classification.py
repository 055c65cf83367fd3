"""Supervised classification: training from scratch, fine-tuning and, with frozen stages, linear evaluation.

Axes: B images per process, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from ... import distributed
from ...arguments import Part
from ...errors import ConfigError
from ...registry import BACKBONES, BATCH_AUGMENTS, HEADS, MODELS, NECKS
from ..layers.functional import l2_normalize
from ..layers.pooling import global_average
from ..layers.sobel import Sobel
from .base import Algorithm, Backbone, Head, Neck, Step, build_part


@MODELS.register_module()
class Classification(Algorithm):
    """A backbone with a classifier.

    Args:
        backbone: config of a backbone, or a module; `in_channels=2` with `with_sobel`.
        head: config of a head that gives a dict of logits, e.g. `ClsHead`.
        neck: config of a neck between them, or None.
        with_sobel: the backbone sees edges, as DeepCluster's does.
        mixup: config of what mixes the images of a training batch, `dict(type='Mixup', ...)`, or None. Evaluation never mixes.

    Raises:
        ConfigError: `mixup` with a head that takes no soft targets, or with label smoothing of the head's own.
    """

    dataset = 'ClassificationDataset'

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        neck: Neck | None = None,
        with_sobel: bool = False,
        mixup: Annotated[dict | None, Part(BATCH_AUGMENTS)] = None,
    ) -> None:
        super().__init__()
        self.sobel = Sobel() if with_sobel else nn.Identity()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = nn.Identity() if neck is None else build_part(NECKS, neck)
        self.head = build_part(HEADS, head)
        self.mixup = None if mixup is None else BATCH_AUGMENTS.build(mixup)
        if mixup is not None:
            self._check_head()

    def _check_head(self) -> None:
        name = type(self.head).__name__
        if not hasattr(self.head, 'label_smoothing'):
            raise ConfigError(f'mixup makes soft targets, which {name} does not take: use ClsHead.')
        if self.head.label_smoothing:
            raise ConfigError(
                f'{name} label_smoothing={self.head.label_smoothing!r} would have no effect: with mixup, the targets are '
                'smoothed there. Give label_smoothing to mixup alone.'
            )

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """`mixup` pairs the images of a batch: none may be odd, and the last one of an epoch may be hours away."""
        sizes = [total // distributed.world_size() for total in batches]  # of one process
        odd = next((size for size in sizes if size % 2), None)
        if odd is None or not getattr(self.mixup, 'even_batches', False):
            return
        reason = f'data.imgs_per_gpu={odd} must be even (or the images of an epoch per process, where these are fewer)'
        if odd != sizes[0]:
            reason = f'the last batch of an epoch has {odd} per process: set data.drop_last=True'
        raise ConfigError(f'model.mixup pairs the images of a batch, but {reason}.')

    def extract(self, img: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone for images (B, C, H, W), or for their edges."""
        return self.backbone(self.sobel(self.single_view(img)))

    def loss(self, img: Tensor, gt_label: Tensor) -> Step:
        """Loss of the head; in train mode on mixed images, where `mixup` is given.

        Args:
            img: (B, C, H, W); B even with `mixup`.
            gt_label: (B,) int64 classes.
        """
        targets = gt_label
        if self.mixup is not None and self.training:
            img, targets = self.mixup(self.single_view(img), gt_label, self.head.num_classes)
        maps = self.extract(img)
        out = self.head.loss(self.head(self.neck(maps)), targets)
        losses = {key: value for key, value in out.items() if key.startswith('loss')}
        logs = {key: value for key, value in out.items() if key not in losses}
        return Step(losses, logs, embedding=l2_normalize(global_average(maps).detach()))

    def predict(self, img: Tensor) -> dict[str, Tensor]:
        """Logits `{'head0': (B, number of classes), ...}`."""
        return self.head(self.neck(self.extract(img)))
