"""CNN-JEPA: self-supervised pretraining of convolutional networks by predicting latent maps.

Kalapos and Gyires-Toth 2024, arXiv 2408.07514: section 3 (sparse encoder, predictor, masks, loss).

Axes: B images per process, C channels, H and W pixels, fh = H / block and fw = W / block blocks, D channels and h, w positions of the
last map.

Differences from the reference code: the encoder computes visible blocks only (`path='visible'`; 'masked' computes everything and masks
after each operation, as the reference does); masks are drawn in the training step, from the generators that the loop seeds, and a block
is never both visible and to be predicted; images need not be square and may have any number of channels; with several processes the loss is
the mean over the targets of all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .... import distributed
from ....arguments import Count, Positive, Share, Whole
from ....contracts import Progress
from ....errors import ConfigError, ShapeError
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import l2_normalize
from ...layers.image_channels import check_image_channels, image_channels
from ...layers.masking import BlockMasking, MaskRatio, TargetMasking, enlarge
from ...layers.momentum import cosine_momentum, momentum_copy, momentum_update
from ...layers.norm import synced_norms
from ...visible import check_masked, encode_visible, probe_maps
from ..base import Algorithm, Backbone, Neck, Step, build_part


@MODELS.register_module()
class CNNJEPA(Algorithm):
    """What a momentum network makes of hidden blocks is predicted from what the backbone makes of the visible ones.

    Args:
        backbone: config of a convolutional backbone, or a module; its last map is used. Its `in_channels` (timm's `in_chans`, or those
            of its first convolution) are the channels C of the images.
        predictor: config of a `CNNJEPAPredictor`; its `in_channels` may be left out.
        neck: config of a `CNNJEPAProjection`, or None, as in the released recipes.
        mask_ratio: share of the blocks that a random mask hides, in (0, 1).
        multi_block: share of the batches whose masks are rectangles instead, see `TargetMasking`, as are the next four.
        targets: rectangles of an image.
        target_scale: smallest and largest share of the blocks that one covers.
        target_aspect: smallest and largest ratio of its height and width.
        min_visible: more blocks than that stay visible.
        block: side of a block in pixels, a multiple of the backbone's stride.
        path: 'visible' computes the backbone on visible blocks only, 'masked' on all of them; the numbers are the same.
        base_momentum: share of the OLD momentum weights kept in the first epoch.
        end_momentum: the same in the last epoch. Both in [0, 1].
        sync_bn: all batch norms take the statistics of all processes, those of the backbone over the visible positions of all of them.

    Raises:
        ConfigError: parts that do not fit each other.
    """

    dataset = 'ExtractDataset'
    momentum: Tensor  # of the latest update, to log
    momentum_copies = (('backbone', 'target_backbone'), ('neck', 'target_neck'))

    def __init__(
        self,
        backbone: Backbone,
        predictor: Neck,
        neck: Neck | None = None,
        mask_ratio: MaskRatio = 0.6,
        multi_block: Share = 0.75,
        targets: Count = 4,
        target_scale: tuple[Share, Share] = (0.15, 0.2),
        target_aspect: tuple[Positive, Positive] = (0.75, 1.5),
        min_visible: Whole = 5,
        block: Count = 32,
        path: Literal['visible', 'masked'] = 'visible',
        base_momentum: Share = 0.996,
        end_momentum: Share = 1.0,
        sync_bn: bool = False,
    ) -> None:
        super().__init__()
        random = BlockMasking(mask_ratio, 'round', block)
        scale, aspect = _ordered('target_scale', target_scale), _ordered('target_aspect', target_aspect)
        self.masking = TargetMasking(random, multi_block, targets, scale, aspect, min_visible)
        encoder = build_part(BACKBONES, backbone)
        self.channels = image_channels(encoder)
        last = probe_maps(encoder, self.channels)[-1]
        if block % last.stride:
            raise ConfigError(f'CNNJEPA block={block} must be a multiple of the stride of the last map, {last.stride}.')
        check_masked(encoder, block, path, self.channels)
        self.backbone = encoder
        self.neck = nn.Identity() if neck is None else build_part(NECKS, _told('neck', neck, last.channels))
        of_map = getattr(self.neck, 'out_channels', last.channels)
        self.predictor = build_part(NECKS, _told('predictor', predictor, of_map))
        _check_predictor(self.predictor)
        self.target_backbone, self.target_neck = momentum_copy(self.backbone), momentum_copy(self.neck)
        self.path, self.sync_bn = path, sync_bn
        self.base_momentum, self.end_momentum = base_momentum, end_momentum
        self.register_buffer('momentum', torch.tensor(float(base_momentum)))

    def predict_map(self, img: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction of the whole map from visible blocks.

        Args:
            img: (B, C, H, W); what is not visible is not looked at.
            visible: (B, fh, fw) bool, any number per image.

        Returns:
            (B, D, h, w), and the map (B, D, h, w) that it is made of, 0 where hidden.
        """
        seen = self.neck(encode_visible(self.backbone, img, visible, self.path, self.sync_bn)[-1]).dense()
        with synced_norms(self.sync_bn):
            return self.predictor(seen, enlarge(visible, *seen.shape[-2:])), seen

    @torch.no_grad()
    def target_map(self, img: Tensor) -> Tensor:
        """(B, D, h, w): what the momentum network makes of whole images (B, C, H, W)."""
        with synced_norms(self.sync_bn):
            maps = self.target_backbone(img)
            return self.target_neck(maps if isinstance(maps, Tensor) else maps[-1])

    def loss(self, img: Tensor, visible: Tensor | None = None, target: Tensor | None = None) -> Step:
        """Half the squared distance of predicted and target directions, 1 - cosine, averaged over the target positions.

        Args:
            img: (B, C, H, W), both sides multiples of `block`.
            visible: (B, fh, fw) bool; None draws what is visible and what is to be predicted.
            target: (B, fh, fw) bool, what is to be predicted; None stands for all that is not visible.
        """
        img = self.single_view(img)
        check_image_channels(img, self.channels, 'CNNJEPA')
        if visible is None:
            visible, target = self.masking.draw(img)
        target = ~visible if target is None else target
        if target.shape != visible.shape:
            raise ShapeError(
                f'target {tuple(target.shape)} and visible {tuple(visible.shape)} are grids of the same blocks: give both one shape.'
            )
        prediction, seen = self.predict_map(img, visible)
        goal = self.target_map(img)
        logs = {
            'momentum': self.momentum.clone(),
            'visible': visible.float().mean(),
            'target_spread': spread_of_directions(goal),
        }
        loss = latent_loss(prediction, goal, enlarge(target, *goal.shape[-2:]))
        return Step({'loss': loss}, logs, embedding=l2_normalize(seen.detach().mean(dim=(2, 3))))

    def momentum_at(self, progress: Progress) -> float:
        """Half a cosine over the epochs: constant within one, `base_momentum` in the first and `end_momentum` in the last."""
        done = min(progress.epoch / max(progress.epochs - 1, 1), 1.0)
        return cosine_momentum(self.base_momentum, self.end_momentum, done)

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The target follows the online network, as it does before each forward pass in the reference code: by the next one's momentum."""
        momentum = self.momentum_at(progress.next)
        self.momentum.fill_(momentum)
        momentum_update(self.target_backbone, self.backbone, momentum)
        momentum_update(self.target_neck, self.neck, momentum)


