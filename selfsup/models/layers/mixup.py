"""Mixing the images of a batch with each other, for supervised training."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ...arguments import NotNegative, Share, ShareBelowOne
from ...errors import ConfigError, ShapeError
from ...registry import BATCH_AUGMENTS


@BATCH_AUGMENTS.register_module()
class Mixup:
    """timm's Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899): image i of a batch is mixed with image B - 1 - i.

    The targets become soft, see `__call__`. All draws come from numpy's generator, which the training loop seeds from (run seed, rank,
    iteration): each process mixes its own batch with its own ratios, as in the reference recipes, so two processes do not
    equal one process with the joined batch.

    Args:
        mixup_alpha: of the Beta(alpha, alpha) that the share of the first image is drawn from, >= 0; 0 is no Mixup.
        cutmix_alpha: the same for the area that CutMix keeps; 0 is no CutMix.
        cutmix_minmax: smallest and largest side of CutMix's rectangle as a share of the image's, in [0, 1], instead of
            `cutmix_alpha`; None for none.
        prob: share of batches (or images) that are mixed, in [0, 1].
        switch_prob: share of CutMix among them where both are on, in [0, 1].
        mode: 'batch' draws once per batch, 'pair' once per pair, 'elem' once per image.
        label_smoothing: eps in [0, 1): the class of an image has 1 - eps + eps / K, the others eps / K. Also where nothing is mixed.

    Raises:
        ConfigError: `cutmix_minmax` in the wrong order, or neither Mixup nor CutMix.
    """

    even_batches = True  # read before training: the one odd batch may be the last of an epoch

    def __init__(
        self,
        mixup_alpha: NotNegative = 0.8,
        cutmix_alpha: NotNegative = 1.0,
        cutmix_minmax: tuple[Share, Share] | None = None,
        prob: Share = 1.0,
        switch_prob: Share = 0.5,
        mode: Literal['batch', 'pair', 'elem'] = 'batch',
        label_smoothing: ShareBelowOne = 0.1,
    ) -> None:
        if cutmix_minmax is not None and not cutmix_minmax[0] < cutmix_minmax[1]:
            raise ConfigError(f'Mixup cutmix_minmax={cutmix_minmax!r}: give two shares, smallest < largest, or None.')
        if not mixup_alpha and not cutmix_alpha and cutmix_minmax is None:
            raise ConfigError(
                'Mixup with mixup_alpha=0 and cutmix_alpha=0 mixes nothing: leave it away, and give label_smoothing to the '
                'head.'
            )
        self.settings = dict(
            mixup_alpha=mixup_alpha,
            cutmix_alpha=cutmix_alpha,
            cutmix_minmax=cutmix_minmax,
            prob=prob,
            switch_prob=switch_prob,
            mode=mode,
            label_smoothing=label_smoothing,
        )

    def __call__(self, img: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Mixed images and their targets; the arguments stay as they are.

        Args:
            img: (B, C, H, W) float, B even.
            labels: (B,) int64 in [0, num_classes).
            num_classes: K.

        Returns:
            (B, C, H, W), and (B, K) shares of the classes, float32, which sum to 1.

        Raises:
            ShapeError: B is odd.
        """
        if len(img) % 2:
            raise ShapeError(
                f'Mixup pairs the images of a batch; it got {len(img)} of them. Use an even data.imgs_per_gpu and '
                'data.drop_last=True.'
            )
        from timm.data import Mixup as TimmMixup

        return TimmMixup(**self.settings, num_classes=num_classes)(img.clone(), labels)
