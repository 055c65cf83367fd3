"""Numbers of the official codes, and how near ours must come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfsup.weights.read import read_checkpoint

FOLDER = Path(__file__).parents[1] / 'golden'


def golden(name: str) -> dict[str, Any]:
    """tests/golden/methods_{name}.pt."""
    return read_checkpoint(FOLDER / f'methods_{name}.pt')


def near(found: Tensor, expected: Tensor, atol: float = 1e-10) -> None:
    """Equal up to `atol`, in float64."""
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=atol, check_dtype=False)


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    """d loss / d x; zeros where x is not used."""
    (found,) = torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def leaves(*tensors: Tensor) -> list[Tensor]:
    """Copies that take a gradient."""
    return [x.detach().clone().requires_grad_() for x in tensors]
