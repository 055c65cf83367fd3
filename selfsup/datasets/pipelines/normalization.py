"""Whether the mean and std of a pipeline belong to the images that it normalises: those of [0, 1], or of [0, 255]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ...errors import ConfigError
from ...registry import PIPELINES

UNIT, BYTES = 1.0, 255.0  # the largest value of a pixel
KEEPING = ('PILToTensor', 'ToImage')  # steps that hand on bytes
# Steps after which the range is not known, as after code of the user's; all others of torchvision's and ours keep it.
CHANGING = ('Lambda', 'LinearTransformation', 'Normalize')


def channel_numbers(value: Any) -> list[float]:
    """The numbers of a mean or std; empty where it is none, which is for the step to refuse."""
    try:
        return [float(number) for number in (value if isinstance(value, (list, tuple, torch.Tensor)) else [value])]
    except (TypeError, ValueError):
        return []


def _text(values: Sequence[float]) -> str:
    return '[' + ', '.join(f'{value:.4g}' for value in values) + ']'


def check_statistics(mean: Any, std: Any, where: str, largest: float = UNIT) -> None:
    """Refuse a mean and std that belong to images of another range, which would flatten or saturate every image.

    Args:
        mean, std: per channel.
        where: setting that they come from, for messages.
        largest: value of a white pixel: 1 after ToTensor, 255 where nothing has divided.

    Raises:
        ConfigError: with the values to use.
    """
    mean, std = channel_numbers(mean), channel_numbers(std)
    if not mean or not std:
        return
    if largest == UNIT and max(*mean, *std) > UNIT:
        shift = [value / BYTES for value in mean] if max(mean) > UNIT else mean
        raise ConfigError(
            f'{where}: mean={_text(mean)}, std={_text(std)} belong to images in [0, 255], but these are in [0, 1]: ToTensor '
            f'and prefetch divide by 255. Use mean={_text(shift)}, std={_text([value / BYTES for value in std])}.'
        )
    if largest == BYTES and 0 < max(mean) <= UNIT and max(std) <= UNIT:
        right = f'mean={_text([BYTES * value for value in mean])}, std={_text([BYTES * value for value in std])}'
        raise ConfigError(
            f'{where}: mean={_text(mean)}, std={_text(std)} belong to images in [0, 1], but nothing has divided these by '
            f"255. Use dict(type='ToTensor') in place of the steps before, ToDtype with scale=True, or {right}."
        )


def check_pipeline(steps: Any, where: str) -> None:
    """`check_statistics` of every Normalize of a pipeline, as far as it is known what the steps before hand on.

    Args:
        steps: list of dicts or callables; nested lists in `transforms` count as their steps in a row.
        where: argument that it came from, for messages.
    """
    largest: float | None = None
    normalised = False
    for step in flat(steps):
        get = step.get if isinstance(step, dict) else lambda key, step=step: getattr(step, key, None)
        name, known = name_of(step)
        if name == 'Solarization' and normalised:
            raise ConfigError(f'{where}: Solarization needs values in [0, 1] or bytes: place it before Normalize.')
        normalised = normalised or name == 'Normalize'
        if name == 'Normalize' and largest is not None:
            check_statistics(get('mean'), get('std'), f'{where}: Normalize', largest)
        if name == 'ToTensor' or (
            largest == BYTES and (name == 'ConvertImageDtype' or (name == 'ToDtype' and get('scale') is True))
        ):
            largest = UNIT
        elif name in KEEPING:
            largest = BYTES
        elif name in CHANGING or not known:
            largest = None


def flat(steps: Any) -> Iterator[Any]:
    """Steps in a row, those inside others in their place."""
    for step in steps if isinstance(steps, (list, tuple)) else ():
        inner = (
            step.get('transforms')
            if isinstance(step, dict)
            else getattr(step, 'transforms', getattr(step, 'steps', None))
        )
        if isinstance(inner, (list, tuple)):
            yield from flat(inner)
        else:
            yield step


def name_of(step: Any) -> tuple[str, bool]:
    """Name of a step, dict or object, and whether it is torchvision's or ours: those keep the range unless they are named above."""
    kind = step.get('type') if isinstance(step, dict) else type(step)
    name = kind.removeprefix('selfsup.') if isinstance(kind, str) else getattr(kind, '__name__', '')
    module = getattr(PIPELINES.find(name) if isinstance(kind, str) else kind, '__module__', '')
    return name, module.startswith(('torchvision.', 'selfsup.datasets.pipelines.'))
