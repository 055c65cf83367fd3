"""The form of what is known of one code's training files: `Official`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Official:
    """Files of a training model that is one of ours under other names.

    Attributes:
        title: of the code and what the file holds, for messages.
        is_official: (names in a file) -> True for those of this model.
        to_ours: (weights) -> the same under our names and in our shapes, without `constants`.
        constants: names of tensors that are no weights.
    """

    title: str
    is_official: Callable[[Iterable[str]], bool]
    to_ours: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    constants: tuple[str, ...] = ()
