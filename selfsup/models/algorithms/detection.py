"""Faster R-CNN (arXiv:1506.01497) and Mask R-CNN (arXiv:1703.06870) on a feature pyramid, to judge a pretrained backbone.

Proposals, heads, sampling and losses are torchvision's `RegionProposalNetwork` and `RoIHeads`; this file puts them on our
backbones. Images of a batch differ in size: `img` is a list, and so are the objects of each image.

Axes: B images per process, N objects of an image, C channels, H and W pixels; boxes are (x1, y1, x2, y2) in pixels.

From detectron2's Mask R-CNN R50-FPN it differs as torchvision does: RoIAlign with 2 x 2 samples per bin and without the half-pixel
shift, smooth L1 (beta 1/9) for boxes of the heads and of proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from torch import Tensor, nn

from ...arguments import Count, Layer, Share
from ...errors import ConfigError, ShapeError
from ...registry import BACKBONES, MODELS, NECKS
from ..layers.norm import NORMS, norm_layer
from .base import Algorithm, Backbone, Neck, Step, build_part, refuse_classes

Images = Tensor | Sequence[Tensor]
CONV_HEAD = 4  # convolutions of the box head with a norm, and of the mask head


class RCNN(TypedDict, total=False):
    """Settings of torchvision's `FasterRCNN`, under its names: of the proposal network, then of the box head."""

    rpn_pre_nms_top_n_train: Count
    rpn_pre_nms_top_n_test: Count
    rpn_post_nms_top_n_train: Count
    rpn_post_nms_top_n_test: Count
    rpn_nms_thresh: Share
    rpn_fg_iou_thresh: Share
    rpn_bg_iou_thresh: Share
    rpn_batch_size_per_image: Count
    rpn_positive_fraction: Share
    rpn_score_thresh: Share
    box_score_thresh: Share
    box_nms_thresh: Share
    box_detections_per_img: Count
    box_fg_iou_thresh: Share
    box_bg_iou_thresh: Share
    box_batch_size_per_image: Count
    box_positive_fraction: Share


