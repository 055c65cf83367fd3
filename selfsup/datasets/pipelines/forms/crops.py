"""Forms of crops, resizing and flips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2.functional._geometry import _compute_resized_output_size

from ..torchvision_steps import interpolation_mode
from .base import Form, Size, form_of
from .opencv import has_opencv

Box = tuple[int, int, int, int]  # top, left, height, width in pixels
MODES = {InterpolationMode.BILINEAR: 'bilinear', InterpolationMode.BICUBIC: 'bicubic'}  # those that torch and PIL share


def resize(image: np.ndarray, size: Size, mode: str) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (height, width, 3), with antialiasing, as PIL resizes.

    Args:
        image: the whole of it counts, as in PIL's `crop` and then `resize`.
        size: height and width.
        mode: 'bilinear' or 'bicubic'.
    """
    if image.shape[:2] == size:
        return image
    if not image.flags.writeable or min(image.strides) < 0:  # torch warns of the one and refuses the other
        image = image.copy()
    # With a stride of its own for the batch, torch knows that the channels come last, and leaves them there.
    pixels = torch.from_numpy(image).unsqueeze(0).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(pixels, size, mode=mode, antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()[0].numpy()


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """A part of an image; what lies outside of it is black, as in PIL's `crop`."""
    top, left, height, width = box
    if top >= 0 and left >= 0 and top + height <= image.shape[0] and left + width <= image.shape[1]:
        return image[top : top + height, left : left + width]
    return np.asarray(Image.fromarray(image).crop((left, top, left + width, top + height)))


def stand_in(size: Size) -> torch.Tensor:
    """What a step of torchvision takes for an RGB image of `size` when it draws, and that holds no pixels."""
    return torch.empty((3, *size), dtype=torch.uint8, device='meta')


class _Resizing(Form):
    """A form that resizes, with an interpolation that torch and PIL share."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        self.mode = MODES[interpolation_mode(step.interpolation)]


def _can_resize(step: Any) -> bool:
    return interpolation_mode(step.interpolation) in MODES


class RandomResizedCropForm(_Resizing):
    """Parameters: the box."""

    def __init__(self, step: v2.RandomResizedCrop) -> None:
        super().__init__(step)
        height, width = step.size
        self.size: Size = (height, width)
        low, high = torch.log(torch.tensor(step.ratio)).tolist()
        self.log_ratio = (low, high)

    def draw(self, size: Size) -> Box:
        height, width = size
        scale, ratio = self.step.scale, self.step.ratio
        for _ in range(10):
            area = height * width * self.numbers.between(*scale)
            aspect = self.numbers.exp_between(*self.log_ratio)
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top = self.numbers.below(height - h + 1)
                return top, self.numbers.below(width - w + 1), h, w
        # nothing fitted: the middle of the image, as large as the ratios allow
        w, h = width, height
        if width / height < min(ratio):
            h = round(width / min(ratio))
        elif width / height > max(ratio):
            w = round(height * max(ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def size_after(self, size: Size, params: Box) -> Size:
        return self.size

    def apply(self, image: np.ndarray, params: Box) -> np.ndarray:
        return resize(cut(image, params), self.size, self.mode)


@form_of(v2.RandomResizedCrop)
def _random_resized_crop(step: v2.RandomResizedCrop) -> Form | None:
    return RandomResizedCropForm(step) if _can_resize(step) else None


class ResizeForm(_Resizing):
    """Parameters: height and width of the result."""

    def draw(self, size: Size) -> Size:
        height, width = _compute_resized_output_size(size, self.step.size, self.step.max_size)
        return height, width

    def size_after(self, size: Size, params: Size) -> Size:
        return params

    def apply(self, image: np.ndarray, params: Size) -> np.ndarray:
        return resize(image, params, self.mode)


@form_of(v2.Resize)
def _resize(step: v2.Resize) -> Form | None:
    return ResizeForm(step) if _can_resize(step) else None


class CenterCropForm(Form):
    """Parameters: the box; it starts before the image where that is smaller, and what is missing is black."""

    def draw(self, size: Size) -> Box:
        (height, width), (h, w) = size, self.step.size
        # torchvision pads first and rounds that otherwise: the smaller half goes before the image
        top = -((h - height) // 2) if h > height else round((height - h) / 2)
        left = -((w - width) // 2) if w > width else round((width - w) / 2)
        return top, left, h, w

    def size_after(self, size: Size, params: Box) -> Size:
        return params[2:]

    def apply(self, image: np.ndarray, params: Box) -> np.ndarray:
        return cut(image, params)


@form_of(v2.CenterCrop)
def _center_crop(step: v2.CenterCrop) -> Form | None:
    whole = all(
        isinstance(side, int) and side > 0 for side in step.size
    )  # the step itself says what is wrong with others
    return CenterCropForm(step) if whole else None


class RandomCropForm(Form):
    """Parameters: the box, which may reach into the black padding around the image."""

    def draw(self, size: Size) -> Box:
        params = self.step.make_params([stand_in(size)])
        left, top, _, _ = params['padding']
        return params['top'] - top, params['left'] - left, params['height'], params['width']

    def size_after(self, size: Size, params: Box) -> Size:
        return params[2:]

    def apply(self, image: np.ndarray, params: Box) -> np.ndarray:
        return cut(image, params)


@form_of(v2.RandomCrop)
def _random_crop(step: v2.RandomCrop) -> Form | None:
    pads = step.padding is not None or step.pad_if_needed
    return RandomCropForm(step) if not pads or (step.padding_mode == 'constant' and step.fill == 0) else None


class _Flip(Form):
    """Parameters: none, where the coin says so."""

    axis: int

    def draw(self, size: Size) -> tuple[()] | None:
        return None if self.numbers.share() >= self.step.p else ()

    def apply(self, image: np.ndarray, params: tuple[()]) -> np.ndarray:
        if not has_opencv():
            return np.ascontiguousarray(np.flip(image, self.axis))
        import cv2

        return cv2.flip(image, self.axis)


@form_of(v2.RandomHorizontalFlip)
class HorizontalFlipForm(_Flip):
    axis = 1


@form_of(v2.RandomVerticalFlip)
class VerticalFlipForm(_Flip):
    axis = 0
