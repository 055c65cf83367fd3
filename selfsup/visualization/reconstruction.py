"""What a masked autoencoder makes of hidden blocks: images beside their masked version and their reconstruction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..registry import PIPELINES
from .views import to_picture, view_grid

HIDDEN = 154  # grey of hidden blocks, of 255
HEADS = (('image', ''), ('visible to the encoder', ''), ('reconstruction', ''))


def normalisation(
    pipeline: Sequence[dict], img_norm_cfg: dict | None = None
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation that images went through.

    Args:
        pipeline: configs of steps, in which a `Normalize` is looked for.
        img_norm_cfg: that of a loader with prefetch, used where the pipeline has none.
    """
    step = next((step for step in pipeline if step['type'] == 'Normalize'), img_norm_cfg or {})
    return step.get('mean', (0.0,)), step.get('std', (1.0,))


def evaluation_steps(pipeline: Sequence[dict], img_norm_cfg: dict | None = None, size: int | None = None) -> list[dict]:
    """Configs of steps that show whole images as a training pipeline shows views: resized, cropped in the centre, normalised.

    Args:
        pipeline: configs of the training steps.
        img_norm_cfg: that of a loader with prefetch, used where the pipeline has no `Normalize`.
        size: side in pixels; None takes that of the `RandomResizedCrop`, or 224.
    """
    crop = next((step for step in pipeline if step['type'] == 'RandomResizedCrop'), {})
    size = crop.get('size', 224) if size is None else size
    short = size if isinstance(size, int) else tuple(size)
    return [
        {'type': 'Resize', 'size': short, 'interpolation': crop.get('interpolation', 2)},
        {'type': 'CenterCrop', 'size': short},
        *network_steps(pipeline, img_norm_cfg),
    ]


def network_steps(pipeline: Sequence[dict], img_norm_cfg: dict | None = None) -> list[dict]:
    """Configs of the steps that turn a picture into the channels that a network is trained on; augmentations are left out.

    Kept are `Grayscale` and the steps that are registered by code of one's own, which may make other channels, each before or after
    `ToTensor` as in `pipeline`.

    Args:
        pipeline: configs of the training steps.
        img_norm_cfg: that of a loader with prefetch, used where the pipeline has no `Normalize`.
    """
    made = [step for step in pipeline if step['type'] in ('Grayscale', 'ToTensor') or _is_foreign(step['type'])]
    if not any(step['type'] == 'ToTensor' for step in made):
        made.append({'type': 'ToTensor'})
    mean, std = (list(values) for values in normalisation(pipeline, img_norm_cfg))
    return [*made, {'type': 'Normalize', 'mean': mean, 'std': std}]


def _is_foreign(step: str) -> bool:
    """Whether a pipeline step is neither ours nor torchvision's."""
    return not PIPELINES.get(step).__module__.startswith(('selfsup.', 'torchvision.'))


def reconstruction_grid(
    images: Iterable[Any],
    visible: Any,
    reconstructions: Iterable[Any],
    out_png: str | os.PathLike,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    title: str = '',
    cell: int = 160,
    channels: Sequence[int] | None = None,
) -> Path:
    """One row per image: the image, its visible blocks on grey, its reconstruction; see `to_picture` for what is not RGB.

    Args:
        images: (B, C, H, W) float, normalised.
        visible: (B, fh, fw) bool, True = the encoder saw the block.
        reconstructions: (B, C, H, W) float, normalised; visible blocks pasted in.
        out_png: the picture; its folder is made.
        mean: per channel, as it was subtracted.
        std: per channel, as it was divided by.
        title: above the grid.
        cell: side of one picture in pixels.
        channels: which ones to show, see `to_picture`.

    Returns:
        `out_png`.
    """
    rows = []
    for image, seen, reconstruction in zip(images, np.asarray(visible), reconstructions, strict=True):
        picture = to_picture(image, mean, std, channels)
        block = (picture.shape[0] // seen.shape[0], picture.shape[1] // seen.shape[1])
        masked = np.where(np.kron(seen, np.ones(block, dtype=bool))[..., None], picture, np.uint8(HIDDEN))
        rows.append([picture, masked, to_picture(reconstruction, mean, std, channels)])
    return view_grid(rows, HEADS, out_png, title, cell)
