"""Forms of the steps that hold others and run all of them, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torchvision.transforms import v2

from ..transforms import RandomAppliedTrans
from .base import Form, Size, form_of
from .fast import FastStep, fast_steps


@form_of(RandomAppliedTrans, v2.RandomApply)
class NestedForm(Form):
    """One coin for a list of steps. Parameters: those of each step in the list, None for a step that leaves the image as it is.

    Attributes:
        inner: what runs, each step in its form where it has one.
        forms: the forms of the steps; None where one of them has none: then nothing can be drawn ahead.
    """

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        self.inner = fast_steps(step.transforms)
        forms = [inner.form for inner in self.inner if isinstance(inner, FastStep)]
        nested = all(form.forms is not None for form in forms if isinstance(form, NestedForm))
        self.forms: list[Form] | None = forms if nested and len(forms) == len(self.inner) else None

    def _comes(self) -> bool:
        return self.numbers.share() < self.step.p

    def draw(self, size: Size) -> tuple | None:
        if self.forms is None:
            raise TypeError(f'{type(self.step).__name__} holds a step whose draws are not known ahead')
        if not self._comes():
            return None
        drawn = []
        for form in self.forms:
            params = form.draw(size)
            size = size if params is None else form.size_after(size, params)
            drawn.append(params)
        return tuple(drawn)

    def size_after(self, size: Size, params: tuple) -> Size:
        for form, drawn in zip(self.forms or (), params, strict=True):
            size = size if drawn is None else form.size_after(size, drawn)
        return size

    def apply(self, image: np.ndarray, params: tuple) -> np.ndarray | Tensor:
        result: Any = image
        for form, drawn in zip(self.forms or (), params, strict=True):
            result = result if drawn is None else form.apply(result, drawn)
        return result

    def __call__(self, image: np.ndarray) -> Any:
        result: Any = image
        if self._comes():
            for inner in self.inner:
                result = inner(result)
        return result
