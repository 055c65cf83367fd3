"""Two numbers that tell a collapsed representation from a healthy one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError


@torch.no_grad()
def collapse_statistics(embedding: Tensor) -> dict[str, float]:
    """Spread and effective rank of a batch of embeddings.

    `std` is the standard deviation of each dimension of the L2-normalised embeddings, averaged over dimensions, times
    sqrt(D) (Chen and He, arXiv:2011.10566, figure 2): 1 for directions spread evenly, 0 when all are the same.

    `effective_rank` is exp(entropy of p), p = singular values / their sum, as RankMe (Garrido et al., arXiv:2210.02885,
    equation 1), here of the CENTRED embeddings, so that a common offset does not hide a collapse: in [1, min(B - 1, D)].
    Singular values below rounding error count as 0, so that equal embeddings have rank 1 and not that of the noise.

    Args:
        embedding: (B, D), B >= 2, any float type; computed in float32, also under autocast.

    Returns:
        `dict(std=..., effective_rank=...)`, NaN where an embedding is not finite.

    Raises:
        ShapeError: not (B, D) with B >= 2.
    """
    if embedding.ndim != 2 or len(embedding) < 2:
        raise ShapeError(f'Embeddings of shape {tuple(embedding.shape)}; expected (B, D) with B >= 2.')
    with torch.autocast(embedding.device.type, enabled=False):
        x = embedding.detach().float()
        if not bool(torch.isfinite(x).all()):
            return {'std': float('nan'), 'effective_rank': float('nan')}
        std = F.normalize(x, dim=1).std(0, correction=0).mean() * x.shape[1] ** 0.5
        singular = torch.linalg.svdvals(x - x.mean(0))
        noise = torch.finfo(x.dtype).eps * max(x.shape) * x.norm()
        share = singular.where(singular > noise, torch.zeros_like(singular))
        share = share / share.sum().clamp(min=torch.finfo(x.dtype).tiny)
        rank = torch.special.entr(share).sum().exp()
    return {'std': float(std), 'effective_rank': float(rank)}
