"""What the model sees: images beside their augmented views."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..errors import DataError
from .drawing import INK, NEUTRAL, PAPER, centred, font, save_figure, square

GAP, GROUP_GAP, TEXT, MARGIN = 4, 16, 18, 16  # pixels


def to_picture(
    view: Any,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    channels: Sequence[int] | None = None,
) -> np.ndarray:
    """Undo the normalisation of a view, and show it in colours.

    One channel is grey, three are red, green and blue. Of more the first three are shown, or those that are chosen; two are shown as
    their mean.

    Args:
        view: tensor or array (C, H, W): float, or uint8 that was never normalised.
        mean: per channel, as it was subtracted.
        std: per channel, as it was divided by.
        channels: numbers, from 0, of those to show as red, green and blue, or of one to show in grey; None: as above.

    Returns:
        uint8 (H, W, 3); values outside the range of images are clipped.

    Raises:
        DataError: no axes (C, H, W), or nothing in them; or no such channels.
    """
    pixels = np.asarray(view)
    if pixels.ndim != 3 or not pixels.size:
        raise DataError(f'A view to draw is (C, H, W); got {pixels.shape}.')
    if pixels.dtype != np.uint8:
        scaled = pixels * np.reshape(std, (-1, 1, 1)) + np.reshape(mean, (-1, 1, 1))
        pixels = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    if channels is not None:
        pixels = pixels[_chosen(channels, len(pixels))]
    pixels = pixels.mean(0, keepdims=True).round().astype(np.uint8) if len(pixels) == 2 else pixels[:3]
    return np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0).copy()


def view_names(views: Sequence[Any]) -> list[str]:
    """What stands above the views of an image: their numbers where there are several, their sides where these differ."""
    several = len({view.shape for view in views}) > 1
    sides = [f', {view.shape[-1]} px' if several else '' for view in views]
    return [f'view {v + 1}{side}' for v, side in enumerate(sides)] if len(views) > 1 else ['']


def _chosen(channels: Sequence[int], number: int) -> list[int]:
    """`channels`, if a picture can be made of them and the image has them.

    Raises:
        DataError: it cannot.
    """
    if len(channels) not in (1, 3) or not all(0 <= channel < number for channel in channels):
        raise DataError(
            f'channels {" ".join(map(str, channels))}: give three numbers (red, green, blue) or one (grey) from 0 to {number - 1}; the '
            f'images have {number} {"channel" if number == 1 else "channels"}.'
        )
    return list(channels)


def source_picture(image: Any, channels: Sequence[int] | None = None) -> np.ndarray:
    """`to_picture` of an image as a data set reads it: a PIL image, a uint8 array (H, W, 3), or a tensor (C, H, W), uint8 or in [0, 1]."""
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert('RGB'))
    return to_picture(image.transpose(2, 0, 1) if isinstance(image, np.ndarray) else image, channels=channels)


def view_grid(
    rows: Sequence[Sequence[Any]],
    heads: Sequence[tuple[str, str]],
    out_png: str | os.PathLike,
    title: str = '',
    cell: int = 112,
) -> Path:
    """One row per image; columns that belong together stand closer.

    Args:
        rows: for every image its pictures: PIL images or uint8 arrays (H, W, 3).
        heads: for every column (group, name), such as ('epoch 0', 'view 1'); neighbours of one group are drawn together.
        out_png: the picture; its folder is made.
        title: above the grid.
        cell: side of one picture in pixels; small pictures are enlarged without smoothing.

    Returns:
        `out_png`.

    Raises:
        DataError: nothing to draw, or a row with another number of pictures than there are heads.
    """
    if not rows or any(len(row) != len(heads) for row in rows):
        raise DataError(f'view_grid: {len(heads)} heads, but rows of {sorted({len(row) for row in rows})} pictures.')
    edges, x = [], MARGIN  # left edges of the columns
    for column, (group, _) in enumerate(heads):
        x += 0 if column == 0 else cell + (GAP if group == heads[column - 1][0] else GROUP_GAP)
        edges.append(x)
    top = MARGIN + (TEXT + GAP if title else 0) + 2 * TEXT
    width = max(edges[-1] + cell, MARGIN + int(font(16).getlength(title)) if title else 0) + MARGIN
    canvas = Image.new('RGB', (width, top + len(rows) * (cell + GAP) - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((MARGIN, MARGIN - GAP), title, fill=INK, font=font(16))
    for group, columns in groupby(range(len(heads)), key=lambda column: heads[column][0]):
        members = list(columns)
        centred(draw, group, edges[members[0]], top - 2 * TEXT, edges[members[-1]] + cell - edges[members[0]], INK)
        for column in members:
            centred(draw, heads[column][1], edges[column], top - TEXT, cell, NEUTRAL)
    for number, row in enumerate(rows):
        for x, picture in zip(edges, row, strict=True):
            canvas.paste(square(picture, cell), (x, top + number * (cell + GAP)))
    return save_figure(canvas, out_png)
