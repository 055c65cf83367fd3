"""SparK: BERT-style pre-training of convolutional networks.

Tian et al. 2023, arXiv 2301.03580: section 3.1 (sparse encoding), 3.2 (hierarchical decoding), 3.3 (target and loss).

Axes: B images per process, C channels, H and W pixels, fh = H / block and fw = W / block blocks, h and w patches, P numbers per patch.

Differences from the reference code: the encoder computes visible blocks only (`path='visible'`; 'masked' computes everything and
masks after each operation, as the reference does); masks are drawn on the device of the images, from the generator that the loop
seeds; images need not be square and may have any number of channels; with several processes the loss is the mean over the hidden
patches of all of them. The neck and the decoder are told the channels and the stride of the backbone's maps.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ....arguments import Count
from ....errors import ConfigError
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import l2_normalize
from ...layers.image_channels import check_image_channels, image_channels
from ...layers.masking import BlockMasking, Keep, MaskRatio, mean_count
from ...layers.norm import resolve_sync_bn
from ...visible import check_masked, encode_visible, probe_maps
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part


@MODELS.register_module()
class SparK(Algorithm):
    """Hidden blocks of an image are predicted from its visible ones, through a U-Net decoder.

    Args:
        backbone: config of a convolutional backbone that returns one map per stage (four in the paper), or a module. Its
            `in_channels` (timm's `in_chans`, or those of its first convolution) are the channels C of the images.
        neck: config of a `SparKNeck`, which fills the holes of the maps; its `in_channels` and `width` may be left out.
        decoder: config of a `LightDecoder`; its `stride` and `out_channels` may be left out.
        head: config of a `MaskedPixelHead`.
        mask_ratio: share of the blocks to hide, in (0, 1); 0.6 at 224 pixels, 0.75 at 384.
        keep: 'round' or 'floor': how the number of visible blocks becomes whole.
        block: side of a block in pixels, a multiple of the backbone's stride and of `head.patch_size`.
        path: 'visible' computes the encoder on visible blocks only, 'masked' on all of them; the numbers are the same.
        sync_bn: batch norms take the statistics of all processes: those of backbone and neck over the visible positions
            of all of them, those of the decoder where SyncBN can run.

    Raises:
        ConfigError: parts that do not fit each other.
    """

    dataset = 'ExtractDataset'

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        decoder: Neck,
        head: Head,
        mask_ratio: MaskRatio = 0.6,
        keep: Keep = 'round',
        block: Count = 32,
        path: Literal['visible', 'masked'] = 'visible',
        sync_bn: bool = False,
    ) -> None:
        super().__init__()
        self.masking, self.path = BlockMasking(mask_ratio, keep, block), path
        encoder = build_part(BACKBONES, backbone)
        self.channels = image_channels(encoder)
        maps = probe_maps(encoder, self.channels)
        if isinstance(decoder, dict):
            drawn = {} if self.channels == 3 else {'out_channels': self.channels}
            decoder = {'stride': maps[-1].stride, **drawn, **decoder}
        drawing = build_part(NECKS, decoder)
        if isinstance(neck, dict):
            neck = {'in_channels': [m.channels for m in maps], 'width': drawing.width, **neck}
        self.backbone, self.neck, self.decoder = encoder, build_part(NECKS, neck), drawing
        self.head = build_part(HEADS, head)
        self._check([m.stride for m in maps])
        check_masked(encoder, block, path, self.channels)
        self.sync_bn = sync_bn
        if sync_bn and resolve_sync_bn({'type': 'SyncBN'})['type'] == 'SyncBN':
            # the decoder's maps are dense, which torch's SyncBN takes
            self.decoder = nn.SyncBatchNorm.convert_sync_batchnorm(self.decoder)

    def _check(self, strides: list[int]) -> None:
        block, patch = self.masking.block, self.head.patch_size
        if any(fine * 2 != coarse for fine, coarse in pairwise(strides)) or strides[0] < 2:
            raise ConfigError(
                f'SparK needs maps whose strides double from 2 or more on, such as 4, 8, 16, 32; those of the backbone '
                f'{type(self.backbone).__name__} are {", ".join(map(str, strides))}: choose out_indices accordingly.'
            )
        if block % strides[-1] or block % patch:
            raise ConfigError(
                f'SparK block={block} must be a multiple of the stride of the last map, {strides[-1]}, and of '
                f'head.patch_size={patch}.'
            )
        drawn = getattr(self.decoder, 'out_channels', self.channels)
        if drawn != self.channels:
            raise ConfigError(
                f'SparK has decoder.out_channels={drawn}, but its backbone takes images of {self.channels} channels, which '
                f'the decoder is to draw: leave decoder.out_channels out, or set backbone.in_channels={drawn}.'
            )

    def predict_patches(self, img: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction of every patch, hidden or not.

        Args:
            img: (B, C, H, W); what is not visible is not looked at.
            visible: (B, fh, fw) bool.

        Returns:
            (B, h, w, P), and the last map (B, D, h, w), 0 where hidden.
        """
        check_image_channels(img, self.channels, 'SparK')
        maps = encode_visible(self.backbone, img, visible, self.path, self.sync_bn)
        decoded = self.decoder(self.neck(maps))
        return self.head.patchify(decoded), maps[-1].dense().detach()

    def loss(self, img: Tensor, visible: Tensor | None = None) -> Step:
        """Error of the hidden patches; 1 for a prediction of 0.

        Args:
            img: (B, C, H, W), both sides multiples of `block`.
            visible: (B, fh, fw) bool, any number per image; None draws blocks by `mask_ratio`.
        """
        visible = self.masking.draw(self.single_view(img)) if visible is None else visible
        prediction, last = self.predict_patches(img, visible)
        hidden = self.head.hidden(img, visible)
        out = self.head(prediction, img, hidden, mean_count(hidden))
        return Step({'loss': out['loss']}, embedding=l2_normalize(last.sum(dim=(2, 3))))

    @torch.no_grad()
    def reconstruct(self, img: Tensor, visible: Tensor) -> Tensor:
        """Pictures (B, C, H, W) for people: `img` where visible, the prediction elsewhere; arguments as `loss`."""
        return self.head.compose(self.predict_patches(img, visible)[0], img, visible)
