"""Steps made of steps."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchvision.transforms import v2

from ...transforms import RandomAppliedTrans
from ..base import Form
from .base import BatchForm, Row, batch_form_of, has_batch_form, on_rows


class RandomApplyBatch(BatchForm):
    """All steps or none, by one coin. Row: whether, then the draws of the steps; zeros without."""

    def __init__(self, step: Any, form: Form, inner: list[BatchForm]) -> None:
        super().__init__(step, form)
        self.inner = inner
        self.width = 1 + sum(one.width for one in inner)
        self._off = [0.0] * self.width

    def pack(self, params: Any) -> Row:
        if params is None:
            return self._off
        row = [1.0]
        for one, drawn in zip(self.inner, params, strict=True):
            row.extend(one.pack(drawn))
        return row

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        return on_rows(images, draws[:, 0] > 0, lambda images, rows: run(self.inner, images, rows), draws[:, 1:])


@batch_form_of(RandomAppliedTrans, v2.RandomApply)
def random_apply(step: Any, form: Form) -> BatchForm | None:
    """Where all steps inside have a form and keep the size."""
    inner = [one for one in map(has_batch_form, step.transforms) if one is not None and not one.resizes]
    return RandomApplyBatch(step, form, inner) if len(inner) == len(step.transforms) else None


def run(forms: list[BatchForm], images: Tensor, draws: Tensor) -> Tensor:
    """Steps one after the other, each with its columns of `draws`."""
    column = 0
    for form in forms:
        images = form.apply(images, draws[:, column : column + form.width])
        column += form.width
    return images
