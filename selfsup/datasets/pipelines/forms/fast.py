"""A pipeline whose steps run in their fast forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..compose import Compose
from .base import Form, has_form


def as_array(image: Any) -> Any:
    """PIL image of mode RGB -> uint8 array (H, W, 3); anything else as it is."""
    return np.asarray(image) if isinstance(image, Image.Image) and image.mode == 'RGB' else image


def as_pil(image: Any) -> Any:
    """uint8 array (H, W, 3) -> PIL image of mode RGB; anything else as it is."""
    return Image.fromarray(image) if isinstance(image, np.ndarray) else image


class FastPipeline(Compose):
    """The steps of a pipeline, each in its fast form where it has one; the others run as they are, in their place.

    Takes a PIL image, a uint8 array (H, W, 3), or a tensor, on which all steps run as they are.

    Args:
        pipeline: what the reference runs.
    """

    def __init__(self, pipeline: Compose) -> None:
        super().__init__([_either(step) for step in pipeline.steps])
        self.takes_arrays = any(isinstance(step, _Either) for step in self.steps)

    def __call__(self, image: Any) -> Any:
        return super().__call__(image if self.takes_arrays else as_pil(image))


def _either(step: Callable) -> Callable:
    form = has_form(step)
    return step if form is None else _Either(form)


class _Either:
    """The form on arrays, the step itself on everything else."""

    def __init__(self, form: Form) -> None:
        self.form = form

    def __call__(self, image: Any) -> Any:
        image = as_array(image)
        return self.form(image) if isinstance(image, np.ndarray) else self.form.step(image)
