"""FCMAE: the fully convolutional masked autoencoder of ConvNeXt V2.

Woo et al. 2023, arXiv 2301.00808, section 3.1.

Axes: B images per process, C channels, H and W pixels, fh = H / block and fw = W / block blocks, h and w cells of the last map, each of
which predicts one patch of P = patch_size ** 2 * C numbers.

Differences from the reference code: the encoder computes visible blocks only (`path='visible'`) with ordinary layers, so any
convolutional backbone will do; weights start with standard deviation 0.02, while the released code overwrites most with 1.0
(`init='release'`, whose loss starts at 17 instead of 1); images need not be square and may have any number of channels; with several
processes the loss is the mean over the hidden patches of all of them. GRN takes the norms of one image, as in the paper; the
release's norms over the whole batch are `backbone.grn_scope='batch'`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ....arguments import Count
from ....errors import ConfigError
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import l2_normalize
from ...layers.image_channels import check_image_channels, image_channels
from ...layers.init import init_convnext
from ...layers.masking import BlockMasking, Keep, MaskRatio, enlarge, mean_count
from ...visible import check_masked, encode_visible, probe_maps
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part


@MODELS.register_module()
class FCMAE(Algorithm):
    """Hidden patches are predicted from the last map of a convolutional encoder, by a decoder of one block.

    Args:
        backbone: config of a convolutional backbone, `ConvNeXtV2` in the paper, or a module; its last map is used. Its
            `in_channels` (timm's `in_chans`, or those of its first convolution) are the channels C of the images.
        decoder: config of a `ConvNeXtV2Decoder`, or a module that keeps the shape of its input and has a `width`.
        head: config of a `MaskedPixelHead` whose `patch_size` is the stride of the last map.
        mask_ratio: share of the blocks to hide, in (0, 1).
        keep: 'round' or 'floor': how the number of visible blocks becomes whole.
        block: side of a block in pixels, a multiple of the backbone's stride.
        init: 'std02', or 'release': what the released code does to a ConvNeXtV2.
        path: 'visible' computes the encoder on visible blocks only, 'masked' on all of them; the numbers are the same.
        sync_bn: batch norms of the backbone take the statistics of the visible positions of all processes.

    Raises:
        ConfigError: parts that do not fit each other.
    """

    dataset = 'ExtractDataset'

    def __init__(
        self,
        backbone: Backbone,
        decoder: Neck,
        head: Head,
        mask_ratio: MaskRatio = 0.6,
        keep: Keep = 'floor',
        block: Count = 32,
        init: Literal['std02', 'release'] = 'std02',
        path: Literal['visible', 'masked'] = 'visible',
        sync_bn: bool = False,
    ) -> None:
        super().__init__()
        self.masking, self.path, self.sync_bn = BlockMasking(mask_ratio, keep, block), path, sync_bn
        self.backbone = build_part(BACKBONES, backbone)
        self.head = build_part(HEADS, head)
        self.channels = image_channels(self.backbone)
        channels, stride = probe_maps(self.backbone, self.channels)[-1]
        if block % stride or self.head.patch_size != stride:
            raise ConfigError(
                f'FCMAE block={block} must be a multiple of the stride of the last map, {stride}, and '
                f'head.patch_size={self.head.patch_size} must be that stride.'
            )
        check_masked(self.backbone, block, path, self.channels)
        self.decoder = build_part(NECKS, decoder)
        width = self.decoder.width
        self.proj = nn.Conv2d(channels, width, 1)
        self.mask_token = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.pred = nn.Conv2d(width, stride**2 * self.channels, 1)
        self._init_weights(init)

    def _init_weights(self, init: str) -> None:
        """Standard deviation 0.02 and biases 0 for all but the backbone, which has its own.

        The release draws all convolutions of all parts and the linear layers of the encoder anew with standard deviation 1, cut
        at 2; it spares the encoder's downsampling convolutions, and leaves the linear layers of the decoder at torch's default.
        """
        nn.init.normal_(self.mask_token, std=0.02)
        std = 0.02 if init == 'std02' else 1.0
        for part in (self.proj, self.decoder, self.pred):
            init_convnext(part, std)
        if init == 'release':
            encoder: Any = self.backbone
            if not hasattr(encoder, 'downsample_layers'):
                raise ConfigError(
                    f"FCMAE init='release' is about ConvNeXtV2; a {type(encoder).__name__} needs init='std02'."
                )
            for part in (encoder.downsample_layers[0], encoder.stages):
                init_convnext(part, std)
            for module in self.decoder.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()

    def predict_patches(self, img: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction of every patch, hidden or not.

        Args:
            img: (B, C, H, W); what is not visible is not looked at.
            visible: (B, fh, fw) bool.

        Returns:
            (B, h, w, P), and the last map (B, D, h, w), 0 where hidden.
        """
        check_image_channels(img, self.channels, 'FCMAE')
        last = encode_visible(self.backbone, img, visible, self.path, self.sync_bn)[-1]
        x = self.proj(last).dense()
        x = torch.where(enlarge(visible, *x.shape[-2:])[:, None], x, self.mask_token.to(x.dtype))
        return self.pred(self.decoder(x)).permute(0, 2, 3, 1), last.dense().detach()

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
