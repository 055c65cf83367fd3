"""Global response normalisation: channels of a map compete (ConvNeXt V2, arXiv:2301.00808, section 3.2, algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from ...errors import ConfigError

SCOPES = {'image': (1, 2), 'batch': (0, 1, 2)}


def global_response_norm(x: Tensor, gamma: Tensor, beta: Tensor, scope: str, eps: float) -> Tensor:
    """The layer as a function, for which maps with hidden blocks have rules. Arguments are those of `GRN`."""
    if has_torch_function_unary(x):
        return handle_torch_function(global_response_norm, (x,), x, gamma, beta, scope, eps)
    return formula(x, gamma, beta, scope, eps)


def formula(x: Any, gamma: Tensor, beta: Tensor, scope: str, eps: float) -> Any:
    """What `global_response_norm` computes for a tensor `x`, or for a map that has a rule for each of these operations of torch."""
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None
    norm = torch.linalg.vector_norm(x, dim=SCOPES[scope], keepdim=True, dtype=wide)
    share = norm / (norm.mean(dim=-1, keepdim=True) + eps)
    # One multiply-add over the map: gamma * share is as small as one pixel of it. It is done in float32, so that the
    # gradient of the factor, a sum over the map, is so too.
    return torch.addcmul(beta, x, 1 + gamma * share).to(x.dtype)


class GRN(nn.Module):
    """y = gamma * (x * n) + beta + x, with n = |x| over the map, divided by its mean over the channels.

    gamma and beta start at 0, so the layer starts as the identity. Sums over the map are taken in float32 also where x is in
    half precision: that of the squares of a large map does not fit float16.

    Args:
        channels: C.
        scope: 'image': the norm of a channel is over the positions of each image. 'batch': over all images of this process
            together, which is what the authors' sparse pretraining code does (and the paper does not say).
        eps: added to the mean over the channels.

    Raises:
        ConfigError: another `scope`.
    """

    def __init__(self, channels: int, scope: str = 'image', eps: float = 1e-6) -> None:
        super().__init__()
        if scope not in SCOPES:
            raise ConfigError(
                f"GRN scope={scope!r}: use 'image' (as the paper) or 'batch' (as the authors' pretraining code)."
            )
        self.scope, self.eps = scope, eps
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) for `x` (B, H, W, C)."""
        return global_response_norm(x, self.gamma, self.beta, self.scope, self.eps)

    def extra_repr(self) -> str:
        return f'{self.gamma.shape[-1]}, scope={self.scope!r}'
