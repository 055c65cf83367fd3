"""Reconstruction of hidden pixels (He et al. 2021, arXiv 2111.06377, section 3; SparK, arXiv 2301.03580, section 3.3).

Axes: B images, C channels, H and W pixels, p side of a patch, h = H / p and w = W / p patches, P = p * p * C numbers per patch in the
order row, column, channel (channel fastest).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...arguments import Count, NotNegative
from ...errors import ShapeError
from ...registry import HEADS
from ..layers.functional import full_precision
from ..layers.masking import enlarge


@HEADS.register_module()
class MaskedPixelHead(nn.Module):
    """Mean squared error of the hidden patches, each normalised by its own mean and standard deviation.

    A prediction that is 0 everywhere has a loss of 1 (but for the eps and flat patches): what is above has learned nothing.

    Args:
        patch_size: side p of a patch in pixels.
        norm_pix: predict each patch with its mean subtracted and divided by its standard deviation (unbiased, over all
            P numbers); False predicts the normalised image itself.
        eps: added to the variance, >= 0.
    """

    def __init__(self, patch_size: Count = 32, norm_pix: bool = True, eps: NotNegative = 1e-6) -> None:
        super().__init__()
        self.patch_size, self.norm_pix, self.eps = patch_size, norm_pix, eps

    def patchify(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, h, w, P).

        Raises:
            ShapeError: a side of the images is no multiple of `patch_size`.
        """
        p = self.patch_size
        height, width = images.shape[-2:]
        if height % p or width % p:
            raise ShapeError(
                f'Images of {height} x {width} pixels do not divide into patches of patch_size={p}: crop them to multiples.'
            )
        return images.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 3, 5, 1).flatten(3)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(B, h, w, P) -> (B, C, H, W)."""
        p = self.patch_size
        return patches.unflatten(3, (p, p, -1)).permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def hidden(self, images: Tensor, visible: Tensor) -> Tensor:
        """Hidden patches (B, h, w) bool, from the visible blocks (B, fh, fw) bool; a block holds one patch or several."""
        height, width = (side // self.patch_size for side in images.shape[-2:])
        return ~enlarge(visible, height, width)

    def _statistics(self, patches: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """What patches (B, h, w, P) are shifted and scaled by to become targets."""
        if not self.norm_pix:
            return 0.0, 1.0
        if patches.shape[-1] < 2:
            raise ShapeError(
                f'MaskedPixelHead patch_size={self.patch_size} with images of one channel: a patch is a single number, which '
                'cannot be normalised by its own standard deviation: use a larger patch_size, or norm_pix=False.'
            )
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return mean, (variance + self.eps).sqrt()

    def forward(self, prediction: Tensor, images: Tensor, hidden: Tensor, count: Tensor) -> dict[str, Tensor]:
        """Loss, in full precision also under autocast.

        Args:
            prediction: (B, h, w, P).
            images: (B, C, H, W) that were to be predicted, whole.
            hidden: (B, h, w) bool, True = the patch counts.
            count: scalar, what the sum over hidden patches is divided by: their number, averaged over processes.

        Returns:
            `loss`: mean over hidden patches of the mean squared error of a patch.
        """
        with torch.autocast(images.device.type, enabled=False):
            patches = full_precision(self.patchify(images))
            mean, std = self._statistics(patches)
            errors = (full_precision(prediction) - (patches - mean) / std).square().mean(dim=-1)  # (B, h, w)
            return {'loss': (errors * hidden).sum() / count.clamp(min=self.eps)}

    @torch.no_grad()
    def compose(self, prediction: Tensor, images: Tensor, visible: Tensor) -> Tensor:
        """Picture (B, C, H, W): the images where visible, elsewhere the prediction brought back to the range of the images.

        Visible patches are not predicted in training, so their prediction means nothing and is not shown.

        Args:
            prediction: (B, h, w, P).
            images: (B, C, H, W), normalised.
            visible: (B, fh, fw) bool blocks.
        """
        patches = full_precision(self.patchify(images))
        mean, std = self._statistics(patches)
        hidden = self.hidden(images, visible)[..., None]
        return self.unpatchify(torch.where(hidden, full_precision(prediction) * std + mean, patches))
