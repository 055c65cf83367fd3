"""Single numbers from the generators of torch and numpy: those that a step draws, at a part of the cost."""

from __future__ import annotations

import numpy as np
import torch


class Numbers:
    """Draws from torch's global generator into two tensors that are kept.

    The values are those of `torch.rand(1)`, `torch.empty(1).uniform_` and `torch.randint`, and the generator stands where it stands after
    them. Between operations on whole images, when nothing of it is in the caches, making a new tensor for a number costs more than drawing.
    """

    def __init__(self) -> None:
        self._real = torch.empty(1)
        self._whole = torch.empty(1, dtype=torch.int64)

    def __reduce__(self) -> tuple[type[Numbers], tuple[()]]:
        """Made anew in every process.

        torch sends tensors to spawned workers in shared memory, where one would overwrite what another has drawn.
        """
        return type(self), ()

    def share(self) -> float:
        """In [0, 1)."""
        return self._real.uniform_().item()

    def between(self, low: float, high: float) -> float:
        """In [low, high), in float32."""
        return self._real.uniform_(low, high).item()

    def exp_between(self, low: float, high: float) -> float:
        """e to the power of such a number, in float32."""
        return self._real.uniform_(low, high).exp_().item()

    def below(self, end: int) -> int:
        """A whole number in [0, end)."""
        return int(self._whole.random_(0, end).item())


def numpy_between(low: float, high: float) -> float:
    """`np.random.uniform(low, high)`."""
    return low + (high - low) * np.random.random_sample()
