"""Forms of rotations and affine warps."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from .base import Form, Size, form_of
from .crops import stand_in


@form_of(v2.RandomRotation, v2.RandomAffine)
class WarpForm(Form):
    """Parameters: those that torchvision draws. PIL computes, as in the step: nothing is faster for its nearest neighbours."""

    def draw(self, size: Size) -> dict[str, Any]:
        return self.step.make_params([stand_in(size)])

    def size_after(self, size: Size, params: dict[str, Any]) -> Size:
        if not getattr(self.step, 'expand', False):
            return size
        turned = F.rotate(Image.new('L', (size[1], size[0])), params['angle'], expand=True, center=self.step.center)
        return turned.height, turned.width

    def apply(self, image: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        return np.asarray(self.step.transform(Image.fromarray(image), params))
