"""Steps of the classic recipes that torchvision lacks or defines otherwise.

Random draws come from the global generators of numpy and torch, which are seeded per sample.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from PIL import Image, ImageFilter
from torch import Tensor

from ...arguments import NotNegative, Share
from ...errors import ConfigError
from ...registry import PIPELINES
from .compose import Steps, build_steps


@PIPELINES.register_module()
class ToTensor:
    """PIL image -> float tensor (C, H, W) in [0, 1]; the numbers of torchvision's step of that name."""

    def __call__(self, image: Image.Image) -> Tensor:
        return to_uint8(image).to(torch.float32).div_(255)


def to_uint8(image: Image.Image) -> Tensor:
    """PIL image -> uint8 tensor (C, H, W), contiguous.

    Args:
        image: of mode RGB, L, or any other with 8 bits per channel.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(
            f'expected a PIL image, got {type(image).__name__}: for a source that gives tensors, take ToImage and ToDtype'
        )
    pixels = torch.from_numpy(np.array(image))
    if pixels.dtype != torch.uint8:
        raise TypeError(f'expected 8 bits per channel, got an image of mode {image.mode}')
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def needs_pil(image: object) -> None:
    """Raise a TypeError for anything but a PIL image, saying what to do."""
    if not isinstance(image, Image.Image):
        raise TypeError(
            f'expected a PIL image, got {type(image).__name__}: place the step before ToTensor; for a source that gives '
            'tensors, take a step that works on them'
        )


@PIPELINES.register_module()
class RandomAppliedTrans:
    """All of `transforms` with probability `p`, else none: one coin for the whole list.

    Args:
        transforms: list of steps.
        p: probability in [0, 1].
    """

    def __init__(self, transforms: Steps, p: Share = 0.5) -> None:
        self.transforms = build_steps(transforms)
        self.p = p

    def __call__(self, image: Image.Image | Tensor) -> Image.Image | Tensor:
        if torch.rand(()).item() >= self.p:
            return image
        for step in self.transforms:
            image = step(image)
        return image


@PIPELINES.register_module()
class GaussianBlur:
    """Blur with a random radius, always (SimCLR, arXiv:2002.05709, appendix A; wrap it in RandomAppliedTrans).

    PIL's blur: a few box filters whose standard deviation is the radius.

    Args:
        sigma_min: smallest radius in pixels, >= 0; SimCLR and MoCo v2: 0.1.
        sigma_max: largest; the same: 2.0.
    """

    def __init__(self, sigma_min: NotNegative, sigma_max: NotNegative) -> None:
        if sigma_min > sigma_max:
            raise ConfigError(f'GaussianBlur: sigma_min <= sigma_max is needed; got {sigma_min} and {sigma_max}.')
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def __call__(self, image: Image.Image) -> Image.Image:
        needs_pil(image)
        return image.filter(ImageFilter.GaussianBlur(radius=np.random.uniform(self.sigma_min, self.sigma_max)))


@PIPELINES.register_module()
class Solarization:
    """Invert the bright pixels, always (BYOL, arXiv:2006.07733, appendix B).

    Args:
        threshold: values below it stay, others become 255 - value; in [0, 256].
    """

    def __init__(self, threshold: Annotated[float, Interval(ge=0, le=256)] = 128) -> None:
        self.threshold = threshold
        self._table = [value if value < threshold else 255 - value for value in range(256)]

    def __call__(self, image: Image.Image) -> Image.Image:
        needs_pil(image)
        return image.point(self._table * len(image.getbands()))


@PIPELINES.register_module()
class Lighting:
    """Colour noise along the principal components of ImageNet's pixels (Krizhevsky et al. 2012, section 4.1).

    Works on tensors: place it between ToTensor and Normalize.
    """

    EIGENVALUES = (0.2175, 0.0188, 0.0045)
    EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))  # rows: R, G, B
    ALPHA_STD = 0.1

    def __call__(self, image: Tensor) -> Tensor:
        """(3, H, W) in [0, 1] -> the same, shifted by one colour."""
        return image + self.shift(torch.randn(3) * self.ALPHA_STD)

    def shift(self, alpha: Tensor) -> Tensor:
        """The colour (3, 1, 1) that strengths `alpha` (3,) of the components add."""
        return (torch.tensor(self.EIGENVECTORS) @ (alpha * torch.tensor(self.EIGENVALUES))).view(3, 1, 1)
