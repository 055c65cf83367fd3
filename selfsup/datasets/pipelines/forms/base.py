"""What a form of a step offers, and the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from .draws import Numbers

Size = tuple[int, int]  # height, width in pixels


class Form(ABC):
    """The draws of one step apart from what is computed with them.

    Args:
        step: the step, as `build_steps` made it; its arguments are read from it.
    """

    def __init__(self, step: Any) -> None:
        self.step = step
        self.numbers = Numbers()

    @abstractmethod
    def draw(self, size: Size) -> Any:
        """Parameters for one image of `size`: exactly the draws of the step, from the same generators, in its order.

        None means that this image stays as it is.
        """

    def size_after(self, size: Size, params: Any) -> Size:
        """Size of the image after `apply`."""
        return size

    @abstractmethod
    def apply(self, image: np.ndarray, params: Any) -> np.ndarray | Tensor:
        """The step on a uint8 image (H, W, 3), which is not changed; a step that makes tensors returns one (C, H, W)."""

    def __call__(self, image: np.ndarray) -> np.ndarray | Tensor:
        params = self.draw((image.shape[0], image.shape[1]))
        return image if params is None else self.apply(image, params)


# Class of a step -> what makes its form, or None where its arguments have none. Filled by `form_of` when the room is imported.
FORMS: dict[type, Callable[[Any], Form | None]] = {}


def form_of(*kinds: type) -> Callable[[Callable[[Any], Form | None]], Callable[[Any], Form | None]]:
    """Decorator of a `Form`, or of a function that chooses one: it serves steps of exactly these classes."""

    def enter(make: Callable[[Any], Form | None]) -> Callable[[Any], Form | None]:
        FORMS.update(dict.fromkeys(kinds, make))
        return make

    return enter


def kind_of(step: Any) -> type:
    """The class that a step stands for in a table of forms: its own, or that whose draws it says it makes."""
    return getattr(type(step), 'form_as', type(step))


def has_form(step: Any) -> Form | None:
    """The form of a step, or None: it then runs as it is, in its place."""
    make = FORMS.get(kind_of(step))
    return None if make is None else make(step)
