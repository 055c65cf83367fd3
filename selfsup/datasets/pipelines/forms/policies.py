"""Forms of the policies that choose operations by chance: timm's RandAugment and AutoAugment, and torchvision's with TrivialAugment.

The steps themselves draw, with a recorder in place of each operation, so nothing about a draw is written here a second time.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_modes_mapping

from ..timm_steps import TIMMAutoAugment
from ..torchvision_steps import interpolation_mode
from . import colours, filters, tables
from .base import Form, Size, form_of
from .crops import stand_in
from .opencv import has_opencv
from .warps import Colour, affine, rotate

Operation = tuple[
    str, tuple, int, Colour
]  # name, arguments, PIL's interpolation and the colour of what comes in from outside
Matrix = tuple[float, ...]
RANDOM_BLUR = 'GaussianBlurRand'  # timm's name

POINTWISE: MappingProxyType[str, Callable[..., np.ndarray]] = MappingProxyType(
    {
        'AutoContrast': tables.autocontrast,
        'Equalize': tables.equalize,
        'Invert': tables.invert,
        'Posterize': tables.posterize,
        'PosterizeIncreasing': tables.posterize,
        'PosterizeOriginal': tables.posterize,
        'Solarize': tables.solarize,
        'SolarizeIncreasing': tables.solarize,
        'SolarizeAdd': tables.solarize_add,
        'Color': colours.saturation,
        'ColorIncreasing': colours.saturation,
        'Contrast': colours.contrast,
        'ContrastIncreasing': colours.contrast,
        'Brightness': colours.brightness,
        'BrightnessIncreasing': colours.brightness,
        'Sharpness': filters.sharpness,
        'SharpnessIncreasing': filters.sharpness,
        'Desaturate': lambda image, share: colours.saturation(image, min(1.0, max(0.0, 1.0 - share))),
        'GaussianBlur': filters.blur,
    }
)
# Name -> affine matrix for an argument and the height and width of the image.
WARPS: MappingProxyType[str, Callable[[float, int, int], Matrix]] = MappingProxyType(
    {
        'ShearX': lambda share, height, width: (1, share, 0, 0, 1, 0),
        'ShearY': lambda share, height, width: (1, 0, 0, share, 1, 0),
        'TranslateX': lambda pixels, height, width: (1, 0, pixels, 0, 1, 0),
        'TranslateY': lambda pixels, height, width: (1, 0, 0, 0, 1, pixels),
        'TranslateXRel': lambda share, height, width: (1, 0, share * width, 0, 1, 0),
        'TranslateYRel': lambda share, height, width: (1, 0, 0, 0, 1, share * height),
    }
)


def run_operations(image: np.ndarray, operations: list[Operation]) -> np.ndarray:
    """Operations of a policy, one after the other."""
    for name, arguments, resample, fill in operations:
        if name in POINTWISE:
            image = POINTWISE[name](image, *arguments)
        elif name == 'Rotate':
            image = rotate(image, arguments[0], resample, fill)
        elif name != 'Identity':
            image = affine(image, WARPS[name](arguments[0], *image.shape[:2]), resample, fill)
    return image


class PolicyForm(Form):
    """A policy. Parameters: the operations that were drawn."""

    def apply(self, image: np.ndarray, params: list[Operation]) -> np.ndarray:
        return run_operations(image, params)


def _record(operations: list[Operation], *arguments: Any, name: str, **settings: Any) -> list[Operation]:
    """Stands where timm has the function of an operation, and notes what that would do.

    Two kinds draw in the function itself: a warp its interpolation, a random blur its radius.
    """
    from timm.data import auto_augment

    if name in WARPS or name == 'Rotate':
        auto_augment._check_args_tf(settings)
        operations.append((name, arguments, int(settings['resample']), tuple(settings['fillcolor'])))
    elif name == RANDOM_BLUR:
        operations.append(('GaussianBlur', (random.uniform(0.1, 2.0 * arguments[0]),), 0, ()))
    else:
        operations.append((name, arguments, 0, ()))
    return operations


class TIMMForm(PolicyForm):
    """timm's RandAugment or AutoAugment."""

    def __init__(self, step: TIMMAutoAugment) -> None:
        super().__init__(step)
        self.recorder = copy.deepcopy(step.augment)
        for operation in _timm_operations(self.recorder):
            operation.aug_fn = partial(_record, name=operation.name)
        if hasattr(self.recorder, 'ops'):  # numpy chooses among them, and would make an array of a list for every image
            self.recorder.ops = np.array(self.recorder.ops, dtype=object)

    def draw(self, size: Size) -> list[Operation] | None:
        return self.recorder([]) or None


def _timm_operations(augment: Any) -> list[Any]:
    return [operation for part in getattr(augment, 'policy', None) or [augment.ops] for operation in part]


@form_of(TIMMAutoAugment)
def _timm_auto_augment(step: TIMMAutoAugment) -> Form | None:
    """AugMix mixes images while it draws, and has no form."""
    if type(step.augment).__name__ not in ('RandAugment', 'AutoAugment') or not has_opencv():
        return None
    names = {operation.name for operation in _timm_operations(step.augment)}
    return TIMMForm(step) if names <= {*POINTWISE, *WARPS, 'Rotate', RANDOM_BLUR} else None


class _Recorder:
    """Stands where torchvision applies an operation to an image, and notes which."""

    def __init__(self, resample: int, fill: Colour) -> None:
        self.resample, self.fill = resample, fill
        self.operations: list[Operation] = []

    def __call__(self, image: Any, name: str, magnitude: float, **_: Any) -> Any:
        """torchvision's magnitude in the arguments of the operations above, as `_apply_image_or_video_transform` has it."""
        arguments: tuple = (magnitude,)
        if name in ('AutoContrast', 'Equalize', 'Invert', 'Identity'):
            arguments = ()
        elif name in ('Brightness', 'Color', 'Contrast', 'Sharpness'):
            arguments = (1.0 + magnitude,)
        elif name == 'Posterize':
            arguments = (int(magnitude),)
            if arguments[0] not in range(1, 9):  # what PIL says, where torchvision's step would meet it
                raise ValueError('bits must be between or equal to 1 and 8')
        elif name == 'Solarize':
            arguments = (255.0 * magnitude,)
        elif name in ('TranslateX', 'TranslateY'):
            arguments = (-int(magnitude),)
        elif name in ('ShearX', 'ShearY'):
            arguments = (math.tan(math.radians(math.degrees(math.atan(magnitude)))),)
        self.operations.append((name, arguments, self.resample, self.fill))
        return image


class TorchvisionForm(PolicyForm):
    """torchvision's TrivialAugmentWide, RandAugment or AutoAugment."""

    def __init__(self, step: Any, fill: Colour) -> None:
        super().__init__(step)
        self.recorder = _Recorder(pil_modes_mapping[interpolation_mode(step.interpolation)], fill)
        self.drawing = copy.copy(step)
        self.drawing._apply_image_or_video_transform = self.recorder

    def draw(self, size: Size) -> list[Operation] | None:
        self.recorder.operations = []
        self.drawing(stand_in(size))
        return self.recorder.operations or None


@form_of(v2.TrivialAugmentWide, v2.RandAugment, v2.AutoAugment)
def _torchvision_policy(step: Any) -> Form | None:
    fill = step.fill if isinstance(step.fill, (list, tuple)) else [step.fill or 0] * 3
    known = not isinstance(step.fill, dict) and len(fill) in (1, 3)
    return (
        TorchvisionForm(step, tuple(int(value) for value in fill) * (3 // len(fill)))
        if known and has_opencv()
        else None
    )
