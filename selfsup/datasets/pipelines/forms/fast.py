"""A pipeline whose steps run in their fast forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..compose import Compose
from .base import Form, has_form
from .tensors import ToTensorForm, fused


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
        super().__init__(fast_steps(pipeline.steps))

    def begin(self, image: Any) -> Any:
        """Like a call, but the view stays an `Unfinished` where a ToTensor is all that is left: it draws nothing."""
        last = self.steps[-1] if self.steps else None
        if not isinstance(last, FastStep) or not isinstance(last.form, ToTensorForm):
            return self(image)
        pixels = as_array(self.run(self.steps[:-1], image))
        return Unfinished(pixels, last.form) if isinstance(pixels, np.ndarray) else self.run([last], pixels)

    def name_of(self, step: Callable) -> str:
        return type(step.step if isinstance(step, (FastStep, PlainStep)) else step).__name__


class Unfinished(NamedTuple):
    """A view that is to be made floats, beside others of its size.

    Attributes:
        pixels: uint8 (H, W, 3).
        form: what makes the tensor.
    """

    pixels: np.ndarray
    form: ToTensorForm

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return (3, *self.pixels.shape[:2])


def stack(views: Sequence[Tensor | Unfinished]) -> Tensor:
    """Views of one size in one tensor (V, C, H, W)."""
    if not all(isinstance(view, Unfinished) for view in views):
        return torch.stack([v.form.apply(v.pixels, ()) if isinstance(v, Unfinished) else v for v in views])
    out = torch.empty((len(views), *views[0].shape))
    for view, place in zip(cast(Sequence[Unfinished], views), out, strict=True):
        view.form.fill(view.pixels, place)  # without the copy of a stack
    return out


def fast_steps(steps: Sequence[Callable]) -> list[Callable]:
    """What runs in place of `steps`: fewer, where two of them have a form together."""
    fast: list[Callable] = []
    place = 0
    while place < len(steps):
        step = steps[place]
        together = fused(step, steps[place + 1]) if place + 1 < len(steps) else None
        form = together or has_form(step)
        fast.append(PlainStep(step) if form is None else FastStep(form))
        place += 2 if together else 1
    return fast


class FastStep:
    """The form on arrays, the step itself on everything else."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.step = form.step
        self.otherwise = form.run if isinstance(form, ToTensorForm) else form.step

    def __call__(self, image: Any) -> Any:
        image = as_array(image)
        return self.form(image) if isinstance(image, np.ndarray) else self.otherwise(image)


class PlainStep:
    """A step without a form, on a PIL image where there are pixels in an array."""

    def __init__(self, step: Callable) -> None:
        self.step = step

    def __call__(self, image: Any) -> Any:
        return self.step(as_pil(image))
