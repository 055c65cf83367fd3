"""How many dimensions a representation uses: RankMe and LiDAR, which need no labels.

Both are effective ranks, exp(entropy of the normalised spectrum), and both depend on how many images and views there are: compare numbers
of the same N, n and q only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ShapeError

EPSILON = 1e-7  # added to each share, as the papers do
DELTA = 1e-4  # of LiDAR's within-class scatter
MOST = 25_600  # images: the number does not change with more, and the time would


@torch.no_grad()
def rankme(embeddings: Tensor) -> float:
    """RankMe (Garrido et al., arXiv:2210.02885, equation 1), of embeddings that are not centred.

    p_k = s_k / sum(s) + 1e-7 with the singular values s, and exp(-sum p_k log p_k). The singular values are the roots of the eigenvalues of
    the smaller Gram matrix, in float64: what that loses lies below the 1e-7.

    Args:
        embeddings: (N, D), N >= 1, any float type. The paper takes N of several thousand.

    Returns:
        In [1, min(N, D)] but for the 1e-7; NaN where an embedding is not finite. Of zeros alone: 1.

    Raises:
        ShapeError: not (N, D).
    """
    if embeddings.ndim != 2 or not embeddings.numel():
        raise ShapeError(f'Embeddings of shape {tuple(embeddings.shape)}; expected (N, D) with N and D of at least 1.')
    with torch.autocast(embeddings.device.type, enabled=False):
        x = embeddings.detach().double()
        if not bool(torch.isfinite(x).all()):
            return float('nan')
        x = x / x.abs().max().clamp(min=torch.finfo(x.dtype).tiny)  # the squares do not overflow
        gram = x @ x.T if x.shape[0] < x.shape[1] else x.T @ x
        return _spread(_eigenvalues(gram).sqrt())


@torch.no_grad()
def lidar(embeddings: Tensor, delta: float = DELTA) -> float:
    """LiDAR (Thilak et al., arXiv:2312.04000): effective rank of what tells images apart, measured in what views of one image differ in.

    S_b is the scatter of the means m_i of each image around their mean, S_w the mean scatter of the views around m_i, plus delta I; the
    spectrum is that of S_w^(-1/2) S_b S_w^(-1/2). The paper takes n = 1,000 images with q = 50 views; smaller numbers change the scale.

    Args:
        embeddings: (n, q, D), n and q >= 2, any float type; computed in float64.
        delta: > 0.

    Returns:
        In [1, min(n - 1, D)] but for the 1e-7, which each of D shares gets; NaN where an embedding is not finite.

    Raises:
        ShapeError: not (n, q, D).
    """
    if embeddings.ndim != 3 or min(embeddings.shape[:2], default=0) < 2:
        raise ShapeError(
            f'Embeddings of shape {tuple(embeddings.shape)}; expected (images, views, D), 2 or more of each.'
        )
    with torch.autocast(embeddings.device.type, enabled=False):
        x = embeddings.detach().double()
        if not bool(torch.isfinite(x).all()):
            return float('nan')
        means = x.mean(1)
        within = (x - means[:, None]).flatten(0, 1)
        centred = means - means.mean(0)
        values, vectors = torch.linalg.eigh(within.T @ within / len(within))
        # Rows of the means in the coordinates in which S_w is the identity; the spectrum does not depend on a rotation.
        whitened = centred @ vectors / (values.clamp(min=0) + delta).sqrt()
        gram = whitened @ whitened.T if len(whitened) < whitened.shape[1] else whitened.T @ whitened
        spectrum = _eigenvalues(gram)
        return _spread(torch.cat([spectrum, spectrum.new_zeros(whitened.shape[1] - len(spectrum))]))


def lidar_name(images: int, views: int) -> str:
    """Name of the number in a log, as the number means nothing without n and q."""
    return f'lidar_n{images}_q{views}'


def rankme_name(images: int) -> str:
    """Name of the number in a log, as the number means nothing without N."""
    return f'rankme_n{images}'


def rankme_of_some(features: Tensor) -> dict[str, float]:
    """`rankme` by its name, of features (N, D) or, of more than `MOST`, of as many that lie evenly among them."""
    count = min(len(features), MOST)
    chosen = torch.linspace(0, len(features) - 1, count, dtype=torch.float64).round().long()
    return {rankme_name(count): rankme(features[chosen])}


def _eigenvalues(gram: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(gram).clamp(min=0)


def _spread(spectrum: Tensor) -> float:
    """exp(entropy) of a spectrum (K,) of numbers >= 0."""
    total = spectrum.sum()
    if not float(total):
        return 1.0
    share = spectrum / total + EPSILON
    return float(torch.special.entr(share).sum().exp())
