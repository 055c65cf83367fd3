"""The steps of pipelines divided: what a worker does with one image, and what the device does with the views of a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .....errors import ConfigError
from ....decoding import Backend
from ...compose import Compose
from ..base import Size
from ..fast import FastPipeline, as_array
from .base import BatchForm, changes_size, has_batch_form
from .nested import run

AT_ONCE = 256  # images; of 224 pixels as floats they are 154 MB
NUMBERS = 2  # that a row of draws begins with: of the pipeline, and of the image where images wait on the device


def divide(pipeline: Compose, resizing: bool) -> tuple[list[Callable], list[BatchForm]]:
    """The steps that a worker runs, and the forms of those after them.

    Args:
        pipeline: all steps, from an image of bytes to one.
        resizing: images come in one size, so that the device can change it; else the last step that does so is the worker's.

    Returns:
        Steps, and forms: as many of the last steps as have a form.
    """
    steps = list(pipeline.steps)
    forms: list[BatchForm] = []
    while steps:
        form = has_batch_form(steps[-1])
        if form is None or (form.resizes and not resizing):
            break
        steps.pop()
        forms.insert(0, form)
    return steps, forms


class DeviceShare:
    """What the device does with the views of a batch, for all pipelines of a loader.

    A view comes with a row of draws: the number of its pipeline, the number of its image, and the draws of its steps.

    Args:
        stored: uint8 (N, C, H, W) on the device, the images that the views are made of; None: the workers hand out views.
    """

    def __init__(self, stored: Tensor | None = None) -> None:
        self.stored = stored
        self._pipelines: list[list[BatchForm]] = [[]]  # the first one, number 0, is for views that are finished

    def __getstate__(self) -> dict[str, Any]:
        """Without the images: a worker knows the pipelines alone."""
        return {**self.__dict__, 'stored': None}

    def add(self, forms: list[BatchForm]) -> int:
        """One more pipeline; returns its number."""
        self._pipelines.append(forms)
        return len(self._pipelines) - 1

    @property
    def width(self) -> int:
        """Numbers in a row: those of the pipeline with the most draws."""
        return NUMBERS + max((sum(form.width for form in forms) for forms in self._pipelines), default=0)

    def views(self, img: Any, draws: Any) -> Any:
        """`img` of a batch after the steps: a tensor, or a list of one for each size of views; `draws` in the same form."""
        if not isinstance(draws, list):
            return self(img, draws)
        return [self(views, rows) for views, rows in zip(img or [None] * len(draws), draws, strict=True)]

    def __call__(self, views: Tensor | None, draws: Tensor) -> Tensor:
        """Run the steps.

        Args:
            views: uint8 (..., C, H, W) on the device; None where images wait there.
            draws: float32 (..., width) in host memory.

        Returns:
            uint8 (..., C, H', W').
        """
        rows = draws.flatten(0, -2)
        images = self._taken(rows) if views is None else views.flatten(0, -4)
        numbers = rows[:, 0]
        first = int(numbers[0])
        if bool((numbers == first).all()):
            images = self._run(first, images, rows)
        else:
            images = self._by_pipeline(numbers, images, rows)
        return images.unflatten(0, draws.shape[:-1])

    def _by_pipeline(self, numbers: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        parts, places = [], []
        for number in numbers.unique().tolist():
            where = (numbers == number).nonzero().squeeze(1)
            there = where.to(images.device, non_blocking=True)
            parts.append(self._run(int(number), images.index_select(0, there), rows[where]))
            places.append(where)
        back = torch.cat(places).argsort().to(images.device, non_blocking=True)
        return torch.cat(parts).index_select(0, back)

    def _run(self, number: int, images: Tensor, rows: Tensor) -> Tensor:
        """One pipeline, on some images after the other: colour jitter holds several copies of them as floats."""
        forms = self._pipelines[number]
        parts = zip(images.split(AT_ONCE), rows[:, NUMBERS:].split(AT_ONCE), strict=True)
        done = [run(forms, part, draws) for part, draws in parts] if forms else [images]
        return done[0] if len(done) == 1 else torch.cat(done)

    def _taken(self, rows: Tensor) -> Tensor:
        if self.stored is None:
            raise RuntimeError('no images wait on the device')
        return self.stored.index_select(0, rows[:, 1].long().to(self.stored.device, non_blocking=True))


class HostShare:
    """What a worker does of one pipeline: the first steps, and the draws of the others.

    Args:
        pipeline: all of its steps.
        device: what does the rest; the forms of the rest are added to it.
        backend: how the first steps are computed.
        name: of the pipeline, for messages.
        resizing: the images wait on the device, in one size: all steps must run there.

    Raises:
        ConfigError: the images wait on the device, and a step has no form there.
    """

    def __init__(
        self, pipeline: Compose, device: DeviceShare, backend: Backend, name: str, resizing: bool = False
    ) -> None:
        steps, self.forms = divide(pipeline, resizing)
        _report(steps, name, resizing)
        self.device = device
        self.number = device.add(self.forms)
        self.first, self.rest = (
            FastPipeline(part) if backend == 'fast' else part
            for part in (Compose(steps), Compose(pipeline.steps[len(steps) :]))
        )

    def view(self, image: Any, finish: Callable[[Any], Tensor]) -> tuple[Tensor, Tensor]:
        """One view. Where it is not 8-bit RGB, the worker runs all steps: only for that there are forms.

        Args:
            image: what the pipeline starts from.
            finish: what the first steps make -> uint8 (C, H, W).

        Returns:
            The view as far as the worker makes it, uint8 (C, H, W), and the row of draws for the device, float32 (P,).
        """
        view = as_array(self.first(image))
        if not isinstance(view, np.ndarray):
            return finish(self.rest(view)), torch.zeros(self.device.width)
        return finish(view), self.row((view.shape[0], view.shape[1]))

    def row(self, size: Size, image: int = 0) -> Tensor:
        """The row of draws (P,) for an image of `size`, the number `image` of those on the device."""
        values: list[float] = [self.number, image]
        for form in self.forms:
            values.extend(form.draw(size))
            if form.resizes:
                size = form.size_after(size)
        row = np.zeros(self.device.width, dtype=np.float32)
        row[: len(values)] = values
        return torch.from_numpy(row)

    def size_after(self, size: Size) -> Size:
        """Size of the views that the device makes of images of `size`."""
        for form in self.forms:
            size = form.size_after(size)
        return size


def _report(steps: list[Callable], name: str, resizing: bool) -> None:
    """Say which step keeps the workers busy; refuse it where they have no images.

    The log line is for the user who wonders: one step without a form keeps all before it in the workers.
    """
    if not steps:
        return
    last, kind = steps[-1], type(steps[-1]).__name__
    if resizing:
        raise ConfigError(
            f'{name}: {kind} cannot run on the device in this form, which prefetch=dict(images_on_device=True) needs of all steps. '
            'Leave images_on_device out.'
        )
    if not changes_size(last):
        logging.getLogger('selfsup').info(
            f'{name}: {kind} has no form on the device; it and the steps before it run in the loader workers'
        )
