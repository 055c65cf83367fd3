"""What the form of a step for a whole batch offers, and the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.transforms import v2

from ..base import Form, Size, has_form, kind_of

Row = Sequence[float]


class BatchForm(ABC):
    """One step on a batch of views on the device, each with draws of its own; a worker made them.

    Args:
        step: the step, as `build_steps` made it.
        form: its form on the CPU, which makes the draws.

    Attributes:
        width: how many numbers hold the draws of one view.
        resizes: the step changes the size of an image, so it runs here only on images that come in one size.
    """

    resizes: ClassVar[bool] = False
    width: int = 0

    def __init__(self, step: Any, form: Form) -> None:
        self.step, self.form = step, form

    def draw(self, size: Size) -> Row:
        """The draws of the step for one image of `size` (height, width), as `width` numbers that float32 holds exactly."""
        return self.pack(self.form.draw(size))

    @abstractmethod
    def pack(self, params: Any) -> Row:
        """What `Form.draw` gave -> `width` numbers."""

    def size_after(self, size: Size) -> Size:
        """Size of the images after the step."""
        return size

    @abstractmethod
    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """The step on every image, as the step itself computes it, bytes rounded as it rounds them.

        Args:
            images: uint8 (B, C, H, W) on any device, not changed.
            draws: float32 (B, width) in host memory, so that to choose images by them does not wait for the device.

        Returns:
            uint8 (B, C, H', W').
        """


# Class of a step -> what makes its form for batches, or None where its arguments have none. Filled when the room is imported.
BATCH_FORMS: dict[type, Callable[[Any, Form], BatchForm | None]] = {}


def batch_form_of(*kinds: type) -> Callable[[Any], Any]:
    """Decorator of a `BatchForm`, or of a function that chooses one: it serves steps of exactly these classes."""

    def enter(make: Callable[[Any, Form], BatchForm | None]) -> Callable[[Any, Form], BatchForm | None]:
        BATCH_FORMS.update(dict.fromkeys(kinds, make))
        return make

    return enter


def has_batch_form(step: Any) -> BatchForm | None:
    """The form of a step for batches, or None: it then runs in the worker, and so does what stands before it."""
    make, form = BATCH_FORMS.get(kind_of(step)), has_form(step)
    return None if make is None or form is None else make(step, form)


# Steps that change the size of an image and have no form that does so here.
RESIZING = (v2.FiveCrop, v2.RandomShortestSize, v2.RandomResize, v2.RandomZoomOut, v2.ScaleJitter, v2.TenCrop, v2.Pad)


def changes_size(step: Any) -> bool:
    """True for a step that the workers keep because of what it does, and not for want of a form."""
    form = has_batch_form(step)
    return isinstance(step, RESIZING) if form is None else form.resizes


def on_rows(images: Tensor, rows: Tensor, change: Callable[..., Tensor], *per_image: Tensor) -> Tensor:
    """`change` of some of the images.

    Args:
        images: (B, C, H, W).
        rows: bool (B,) in host memory: which.
        change: images, and their rows of `per_image` -> images of the same shape and type.
        per_image: tensors (B, ...) in host memory.
    """
    count = int(rows.sum())
    if count == 0:
        return images
    if count == len(images):
        return change(images, *per_image)
    where = rows.nonzero().squeeze(1)
    there = where.to(images.device, non_blocking=True)
    changed = change(images.index_select(0, there), *(values[where] for values in per_image))
    return images.index_copy(0, there, changed)


def beside(values: Tensor, images: Tensor) -> Tensor:
    """One number per image (B,), on the device and in the shape (B, 1, 1, 1) that broadcasts over the images."""
    return values.to(images.device, non_blocking=True).view(-1, 1, 1, 1)


def to_bytes(values: Tensor) -> Tensor:
    """Floats -> the nearest bytes; changes its argument."""
    return values.add_(0.5).clamp_(0, 255).to(torch.uint8)
