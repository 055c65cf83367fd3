"""Steps of the classic recipes that torchvision lacks or defines otherwise.

Random draws come from the global generators of numpy and torch, which are seeded per sample.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Interval
from PIL import Image, ImageFilter
from torch import Tensor

from ...arguments import NotNegative, Share
from ...errors import ConfigError
from ...registry import PIPELINES
from .compose import Steps, build_steps


@PIPELINES.register_module()
class ToTensor:
    """Image -> float tensor (C, H, W) in [0, 1]; of PIL images, the numbers of torchvision's step of that name.

    A source with other channels than RGB hands out tensors: uint8 ones are divided by 255, floats are in [0, 1] already and pass.
    """

    def __call__(self, image: Image.Image | Tensor) -> Tensor:
        if isinstance(image, Tensor) and image.is_floating_point():
            return image
        return to_uint8(image).to(torch.float32).div_(255)


def to_uint8(image: Image.Image | Tensor) -> Tensor:
    """Image -> uint8 tensor (C, H, W), contiguous.

    Args:
        image: of mode RGB, L, or any other with 8 bits per channel; or a uint8 tensor (C, H, W).
    """
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8:
            raise TypeError(
                f'expected uint8, or floats in [0, 1]; got {image.dtype}: ToDtype with scale=True converts it'
            )
        return image.contiguous()
    if not isinstance(image, Image.Image):
        raise TypeError(f'expected a PIL image or a tensor, got {type(image).__name__}')
    pixels = torch.from_numpy(np.array(image))
    if pixels.dtype != torch.uint8:
        raise TypeError(f'expected 8 bits per channel, got an image of mode {image.mode}')
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def needs_pil(image: object) -> None:
    """Raise a TypeError for anything but a PIL image, saying what to do."""
    if not isinstance(image, Image.Image):
        raise TypeError(f'expected a PIL image, got {type(image).__name__}: place the step before ToTensor')


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

    PIL's blur: a few box filters whose standard deviation is the radius. Tensors (C, H, W), uint8 or float, of any number of channels
    are blurred by a true Gaussian of that standard deviation, cut off at four of them; beyond the edges the image goes on as its
    outermost pixels.

    Args:
        sigma_min: smallest radius in pixels, >= 0; SimCLR and MoCo v2: 0.1.
        sigma_max: largest; the same: 2.0.
    """

    def __init__(self, sigma_min: NotNegative, sigma_max: NotNegative) -> None:
        if sigma_min > sigma_max:
            raise ConfigError(f'GaussianBlur: sigma_min <= sigma_max is needed; got {sigma_min} and {sigma_max}.')
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def __call__(self, image: Any) -> Any:
        sigma = np.random.uniform(self.sigma_min, self.sigma_max)
        if isinstance(image, Tensor):
            return blur(image, sigma)
        needs_pil(image)
        return image.filter(ImageFilter.GaussianBlur(radius=sigma))


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with standard deviation `sigma` in pixels of a tensor (C, H, W); uint8 is rounded."""
    reach = math.ceil(4 * sigma)
    if reach == 0:
        return image
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    pixels = F.pad(image.to(torch.float32)[:, None], (reach,) * 4, mode='replicate')
    pixels = F.conv2d(F.conv2d(pixels, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))[:, 0]
    return pixels if image.is_floating_point() else pixels.round_().clamp_(0, 255).to(image.dtype)


@PIPELINES.register_module()
class Solarization:
    """Invert the bright pixels, always (BYOL, arXiv:2006.07733, appendix B).

    Each value for itself, so tensors of any number of channels are solarised too; floats in [0, 1] by threshold / 255.

    Args:
        threshold: values below it stay, others become 255 - value; in [0, 256].
    """

    def __init__(self, threshold: Annotated[float, Interval(ge=0, le=256)] = 128) -> None:
        self.threshold = threshold
        self._table = [value if value < threshold else 255 - value for value in range(256)]

    def __call__(self, image: Any) -> Any:
        if isinstance(image, Tensor):
            largest = 1 if image.is_floating_point() else 255
            return torch.where(image < self.threshold * largest / 255, image, largest - image)
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
        if image.shape[-3] != 3:
            raise ValueError(f'its colours are those of RGB images; these have {image.shape[-3]} channels')
        return image + self.shift(torch.randn(3) * self.ALPHA_STD)

    def shift(self, alpha: Tensor) -> Tensor:
        """The colour (3, 1, 1) that strengths `alpha` (3,) of the components add."""
        return (torch.tensor(self.EIGENVECTORS) @ (alpha * torch.tensor(self.EIGENVALUES))).view(3, 1, 1)
