"""What a detector finds: images with the annotated and with the detected objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from .drawing import INK, PAPER, font
from .views import view_grid

# The colours of the classes in turn (Okabe and Ito 2008).
COLOURS = ('#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7')
OPACITY = 0.45  # of masks
LINE, TEXT = 2, 12  # pixels
PAIRS = 3  # images in a row


def detection_grid(
    source: Any,
    detections: Sequence[Any],
    number: int,
    out_png: str | os.PathLike,
    title: str = '',
    min_score: float = 0.5,
    cell: int = 256,
    readable: Sequence[int] | None = None,
) -> Path:
    """Images with their annotated objects, each beside a copy with what was detected there. One colour per class.

    Args:
        source: with `classes`, `read_image(index)` and `objects(index)`, see `BoxSource`; masks are drawn where it keeps them.
        detections: of all images of the source, see `Detections`.
        number: of images to draw, spread over the source.
        out_png: the picture; its folder is made.
        title: above the grid.
        min_score: detections below are not drawn.
        cell: side of one picture in pixels.
        readable: numbers of the images that can be read; None: all.

    Returns:
        `out_png`.
    """
    pictures = []
    candidates = np.arange(len(detections)) if readable is None else np.asarray(readable)
    for index in candidates[np.unique(np.linspace(0, len(candidates) - 1, number).astype(int))].tolist():
        image, truth, detection = source.read_image(index), source.objects(index), detections[index]
        masks = None if truth.segments is None else source.masks(index, truth)
        marks = [' (difficult)' if difficult else '' for difficult in truth.difficult]
        annotated = draw_objects(
            image, truth.boxes, truth.labels, _names(source.classes, truth.labels, marks), masks, cell
        )
        shown = detection.scores >= min_score
        scores = [f' {score:.2f}' for score in detection.scores[shown]]
        detected = draw_objects(
            image,
            detection.boxes[shown],
            detection.labels[shown],
            _names(source.classes, detection.labels[shown], scores),
            detection.mask_pixels(shown),
            cell,
        )
        pictures += [annotated, detected]
    columns = min(len(pictures), 2 * PAIRS)
    pictures += [Image.new('RGB', (cell, cell), PAPER)] * (-len(pictures) % columns)
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heads = [
        (f'detections with a score of {min_score:g} or more', name)
        for name in ('annotated', 'detected') * (columns // 2)
    ]
    return view_grid(rows, heads, out_png, title, cell)


def draw_objects(
    image: Image.Image, boxes: np.ndarray, labels: np.ndarray, names: Sequence[str], masks: np.ndarray | None, side: int
) -> Image.Image:
    """A copy of an image whose longer side is `side` pixels, with objects drawn in, the first on top.

    Args:
        image: RGB.
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the image; may reach out of it.
        labels: (N,) class of each, which gives its colour.
        names: N texts, one for each box.
        masks: (N, H, W), not 0 on the object; None without.
        side: in pixels.
    """
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image
    from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

    colours = [COLOURS[label % len(COLOURS)] for label in labels.tolist()]
    last_first = range(len(colours) - 1, -1, -1)
    scale = side / max(image.size)
    size = [max(1, round(length * scale)) for length in image.size]
    if masks is not None:
        for number in last_first:  # one by one: torchvision blackens where masks of one call overlap
            mask = torch.from_numpy(masks[number]).bool()
            image = to_pil_image(draw_segmentation_masks(pil_to_tensor(image), mask, OPACITY, colours[number]))
    image = image.resize(size, Image.Resampling.BICUBIC)
    if not len(boxes):
        return image
    inside = torch.from_numpy(boxes * scale).clamp(min=0).minimum(torch.tensor(size * 2) - 1.0)
    image = to_pil_image(draw_bounding_boxes(pil_to_tensor(image), inside.flip(0), colors=colours[::-1], width=LINE))
    canvas = ImageDraw.Draw(image)
    for number in last_first:
        left, top = inside[number, :2].tolist()
        _write(canvas, names[number], left, top, size)
    return image


def _write(canvas: ImageDraw.ImageDraw, name: str, left: float, top: float, size: Sequence[int]) -> None:
    """A name on a dark ground, above the corner of its box or, at the upper edge, inside of it."""
    face = font(TEXT)
    width, height = canvas.textlength(name, font=face), TEXT + 2
    left, top = max(min(left, size[0] - width), 0), top - height if top >= height else top
    canvas.rectangle((left, top, left + width, top + height), fill=INK)
    canvas.text((left, top), name, fill=PAPER, font=face)


def _names(classes: Sequence[str], labels: np.ndarray, endings: Sequence[str]) -> list[str]:
    return [f'{classes[label]}{ending}' for label, ending in zip(labels.tolist(), endings, strict=True)]
