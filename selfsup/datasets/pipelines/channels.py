"""Which steps need images of a certain number of channels, and what a pipeline makes of the channels of its source."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ...errors import ConfigError
from .normalization import flat, name_of

RGB, GREY_OR_RGB = (3,), (1, 3)
# What mixes the channels as colours, or is a policy made of such operations. All other steps of torchvision's and ours work on any number.
OF_RGB = ('RandomGrayscale', 'Grayscale', 'RandomPhotometricDistort', 'Lighting', 'TIMMAutoAugment', 'ToPILImage')
POLICIES = ('AutoAugment', 'RandAugment', 'TrivialAugmentWide', 'AugMix')
OF_GREY_TOO = (*POLICIES, 'RandomAutocontrast', 'RandomAdjustSharpness', 'JPEG', 'RGB')
NEEDS = MappingProxyType({**dict.fromkeys(OF_RGB, RGB), **dict.fromkeys(OF_GREY_TOO, GREY_OR_RGB)})
OPEN_ENDED = ('Lambda', 'LinearTransformation')  # steps that may make other channels, as code of the user's may


def needs(step: Any) -> tuple[int, ...]:
    """Numbers of channels that a step works on; () for any. `step` is an object, not a dict."""
    name, known = name_of(step)
    if name == 'ColorJitter' and known:
        return () if step.saturation is None and step.hue is None else RGB
    return NEEDS.get(name, ()) if known else ()


def refusal(step: Any, channels: int) -> str:
    """Why `step`, or one inside it, does not work on images of so many channels; '' where it does."""
    for inner in flat([step]):
        allowed = needs(inner)
        if allowed and channels not in allowed:
            kinds = 'RGB images (3 channels)' if allowed == RGB else 'RGB or grey images (3 channels, or 1)'
            name = name_of(inner)[0]
            remedy = 'leave out its saturation and hue' if name == 'ColorJitter' else 'remove it'
            return (
                f'{name} needs {kinds}; these have {channels}: {remedy}. Steps of place and size, GaussianBlur, Solarization, '
                'RandomErasing and the brightness and contrast of ColorJitter work on any number.'
            )
    return ''


def channels_of(image: Any) -> int | None:
    """Channels of a tensor (..., C, H, W); None for anything else."""
    return image.shape[-3] if isinstance(image, Tensor) and image.dim() >= 3 else None


def follow_channels(steps: Sequence[Any], channels: int | None, where: str) -> int | None:
    """The channels that a pipeline ends in.

    Args:
        steps: objects, as `build_steps` made them.
        channels: of the images of the source; None: not known.
        where: argument that the steps came from, for messages.

    Returns:
        their number; None where the source or a step of the user's own does not tell it.

    Raises:
        ConfigError: a step does not work on so many channels, or a `Normalize` has statistics for another number.
    """
    grey = False  # made here, of colours: torch then spreads statistics of three channels over one
    for step in flat(steps):
        name, known = name_of(step)
        if channels is None or not known or name in OPEN_ENDED:
            return None
        if problem := refusal(step, channels):
            raise ConfigError(f'{where}: {problem}')
        if name == 'Grayscale':
            channels, grey = step.num_output_channels, True
        elif name == 'RGB':
            channels = 3
        elif name == 'Normalize':
            number = check_length(step.mean, step.std, channels, f'{where}: Normalize', any_number=grey)
            channels = max(channels, number) if grey else channels
    return channels


def check_length(
    mean: Sequence[float], std: Sequence[float], channels: int, where: str, *, any_number: bool = False
) -> int:
    """How many channels a mean and std are for; one number is for every channel.

    Raises:
        ConfigError: they are for another number than the images have, `any_number` apart.
    """
    numbers = {len(values) for values in (mean, std) if len(values) != 1}
    if not any_number and numbers - {channels}:
        raise ConfigError(
            f'{where}: mean has {len(mean)} numbers and std {len(std)}, but the images have {channels} '
            f'{"channel" if channels == 1 else "channels"}: give one number for each (python tools/doctor.py CONFIG --stats '
            'measures them), or one for all.'
        )
    return max(numbers, default=1)
