"""ODC: online deep clustering.

Zhan et al. 2020, arXiv 2006.10645, section 3, algorithm 1.

Axes: B images per process, N images in the training set, K clusters, D numbers per feature.

`DeepClusterHook` starts the memory from one clustering; `ODCHook` renews centroids, dissolves small clusters and calls
`set_reweight`. Differences from OpenSelfSup: memory, weights and labels are in the state dict, so a resumed run goes on with
them; with weights, W processes have exactly the loss of one process with the joined batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .... import distributed
from ....contracts import Progress
from ....errors import ConfigError, ShapeError
from ....registry import BACKBONES, HEADS, MEMORIES, MODELS, NECKS
from ...layers.functional import class_weights, l2_normalize
from ...layers.sobel import Sobel
from ..base import Algorithm, Backbone, Head, Memory, Neck, Step, build_part, init_neck


@MODELS.register_module()
class ODC(Algorithm):
    """A classifier of labels that a memory keeps and changes with every step.

    Args:
        backbone: config of a backbone, or a module; `in_channels=2` with `with_sobel`.
        neck: config of the projection, `NonLinearNeckV0`.
        head: config of a `ClsHead` with one class per cluster.
        memory_bank: config of an `ODCMemory`; its docstring says what a memory costs.
        with_sobel: the backbone sees edges.

    Raises:
        ConfigError: head and memory differ in `num_classes`.
    """

    dataset = 'DeepClusterDataset'
    loss_weight: Tensor  # (K,), of each cluster
    change_ratio: Tensor  # share of the images whose label the latest update changed, to log

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: Head,
        memory_bank: Memory,
        with_sobel: bool = False,
    ) -> None:
        super().__init__()
        self.sobel = Sobel() if with_sobel else nn.Identity()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.head = build_part(HEADS, head)
        self.memory_bank = build_part(MEMORIES, memory_bank)
        clusters = self.memory_bank.num_classes
        if self.head.num_classes != clusters:
            raise ConfigError(
                f'ODC: num_classes={self.head.num_classes} of the head and {clusters} of the memory_bank must be equal.'
            )
        self.register_buffer('loss_weight', torch.ones(clusters))
        self.register_buffer('change_ratio', torch.zeros(()))
        self._ready = False  # the memory was seen to be initialised: asked once, because asking makes a GPU wait

    def extract(self, img: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone for images (B, C, H, W), or for their edges."""
        return self.backbone(self.sobel(self.single_view(img)))

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """The memory has one entry per image."""
        if len(self.memory_bank) != images:
            raise ConfigError(
                f'model.memory_bank.length={len(self.memory_bank)}, but there are {images} training images: set it to '
                f'{images}.'
            )

    def trial(self, batch: dict[str, Tensor]) -> None:
        """As `loss`, without labels: before training there are none."""
        self.head(self.embed(batch['img']))

    def embed(self, img: Tensor) -> Tensor:
        """(B, D): output of the neck for the last map, what is clustered."""
        return self.neck(self.extract(img)).flatten(1)

    def loss(self, img: Tensor, idx: Tensor, pseudo_label: Tensor | None = None) -> Step:
        """Cross entropy with the labels in memory, weighted by cluster.

        Args:
            img: (B, C, H, W).
            idx: (B,) int64, number of each image, in [0, N).
            pseudo_label: not read, the memory has newer ones; `DeepClusterDataset` gives it.

        Raises:
            ConfigError: nothing has initialised the memory.
            ShapeError: the memory is shorter than the data set.
        """
        self._check(idx)
        labels = self.memory_bank.label_bank[idx]
        z = self.embed(img)
        unit = l2_normalize(z.detach())
        weight = self.loss_weight[labels]
        out = self.head.loss(self.head(z), labels, weight / distributed.mean(weight.mean()))
        logs = {'acc': out['acc'], 'change_ratio': self.change_ratio.clone()}
        return Step({'loss': out['loss']}, logs, embedding=unit, carry={'idx': idx, 'features': unit})

    def _check(self, idx: Tensor) -> None:
        if not self._ready and not bool(self.memory_bank.initialized):
            raise ConfigError(
                "The memory of ODC is empty: add custom_hooks=[dict(type='DeepClusterHook', init_memory=True, initial=True, "
                '...)], which starts it from a clustering.'
            )
        self._ready = True
        if not idx.is_cuda and int(idx.max()) >= len(self.memory_bank):  # on a GPU this would make the host wait
            raise ShapeError(
                f'The memory_bank of ODC has length={len(self.memory_bank)}, but the data set holds an image number '
                f'{int(idx.max())}: set length to the number of training images.'
            )

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The features of all processes enter the memory and may change labels (algorithm 1, step 3)."""
        changed = [
            self.memory_bank.update_samples(
                distributed.gather_no_grad(c['idx']), distributed.gather_no_grad(c['features'])
            )
            for c in carries
        ]
        self.change_ratio.copy_(torch.stack(changed).mean())

    def set_reweight(self, labels: Tensor | None = None, reweight_pow: float = 0.5) -> None:
        """Weight each cluster by its size to the power `-reweight_pow`.

        Args:
            labels: (N,) int64, of the whole data set; None takes those in memory.
            reweight_pow: 0 is no weighting, 1 gives all clusters the same total weight; 0.5 in the paper.
        """
        labels = torch.as_tensor(
            self.memory_bank.label_bank if labels is None else labels, device=self.loss_weight.device
        )
        self.loss_weight.copy_(class_weights(labels, len(self.loss_weight), reweight_pow, eps=1e-5))

    def predict(self, img: Tensor) -> dict[str, Tensor]:
        """Logits `{'head0': (B, K)}` of the clusters."""
        return self.head(self.embed(img))
