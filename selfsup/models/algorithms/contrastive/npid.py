"""NPID: non-parametric instance discrimination.

Wu et al. 2018, arXiv 1805.01978: equation 2 (softmax over instances), section 3.1 (memory bank).

Axes: B images per process, N images in the training set, K = neg_num, D numbers per embedding.

Differences from the paper: a softmax over the positive and K negatives takes the place of noise-contrastive estimation and of the
proximal term, as in OpenSelfSup. The bank is updated after the optimizer step, from the embeddings that the loss used, and is
in the state dict, so a resumed run goes on with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .... import distributed
from ....arguments import Count
from ....contracts import Progress
from ....errors import ConfigError, SelfSupWarning, ShapeError
from ....registry import BACKBONES, HEADS, MEMORIES, MODELS, NECKS
from ...layers.functional import l2_normalize, similarity
from ..base import Algorithm, Backbone, Head, Memory, Neck, Step, build_part, init_neck


@MODELS.register_module()
class NPID(Algorithm):
    """Every image is a class of its own, told from the others by a bank of past embeddings.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection, a `LinearNeck` to 128 numbers in the paper.
        head: config of a `ContrastiveHead`; temperature 0.07.
        memory_bank: config of a `SimpleMemory`; its docstring says what a bank costs.
        neg_num: number of negatives K per image, drawn uniformly with replacement.
        ensure_neg: an image is never its own negative. False, the documented default, lets it happen.

    Raises:
        ConfigError: `ensure_neg` with a bank of one image.
    """

    dataset = 'NPIDDataset'

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: Head,
        memory_bank: Memory,
        neg_num: Count = 65536,
        ensure_neg: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.head = build_part(HEADS, head)
        self.memory_bank = build_part(MEMORIES, memory_bank)
        if ensure_neg and len(self.memory_bank) < 2:
            raise ConfigError(
                f'NPID ensure_neg=True with a memory_bank of length={len(self.memory_bank)}: '
                'there must be a negative to draw.'
            )
        self.neg_num, self.ensure_neg = neg_num, ensure_neg

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """The bank has one entry per image; entries beyond that stay random and would be most of the negatives."""
        length = len(self.memory_bank)
        if length != images:
            raise ConfigError(
                f'model.memory_bank.length={length}, but there are {images} training images: set it to {images}.'
            )
        if self.neg_num > length:
            warnings.warn(
                f'model.neg_num={self.neg_num} negatives per image are drawn from a memory_bank of {length}, so each comes '
                f'{self.neg_num / length:.3g} times on average: set model.neg_num={length} or less.',
                SelfSupWarning,
                stacklevel=2,
            )

    def loss(self, img: Tensor, idx: Tensor) -> Step:
        """Cross entropy of the own entry of the bank against the drawn ones.

        Args:
            img: (B, C, H, W).
            idx: (B,) int64, number of each image, in [0, N).

        Raises:
            ShapeError: the bank is shorter than the data set, or its features are not as long as the neck's.
        """
        bank = self.memory_bank.feature_bank  # (N, D)
        f = l2_normalize(self.neck(self.extract(img)))  # (B, D)
        self._check(f, idx, bank)
        sim = similarity(f, bank.T)  # (B, N): cheaper in memory than B * K gathered rows of D numbers
        out = self.head(pos=sim.gather(1, idx[:, None]), neg=sim.gather(1, self.draw_negatives(idx)))
        return Step(
            {'loss': out['loss']}, {'acc': out['acc']}, embedding=f.detach(), carry={'idx': idx, 'features': f.detach()}
        )

    def draw_negatives(self, idx: Tensor) -> Tensor:
        """(B, K) int64 numbers in [0, N), uniform; with `ensure_neg` over all numbers but the image's own."""
        draws = torch.randint(len(self.memory_bank) - self.ensure_neg, (len(idx), self.neg_num), device=idx.device)
        return draws + (draws >= idx[:, None]) if self.ensure_neg else draws

    @staticmethod
    def _check(f: Tensor, idx: Tensor, bank: Tensor) -> None:
        if f.shape[1] != bank.shape[1]:
            raise ShapeError(
                f'The memory_bank of NPID has feat_dim={bank.shape[1]}, but its neck gives {f.shape[1]} numbers: '
                'make them equal.'
            )
        if not idx.is_cuda and int(idx.max()) >= len(bank):  # on a GPU the question would make the host wait
            raise ShapeError(
                f'The memory_bank of NPID has length={len(bank)}, but the data set holds an image number {int(idx.max())}: '
                'set length to the number of training images.'
            )

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The embeddings of all processes enter the bank."""
        for carry in carries:
            self.memory_bank.update(
                distributed.gather_no_grad(carry['idx']), distributed.gather_no_grad(carry['features'])
            )
