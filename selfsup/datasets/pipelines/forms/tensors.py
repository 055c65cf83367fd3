"""Forms of the steps that make float tensors of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from ..transforms import ToTensor
from .base import Form, Size, form_of
from .opencv import has_opencv


def planes(image: np.ndarray) -> Tensor:
    """uint8 array (H, W, 3) -> uint8 tensor (3, H, W)."""
    if not has_opencv():
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    import cv2

    out = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(out))  # six times as fast as a copy by numpy or torch
    return torch.from_numpy(out)


class ToTensorForm(Form):
    """ToTensor, and a Normalize after it, as one look-up of 256 floats per channel: the numbers are those of the steps.

    Args:
        step: the ToTensor.
        normalize: the Normalize that follows it, or None.
    """

    def __init__(self, step: ToTensor, normalize: v2.Normalize | None = None) -> None:
        super().__init__(step)
        self.normalize = normalize
        values = torch.arange(256, dtype=torch.float32).div_(255).expand(3, 1, 256).contiguous()
        if normalize is not None:
            values = normalize(values)
        self.tables = [table.reshape(256, 1) for table in values.numpy()]

    def draw(self, size: Size) -> tuple[()]:
        return ()

    def apply(self, image: np.ndarray, params: tuple[()]) -> Tensor:
        out = torch.empty((3, *image.shape[:2]))
        self.fill(image, out)
        return out

    def fill(self, image: np.ndarray, out: Tensor) -> None:
        """`apply` into `out`, float32 (3, H, W), contiguous."""
        import cv2

        for channel, table, plane in zip(cv2.split(image), self.tables, out.numpy(), strict=True):
            cv2.LUT(channel, table, plane)

    def run(self, image: Any) -> Any:
        """The steps themselves, on what is no array."""
        image = self.step(image)
        return image if self.normalize is None else self.normalize(image)


@form_of(ToTensor)
def _to_tensor(step: ToTensor) -> Form | None:
    return ToTensorForm(step) if has_opencv() else None


def fused(step: Any, following: Any) -> ToTensorForm | None:
    """The form of two steps in a row where they are a ToTensor and a Normalize for three channels; else None."""
    if type(step) is not ToTensor or type(following) is not v2.Normalize or not has_opencv():
        return None
    known = all(
        isinstance(value, float | int) for value in (*following.mean, *following.std)
    )  # else the step says what is wrong
    fits = known and len(following.mean) == len(following.std) == 3 and 0 not in following.std
    return ToTensorForm(step, following) if fits else None
