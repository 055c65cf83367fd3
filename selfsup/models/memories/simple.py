"""One unit vector per image (Wu et al. 2018, arXiv 1805.01978, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...arguments import Count, Share
from ...registry import MEMORIES
from ..layers.functional import l2_normalize, last_occurrence


@MEMORIES.register_module()
class SimpleMemory(nn.Module):
    """A bank of features, a buffer: in the state dict, on the device of the model, one copy per process.

    A copy for ImageNet (1.28 M images, 128 numbers) takes 656 MB of the device's memory; every process reads far more rows per
    step than one all-reduce could bring, so it is not sharded. (OpenSelfSup kept it out of the state dict.)

    Args:
        length: number of images in the training set.
        feat_dim: length D of a feature.
        momentum: share of the NEW feature in an update, in [0, 1], as in OpenSelfSup (every other momentum here is that of the
            old); 0.5 in the paper's code.
    """

    feature_bank: Tensor  # (N, D)

    def __init__(
        self,
        length: Count,
        feat_dim: Count,
        momentum: Share = 0.5,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer('feature_bank', l2_normalize(torch.randn(length, feat_dim)))

    def __len__(self) -> int:
        return len(self.feature_bank)

    @torch.no_grad()
    def update(self, idx: Tensor, features: Tensor) -> None:
        """bank <- unit((1 - momentum) * bank + momentum * unit(features)). An image that occurs twice takes its last feature.

        Args:
            idx: (n,) int64 numbers of images, the same on all processes.
            features: (n, D), any scale.
        """
        features = l2_normalize(features)[last_occurrence(idx)].to(self.feature_bank.dtype)
        self.feature_bank[idx] = l2_normalize((1 - self.momentum) * self.feature_bank[idx] + self.momentum * features)
