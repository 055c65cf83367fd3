"""Every transform of torchvision.transforms.v2 as a pipeline step of the same name.

PIL images go in and come out, so the numbers are those of torchvision's first transforms. Arguments may be written as
literals: `interpolation=3` (PIL's number) or 'bicubic', `dtype='float32'`, `policy='imagenet'`, nested steps as dicts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2

from ...arguments import Share, checked
from ...errors import ConfigError
from ...registry import PIPELINES
from .compose import Steps, build_steps

OURS = ('GaussianBlur', 'ToTensor')  # transforms.py defines these names
AREA_SHARES = (v2.RandomResizedCrop, v2.RandomErasing)  # their `scale` is in shares of the image's area
# What torchvision's hints do not say, or say otherwise, of arguments that several of its transforms have.
DECLARED = MappingProxyType({'p': Share, 'transforms': Steps})
PIL_NUMBERS = (
    InterpolationMode.NEAREST,
    InterpolationMode.LANCZOS,
    InterpolationMode.BILINEAR,
    InterpolationMode.BICUBIC,
    InterpolationMode.BOX,
    InterpolationMode.HAMMING,
)


def interpolation_mode(value: Any) -> InterpolationMode:
    """torchvision's mode for PIL's number (3), a name ('bicubic') or a mode.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, int) and 0 <= value < len(PIL_NUMBERS):
        return PIL_NUMBERS[value]
    for mode in InterpolationMode:
        if value in (mode, mode.value):
            return mode
    numbers = ', '.join(f'{number} {mode.value}' for number, mode in enumerate(PIL_NUMBERS))
    raise ConfigError(f'interpolation={value!r} is no interpolation. Known: {numbers}.')


def _dtype(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    dtype = getattr(torch, value.removeprefix('torch.'), None)
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(f"dtype={value!r} is no torch dtype. Write 'float32' or 'uint8', for example.")
    return dtype


def _policy(value: Any) -> AutoAugmentPolicy:
    for policy in AutoAugmentPolicy:
        if value in (policy, policy.value):
            return policy
    raise ConfigError(
        f'policy={value!r} is no AutoAugment policy. Known: {", ".join(p.value for p in AutoAugmentPolicy)}.'
    )


def _argument(name: str, value: Any) -> Any:
    """An argument in torchvision's own type."""
    readers = {'interpolation': interpolation_mode, 'dtype': _dtype, 'policy': _policy, 'transforms': build_steps}
    return readers[name](value) if name in readers else value


def _check_area(step: str, scale: Any) -> None:
    """Refuse areas that no image has: torchvision takes them and cuts one pixel, or the whole image, every time."""
    numbers = (
        isinstance(scale, list | tuple) and len(scale) == 2 and all(isinstance(value, int | float) for value in scale)
    )
    if not numbers or not 0 <= scale[0] <= scale[1] <= 1 or scale[1] == 0:
        raise ConfigError(
            f'{step} scale={scale!r}: give the smallest and the largest share of the area of the image, 0 <= smallest <= '
            'largest <= 1 and largest > 0, for example (0.2, 1.0).'
        )


def make_step(kind: type[v2.Transform]) -> Callable[..., v2.Transform]:
    """A function with the signature of `kind` that reads literals and returns an instance."""
    signature = inspect.signature(kind)
    hints = {
        name: DECLARED[name]
        for name, parameter in signature.parameters.items()
        if name in DECLARED and parameter.default is not None  # RandomChoice takes a list of probabilities
    }

    # A class of ours in the place of torchvision's is described by torchvision too.
    @wraps(getattr(kind, 'form_as', kind), assigned=('__module__', '__name__', '__qualname__', '__doc__'), updated=())
    def step(*args: Any, **kwargs: Any) -> v2.Transform:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            bound.arguments[name] = _argument(name, value)
        if kind in AREA_SHARES and 'scale' in bound.arguments:
            _check_area(kind.__name__, bound.arguments['scale'])
        return kind(*bound.args, **bound.kwargs)

    step.__annotations__ = hints
    return checked(step)


class ColorJitter(v2.ColorJitter):
    """torchvision's; without saturation and hue it works on tensors of any number of channels as well.

    Brightness multiplies every value by the drawn factor f; contrast moves it away from the mean of its own channel, m + f (x - m),
    as torchvision does with grey images: the mean over all channels, which it takes of RGB, would pull dark bands towards bright ones.
    """

    form_as = v2.ColorJitter  # the draws are torchvision's, so its forms serve this class too

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The jitter of one image."""
        if not isinstance(inpt, Tensor) or inpt.shape[-3] in (1, 3):
            return super().transform(inpt, params)
        if self.saturation is not None or self.hue is not None:
            raise ValueError(f'saturation and hue are those of RGB images; these have {inpt.shape[-3]} channels')
        return super().transform(inpt.unsqueeze(-3), params).squeeze(-3)  # as many grey images


def register_all() -> None:
    """Register every concrete transform but those in OURS."""
    for name, kind in {**vars(v2), 'ColorJitter': ColorJitter}.items():
        if inspect.isclass(kind) and issubclass(kind, v2.Transform) and kind is not v2.Transform and name not in OURS:
            PIPELINES.register_module(name=name, module=make_step(kind))


register_all()
