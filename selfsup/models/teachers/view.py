"""The view of the student as a teacher expects it: its size, its mean and std."""

from __future__ import annotations

from typing import Annotated, TypedDict

import torch
import torch.nn.functional as F
from annotated_types import Len
from torch import Tensor

from ...arguments import Positive, Share
from ...errors import ConfigError

# Per channel, of images in [0, 1]. Lists, as configs have them, or tuples.
Means = Annotated[list[Share] | tuple[Share, ...], Len(1)]
Stds = Annotated[list[Positive] | tuple[Positive, ...], Len(1)]


class Normalization(TypedDict):
    """Mean and std per channel of images in [0, 1], as a Normalize takes them."""

    mean: Means
    std: Stds


def numbers_of(normalization: Normalization) -> list[list[float]]:
    """Mean and std as plain lists, to compare and to write."""
    return [[float(x) for x in normalization['mean']], [float(x) for x in normalization['std']]]


def check_lengths(normalization: Normalization, where: str) -> None:
    """Mean and std are of the same channels.

    Args:
        normalization: as a config gives it.
        where: what it is, for the message.

    Raises:
        ConfigError: they are not.
    """
    means, stds = map(len, numbers_of(normalization))
    if means != stds:
        raise ConfigError(
            f'{where} has a mean of {means} and a std of {stds} channels: give one number per channel to both.'
        )


def renormalised(img: Tensor, before: Normalization, after: Normalization) -> Tensor:
    """Images (B, C, H, W) normalised by `before`, as if `after` had normalised them; the images themselves where both are one."""
    if numbers_of(before) == numbers_of(after):
        return img
    mean, std, new_mean, new_std = (
        torch.tensor(values, dtype=img.dtype, device=img.device).view(-1, 1, 1)
        for values in (before['mean'], before['std'], after['mean'], after['std'])
    )
    return img * (std / new_std) + (mean - new_mean) / new_std


def side_for(side: int, multiple: int) -> int:
    """The multiple of `multiple` that is nearest to `side`, at least one."""
    return max(1, round(side / multiple)) * multiple


def resized(img: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, C, H, W) at another size: bicubic, antialiased where they shrink; the images themselves where they have it."""
    if tuple(img.shape[-2:]) == size:
        return img
    return F.interpolate(img, size, mode='bicubic', align_corners=False, antialias=True)