@MODELS.register_module()
class Detection(Algorithm):
    """A backbone, a feature pyramid, a proposal network and heads for boxes and, if asked for, masks.

    Args:
        backbone: config of a backbone, or a module; it returns the maps that `neck` takes. What is frozen is set there:
            `frozen_stages=k` keeps the stem and k stages (detectron2's FREEZE_AT k + 1); `norm_cfg=dict(type='BN', requires_grad=False)`
            with `norm_eval=True` is its FrozenBN; `dict(type='SyncBN')` its SyncBN.
        neck: config of `FPN`.
        num_classes: classes of objects, without the background.
        masks: predict masks too (Mask R-CNN).
        head_norm_cfg: norm in the heads, such as dict(type='SyncBN'); the box head then has 4 convolutions and one linear layer (as
            MoCo's and SparK's detectors). None: no norm, two linear layers.
        box_channels: width of the linear layers of the box head; 1024 is standard.
        anchor_sizes: side of the anchors of each level of the pyramid in pixels, the one of 'pool' included.
        size_divisible: images are padded to a multiple of it; the stride of the last map.
        rcnn: further settings, see `RCNN`.

    Raises:
        ConfigError: parts that do not fit together.
    """

    dataset = 'DetectionDataset'

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        num_classes: Count,
        masks: bool = False,
        head_norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
        box_channels: Count = 1024,
        anchor_sizes: Sequence[Count] = (32, 64, 128, 256, 512),
        size_divisible: Count = 32,
        rcnn: RCNN | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.masks, self.size_divisible = num_classes, masks, size_divisible
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        _check_parts(self.backbone, self.neck, anchor_sizes)
        self.rpn, self.roi_heads = _torchvision_parts(
            self.neck, num_classes, masks, head_norm_cfg, box_channels, anchor_sizes, rcnn or {}
        )

    def check_classes(self, classes: int | None) -> None:
        """The labels are those of the objects in the images."""
        refuse_classes('training images', classes, self, 'model')

    def loss(
        self,
        img: Images,
        gt_boxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        gt_masks: Sequence[Tensor] | None = None,
    ) -> Step:
        """Losses of proposals (objectness, boxes) and heads (classes, boxes, masks).

        Args:
            img: B images (C, H, W).
            gt_boxes: B tensors (N, 4), float, of positive area, inside the image.
            gt_labels: B tensors (N,), int64, in [0, num_classes).
            gt_masks: B tensors (N, H, W), uint8 in {0, 1}; needed with `masks`.
        """
        if self.masks and gt_masks is None:
            raise ConfigError(
                'Detection with masks=True needs the masks of the objects: set masks=True in the data set too.'
            )
        objects = zip(gt_boxes, gt_labels, strict=True)
        targets = [{'boxes': boxes, 'labels': labels + 1} for boxes, labels in objects]  # 0: background
        for target, masks in zip(targets, gt_masks or () if self.masks else (), strict=False):
            target['masks'] = masks
        images, sizes = self._padded(img)
        pyramid = self.neck(self.backbone(images))
        proposals, rpn_losses = self.rpn(_image_list(images, sizes), pyramid, targets)
        _, head_losses = self.roi_heads(pyramid, proposals, sizes, targets)
        return Step({**rpn_losses, **head_losses})

    def predict(self, img: Images) -> list[dict[str, Tensor]]:
        """Detections of each image, best first: `boxes` (N, 4) in its pixels, `labels` (N,) int64, `scores` (N,) in [0, 1]; with `masks`
        also `masks` (N, 1, 28, 28), probabilities inside the box."""
        images, sizes = self._padded(img)
        pyramid = self.neck(self.backbone(images))
        proposals, _ = self.rpn(_image_list(images, sizes), pyramid)
        detections, _ = self.roi_heads(pyramid, proposals, sizes)
        return [{**one, 'labels': one['labels'] - 1} for one in detections]

    def extract(self, img: Images) -> tuple[Tensor, ...]:
        """Feature maps of the backbone for images (B, C, H, W), or for a list of images, padded to one size."""
        return self.backbone(self.single_view(img) if isinstance(img, Tensor) else self._padded(img)[0])

    def _padded(self, img: Images) -> tuple[Tensor, list[tuple[int, int]]]:
        """Images in one tensor (B, C, H, W), with zeros (the mean colour) to the right and below, and the size of each."""
        if any(image.dim() != 3 or len(image) != len(img[0]) for image in img):
            raise ShapeError(
                f'Detection needs one view (C, H, W) per image; got {sorted({tuple(i.shape) for i in img})[:3]}: '
                f'use {self.dataset}.'
            )
        sizes = [(image.shape[-2], image.shape[-1]) for image in img]
        step = self.size_divisible
        height, width = (-(-max(side) // step) * step for side in zip(*sizes, strict=True))
        if isinstance(img, Tensor) and (height, width) == sizes[0]:
            return img, sizes
        padded = img[0].new_zeros(len(img), img[0].shape[0], height, width)
        for row, image in zip(padded, img, strict=True):
            row[:, : image.shape[-2], : image.shape[-1]] = image
        return padded, sizes


def _image_list(images: Tensor, sizes: list[tuple[int, int]]) -> object:
    from torchvision.models.detection.image_list import ImageList

    return ImageList(images, sizes)


def _check_parts(backbone: Any, neck: Any, anchor_sizes: Sequence[int]) -> None:
    channels = tuple(backbone.channels)
    if not hasattr(neck, 'levels'):
        raise ConfigError(f"Detection needs neck=dict(type='FPN', in_channels={channels}); got {type(neck).__name__}.")
    if channels != neck.in_channels:
        raise ConfigError(
            f'The backbone returns maps of {channels} channels, model.neck.in_channels={neck.in_channels}: set in_channels, or '
            'out_indices of the backbone.'
        )
    if len(anchor_sizes) != len(neck.levels):
        raise ConfigError(
            f'Detection anchor_sizes={tuple(anchor_sizes)!r}: give {len(neck.levels)} sizes, one for each level of the pyramid '
            f'({", ".join(neck.levels)}), in pixels.'
        )


def _torchvision_parts(
    neck: Any,
    num_classes: int,
    masks: bool,
    head_norm_cfg: dict | None,
    box_channels: int,
    anchor_sizes: Sequence[int],
    rcnn: RCNN,
) -> tuple[nn.Module, nn.Module]:
    """Proposal network and heads, as `FasterRCNN` and `MaskRCNN` put them together for a backbone that is our pyramid."""
    from torchvision.models.detection import FasterRCNN, MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    width, classes, maps = neck.out_channels, num_classes + 1, list(neck.levels[:-1])
    norm = norm_layer(head_norm_cfg)
    if norm is None:
        box_head = TwoMLPHead(width * 7**2, box_channels)
    else:
        box_head = FastRCNNConvFCHead((width, 7, 7), [width] * CONV_HEAD, [box_channels], norm_layer=norm)
    parts = {
        'rpn_anchor_generator': AnchorGenerator(
            tuple((size,) for size in anchor_sizes), ((0.5, 1.0, 2.0),) * len(anchor_sizes)
        ),
        'box_roi_pool': MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
        'box_head': box_head,
        'box_predictor': FastRCNNPredictor(box_channels, classes),
    }
    if not masks:
        whole = FasterRCNN(neck, **parts, **rcnn)
    else:
        whole = MaskRCNN(
            neck,
            **parts,
            **rcnn,
            mask_roi_pool=MultiScaleRoIAlign(maps, output_size=14, sampling_ratio=2),
            mask_head=MaskRCNNHeads(width, [width] * CONV_HEAD, 1, norm_layer=norm),
            mask_predictor=MaskRCNNPredictor(width, width, classes),
        )
    return whole.rpn, whole.roi_heads