def _told(name: str, part: dict | nn.Module, channels: int) -> dict | nn.Module:
    """The config of a part with the channels of the map that it gets."""
    if not isinstance(part, dict):
        return part
    stated = part.get('in_channels')
    if stated not in (None, channels):
        raise ConfigError(
            f'CNNJEPA {name}.in_channels={stated}, but the map that it gets has {channels} channels: leave in_channels out.'
        )
    return {**part, 'in_channels': channels}


def _check_predictor(predictor: nn.Module) -> None:
    try:
        inspect.signature(predictor.forward).bind('map', 'visible')
    except TypeError:
        raise ConfigError(
            f'CNNJEPA needs a predictor that takes a map and its visible positions, and {type(predictor).__name__} does not: '
            'set model.predictor.type=CNNJEPAPredictor.'
        ) from None


def _ordered(name: str, pair: tuple[float, float]) -> tuple[float, float]:
    smallest, largest = pair
    if smallest > largest:
        raise ConfigError(f'CNNJEPA {name}={tuple(pair)}: write the smallest and the largest, in that order.')
    return smallest, largest


def latent_loss(prediction: Tensor, goal: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 distance of unit vectors, summed over channels, averaged over the target positions of all processes.

    Args:
        prediction: (B, D, h, w).
        goal: (B, D, h, w), without a gradient.
        target: (B, h, w) bool, which positions count.

    Returns:
        A scalar; 1 - cosine, unless a component differs by more than 1. 0 without targets.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        distances = functional.smooth_l1_loss(l2_normalize(prediction), l2_normalize(goal), reduction='none').sum(dim=1)
        # divided by the mean count of the processes, as `layers.masking.mean_count`
        count = (distributed.sum(target.sum()).to(distances.dtype) + 1e-8) / distributed.world_size()
        return (distances * target).sum() / count


@torch.no_grad()
def spread_of_directions(goal: Tensor) -> Tensor:
    """How different the directions of (B, D, h, w) vectors are: 0 if all are the same, 1 if they cancel.

    The root of what is missing to a mean direction of length 1, over all positions of all images.
    """
    return (1 - l2_normalize(goal).mean(dim=(0, 2, 3)).square().sum()).clamp(min=0).sqrt()
