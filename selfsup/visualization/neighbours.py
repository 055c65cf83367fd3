"""Query images beside their nearest neighbours."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..errors import DataError
from .drawing import INK, NEUTRAL, PAPER, centred, font, save_figure, square

RIGHT, WRONG = '#1a8f3c', '#d03027'
FRAME, GAP, TEXT = 4, 8, 18  # pixels


def neighbour_grid(
    query_images: Sequence[Any],
    neighbour_images: Sequence[Sequence[Any]],
    out_png: str | os.PathLike,
    query_labels: Sequence[int] | None = None,
    neighbour_labels: Sequence[Sequence[int]] | None = None,
    class_names: Sequence[str] | None = None,
    title: str = '',
    cell: int = 96,
) -> Path:
    """One row per query: the query, a gap, its neighbours from the nearest on.

    With labels, a neighbour's frame is green where its class is the query's and red where not, and each picture carries
    its class.

    Args:
        query_images: PIL images or uint8 arrays (H, W) or (H, W, 3).
        neighbour_images: for every query a list of such images, the nearest first, as many for each.
        out_png: the picture; its folder is made.
        query_labels: class of every query.
        neighbour_labels: class of every neighbour, shaped as `neighbour_images`.
        class_names: name of class i; without it the number is written.
        title: above the grid.
        cell: side of one picture in pixels; small pictures are enlarged without smoothing.

    Returns:
        `out_png`.

    Raises:
        DataError: nothing to draw, or lists of different lengths.
    """
    _check(query_images, neighbour_images, query_labels, neighbour_labels)
    columns = len(neighbour_images[0])
    row_height = cell + 2 * FRAME + GAP + (0 if query_labels is None else TEXT)
    column_width = cell + 2 * FRAME + GAP
    top = GAP + (TEXT + GAP if title else 0) + TEXT
    width = 4 * GAP + (columns + 1) * column_width
    if title:
        width = max(width, int(font(16).getlength(title)) + 4 * GAP)
    canvas = Image.new('RGB', (width, top + len(query_images) * row_height + GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((2 * GAP, GAP), title, fill=INK, font=font(16))
    heads = ['query', *(f'{i + 1}' for i in range(columns))]
    edges = [GAP + column_width * i + (2 * GAP if i else 0) for i in range(columns + 1)]
    for x, head in zip(edges, heads, strict=True):
        centred(draw, head, x, top - TEXT, column_width - GAP, NEUTRAL)
    for row, (query, neighbours) in enumerate(zip(query_images, neighbour_images, strict=True)):
        y = top + row * row_height
        labels: Sequence[int | None] = [None] * (columns + 1)
        if query_labels is not None and neighbour_labels is not None:
            labels = [query_labels[row], *neighbour_labels[row]]
        for i, (x, image, label) in enumerate(zip(edges, [query, *neighbours], labels, strict=True)):
            colour = INK if i == 0 else NEUTRAL if label is None else RIGHT if label == labels[0] else WRONG
            draw.rectangle((x, y, x + cell + 2 * FRAME - 1, y + cell + 2 * FRAME - 1), fill=colour)
            canvas.paste(square(image, cell), (x + FRAME, y + FRAME))
            if label is not None:
                name = class_names[int(label)] if class_names is not None else str(int(label))
                centred(draw, name, x, y + cell + 2 * FRAME + 1, column_width - GAP, colour)
    return save_figure(canvas, out_png)


def neighbours_of(
    features: np.ndarray,
    images: Callable[[int], Any] | Any,
    out_png: str | os.PathLike,
    labels: Sequence[int] | None = None,
    queries: int = 10,
    k: int = 8,
    class_names: Sequence[str] | None = None,
    title: str = 'Nearest neighbours by cosine similarity',
    cell: int = 72,
) -> Path:
    """`neighbour_grid` of the nearest images within one set, a query itself left out.

    Args:
        features: (N, D), array or CPU tensor.
        images: index -> PIL image or uint8 array; or a data source, whose `classes` are then the names of the classes.
        out_png: the picture.
        labels: class of every image; the queries then go through the classes in turn, else evenly through the set.
        queries: number of rows.
        k: neighbours of each.

    For the others see `neighbour_grid`.

    Raises:
        DataError: there are not more than k images.
    """
    if not callable(images):
        source, images = images, images.read_image
        class_names = getattr(source, 'classes', None) if class_names is None else class_names
    points = np.asarray(features, dtype=np.float32)
    if len(points) <= k or queries < 1 or k < 1:
        raise DataError(f'neighbours_of: {len(points)} images do not give {queries} queries with {k} neighbours each.')
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    labels = None if labels is None else [int(label) for label in labels]
    evenly = np.linspace(0, len(points) - 1, min(queries, len(points))).astype(int).tolist()
    chosen = evenly if labels is None else _in_turn(labels, queries)
    similarity = points[chosen] @ points.T
    similarity[np.arange(len(chosen)), chosen] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind='stable')[:, :k].tolist()
    return neighbour_grid(
        [images(i) for i in chosen],
        [[images(i) for i in row] for row in nearest],
        out_png,
        None if labels is None else [labels[i] for i in chosen],
        None if labels is None else [[labels[i] for i in row] for row in nearest],
        class_names,
        title,
        cell,
    )


def _in_turn(labels: list[int], number: int) -> list[int]:
    """The first image of every class, then the second of every class, ... until there are enough."""
    seen: dict[int, int] = {}
    ranked = []
    for index, label in enumerate(labels):
        ranked.append((seen.get(label, 0), label, index))
        seen[label] = seen.get(label, 0) + 1
    return [index for _, _, index in sorted(ranked)[:number]]


def _check(
    queries: Sequence,
    neighbours: Sequence[Sequence],
    query_labels: Sequence | None,
    neighbour_labels: Sequence[Sequence] | None,
) -> None:
    if not len(queries) or not len(neighbours) or not len(neighbours[0]):
        raise DataError('neighbour_grid: there is no picture to draw.')
    if len(queries) != len(neighbours) or len({len(n) for n in neighbours}) != 1:
        raise DataError(
            f'neighbour_grid: {len(queries)} queries, but lists of {[len(n) for n in neighbours]} neighbours.'
        )
    if (query_labels is None) != (neighbour_labels is None):
        raise DataError('neighbour_grid: give the labels of the queries and of the neighbours, or neither.')
    if neighbour_labels is not None and [len(n) for n in neighbour_labels] != [len(n) for n in neighbours]:
        raise DataError('neighbour_grid: there is not one label for every picture.')
