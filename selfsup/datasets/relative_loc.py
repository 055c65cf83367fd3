"""Pairs of neighbouring patches (relative patch location, arXiv 1505.05192, section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..arguments import Whole
from ..errors import DataError
from ..registry import DATASETS
from .base import ImageDataset, Source, Steps, source_channels
from .pipelines import build_pipeline
from .pipelines.channels import follow_channels
from .pipelines.forms import as_array, as_pil

SIDE = 3  # cells per side of the grid
CENTRE = SIDE * SIDE // 2


@DATASETS.register_module()
class RelativeLocDataset(ImageDataset):
    """The eight outer patches of a 3x3 grid, each together with the centre patch; labels are ignored.

    Sample: `img` (8, 2C, h, w), the OUTER patch in the first C channels; `patch_label` int64 (8,): 0 to 7, the place of the outer
    patch in reading order, the centre left out.

    Each cell is a third of the image (rounded down) high and wide; its patch is a random crop, `patch_jitter` pixels smaller. An
    image of 255 pixels gives cells of 85 and patches of 64.

    Args:
        data_source: dict or object.
        pipeline: steps for the image, from PIL to PIL: Resize 292, RandomCrop 255, RandomGrayscale 0.66 in the reference config.
        format_pipeline: steps for each patch, ending in a tensor: ToTensor, Normalize.
        prefetch: see `ImageDataset`; `format_pipeline` then has nothing to do.
        patch_jitter: pixels, >= 0: a patch starts 0 to `patch_jitter` pixels after its cell does, down and across.
    """

    def __init__(
        self,
        data_source: Source,
        pipeline: Steps,
        format_pipeline: Steps = (),
        prefetch: bool = False,
        patch_jitter: Whole = 21,
    ) -> None:
        self._image_steps = build_pipeline(pipeline)
        super().__init__(data_source, prefetch, format_pipeline=format_pipeline)
        self.pipelines['pipeline'] = self._image_steps
        self.patch_jitter = patch_jitter

    def follow_channels(self) -> int | None:
        """Of a patch: the pipelines come one after the other."""
        given = follow_channels(self._image_steps.steps, source_channels(self.data_source), 'pipeline')
        return follow_channels(self.pipelines['format_pipeline'].steps, given, 'format_pipeline')

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        source, _, taken = self.read(index)
        image = as_pil(self.run(self.steps('pipeline'), source, taken))
        if not isinstance(image, Tensor if isinstance(source, Tensor) else Image.Image):
            raise DataError(
                f'{self.reader.describe(taken)}: the pipeline of RelativeLocDataset ends in {type(image).__name__}, not in an '
                'image: move ToTensor and Normalize to format_pipeline.'
            )
        patches = [self.view(patch, taken, 'format_pipeline') for patch in self.run(self._patches, image, taken)]
        outer = [patch for place, patch in enumerate(patches) if place != CENTRE]
        pairs = torch.stack([torch.cat([patch, patches[CENTRE]]) for patch in outer])
        return {'img': pairs, 'patch_label': torch.arange(len(outer))}

    def _patches(self, image: Any) -> list[Any]:
        """Nine crops of one size, in reading order, of the kind that the image is."""
        if not isinstance(image, Tensor):
            image = as_array(image) if self.backend == 'fast' else as_pil(image)
        if isinstance(image, Image.Image):
            rows, columns = image.height, image.width
        else:
            rows, columns = image.shape[:2] if isinstance(image, np.ndarray) else image.shape[-2:]
        cell_w, cell_h = columns // SIDE, rows // SIDE
        width, height = cell_w - self.patch_jitter, cell_h - self.patch_jitter
        if min(width, height) < 1:
            raise DataError(
                f'cells of {cell_h} x {cell_w} pixels (a third of {rows} x {columns}) leave nothing with '
                f'patch_jitter={self.patch_jitter}: enlarge the image in the pipeline, or lower patch_jitter.'
            )
        shifts = torch.randint(self.patch_jitter + 1, (SIDE * SIDE, 2)).tolist()
        corners = [
            ((place // SIDE) * cell_h + down, (place % SIDE) * cell_w + right)
            for place, (down, right) in enumerate(shifts)
        ]
        if isinstance(image, Tensor):
            return [image[..., top : top + height, left : left + width] for top, left in corners]
        if isinstance(image, np.ndarray):
            return [image[top : top + height, left : left + width] for top, left in corners]
        return [image.crop((left, top, left + width, top + height)) for top, left in corners]
