"""Views of several sizes through a network: it runs once per size, on all views of that size together.

B images per process; a group (B, V, C, H, W) holds V views of one size; views are counted through all groups, V' in all. Rows that
come out are view-major: all images of view 0, then all of view 1, and so on; view v of image b is row v * B + b. So batch norms see the
views of each size apart from those of other sizes, and update their running statistics once per size (SwAV, arXiv:2006.09882; DINO,
arXiv:2104.14294).

A method gets its groups from `Algorithm.view_groups`, and says with a slice which of them a network sees: the teacher of DINO the first
alone, its student all.

    groups = self.view_groups(img)
    embeddings = self.neck(pooled_views(self.backbone, groups).flatten(0, 1))  # (V' * B, D): one pass of the neck for all
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ..layers.functional import full_precision
from ..layers.pooling import global_average

T = TypeVar('T')


def view_major(group: Tensor) -> Tensor:
    """(B, V, C, H, W) -> (V * B, C, H, W): all images of view 0, then all of view 1, and so on."""
    return group.transpose(0, 1).flatten(0, 1)


def once_per_size(network: Callable[[Tensor], T], groups: Sequence[Tensor]) -> list[T]:
    """What a network gives for each group of views; one pass per group.

    Args:
        network: takes images (V * B, C, H, W); a backbone gives maps, a backbone and a neck embeddings.
        groups: tensors (B, V, C, H, W).

    Returns:
        For each group what `network` gave, with rows in view-major order.
    """
    return [network(view_major(group)) for group in groups]


def pooled_views(backbone: Callable[[Tensor], Sequence[Tensor]], groups: Sequence[Tensor]) -> Tensor:
    """Features (V', B, D) of all views of all groups: the last map of each, averaged over positions; one pass of the backbone per group.

    Args:
        backbone: images -> maps.
        groups: tensors (B, V, C, H, W).
    """
    rows = [global_average(maps) for maps in once_per_size(backbone, groups)]
    return torch.cat([part.unflatten(0, (group.shape[1], -1)) for part, group in zip(rows, groups, strict=True)])


def swapped_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """Every view predicts the targets of the other views: cross entropies of all pairs of unlike views, averaged over pairs and images.

    SwAV (arXiv:2006.09882, equation 5 and section 3.2) and DINO (arXiv:2104.14294, equation 3). The log-probabilities of the views are
    added before they meet a target, so no more than V + A tensors (B, K) are held for the A (V - 1) pairs.

    Args:
        targets: (A, B, K) probabilities, without gradient, of the first A of the V views.
        logits: (V, B, K) of all views, divided by their temperature; V >= 2.
    """
    with torch.autocast(logits.device.type, enabled=False):
        found = full_precision(logits).log_softmax(dim=-1)
        others = found.sum(dim=0) - found[: len(targets)]  # (A, B, K)
        return -(targets * others).sum(dim=-1).mean() / (len(logits) - 1)
