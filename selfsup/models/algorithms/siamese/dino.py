"""DINO: self-distillation without labels.

Caron et al. 2021, arXiv:2104.14294: equations 1 to 3 (loss), 4 (centre), section 3.1 (multi-crop, momentum of the teacher).

Axes: B images per process, V views, of which the teacher sees the A of the first size, K outputs of the neck.

Differences from the official code: the weight-normed layer computes in float32 under autocast; the centre moves after the optimizer step,
so once per step with gradient accumulation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .... import distributed
from ....arguments import Positive, Share, Whole
from ....contracts import Progress
from ....errors import ConfigError
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import full_precision, l2_normalize
from ...layers.momentum import cosine_momentum, momentum_copy, momentum_update
from ..base import Algorithm, Backbone, Neck, Step, build_part
from ..views import pooled_views, swapped_cross_entropy


@torch.no_grad()
def teacher_targets(logits: Tensor, centre: Tensor, temperature: Tensor | float) -> Tensor:
    """Centred and sharpened probabilities (..., K) of the teacher's logits (..., K), in float32 (float64 stays)."""
    with torch.autocast(logits.device.type, enabled=False):
        return ((full_precision(logits) - centre) / temperature).softmax(dim=-1)


@MODELS.register_module()
class DINO(Algorithm):
    """The student predicts, from any crop, what its moving average makes of the large crops of the same image.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of a `DINONeck`; the method needs its `out_channels`.
        student_temp: temperature of the student.
        teacher_temp: temperature of the teacher after the warm-up; above 0.07 unstable.
        warmup_teacher_temp: its temperature in the first epoch.
        warmup_teacher_temp_epochs: epochs in which it rises, by equal steps; 0 is none.
        centre_momentum: share of the OLD centre kept in each update, in [0, 1].
        base_momentum: share of the OLD teacher kept at the start of training; 0.996, for small batches 0.9995.
        end_momentum: the same at its end, reached along a cosine. Both in [0, 1].
    """

    dataset = 'MultiViewDataset'
    centre: Tensor  # (K,), mean output of the teacher
    teacher_temp: Tensor  # of the next forward pass
    momentum: Tensor  # of the latest update, to log
    momentum_copies = (('backbone', 'target_backbone'), ('neck', 'target_neck'))

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        student_temp: Positive = 0.1,
        teacher_temp: Positive = 0.04,
        warmup_teacher_temp: Positive = 0.04,
        warmup_teacher_temp_epochs: Whole = 0,
        centre_momentum: Share = 0.9,
        base_momentum: Share = 0.996,
        end_momentum: Share = 1.0,
    ) -> None:
        super().__init__()
        self.backbone, self.neck = build_part(BACKBONES, backbone), build_part(NECKS, neck)
        width = getattr(self.neck, 'out_channels', None)
        if width is None:
            raise ConfigError(
                f'DINO asks its neck for out_channels, and {type(self.neck).__name__} has none: use DINONeck.'
            )
        self.target_backbone, self.target_neck = momentum_copy(self.backbone), momentum_copy(self.neck)
        self.student_temp, self.centre_momentum = student_temp, centre_momentum
        self.temps = (warmup_teacher_temp, teacher_temp, warmup_teacher_temp_epochs)
        self.base_momentum, self.end_momentum = base_momentum, end_momentum
        self.register_buffer('centre', torch.zeros(width))
        self.register_buffer('teacher_temp', torch.tensor(float(self.teacher_temp_at(0))))
        self.register_buffer('momentum', torch.tensor(float(base_momentum)))

    def loss(self, img: Tensor | Sequence[Tensor]) -> Step:
        """Cross entropy of teacher and student, over all pairs of a crop of the teacher and another; ln K for uniform outputs.

        Args:
            img: (B, V, C, H, W), or a list of such, one per size of views: the teacher sees the first, the student all.

        Raises:
            ShapeError: there is one view only.
        """
        groups = self.view_groups(img, least=2)
        features = pooled_views(self.backbone, groups)  # (V, B, C)
        student = self.neck(features.flatten(0, 1)).unflatten(0, features.shape[:2])  # (V, B, K)
        with torch.no_grad():
            seen = pooled_views(self.target_backbone, groups[:1])
            teacher = full_precision(self.target_neck(seen.flatten(0, 1))).unflatten(0, seen.shape[:2])  # (A, B, K)
        targets = teacher_targets(teacher, self.centre, self.teacher_temp)
        loss = swapped_cross_entropy(targets, full_precision(student) / self.student_temp)
        entropy = torch.special.entr(targets).sum(dim=-1).mean()
        logs = {
            'entropy': entropy,
            'kl': loss.detach() - entropy,
            'teacher_temp': self.teacher_temp.clone(),
            'momentum': self.momentum.clone(),
        }
        carry = {'teacher': teacher.mean(dim=(0, 1))}
        return Step({'loss': loss}, logs, embedding=l2_normalize(features[0].detach()), carry=carry)

    def teacher_temp_at(self, epoch: int) -> float:
        """Temperature of the teacher in `epoch`, from 0."""
        start, end, epochs = self.temps
        return end if epoch >= epochs else start + (end - start) * epoch / max(1, epochs - 1)

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The teacher follows; the centre moves by the mean over micro-batches and processes; the temperature of the next pass is set."""
        momentum = cosine_momentum(self.base_momentum, self.end_momentum, progress)
        self.momentum.fill_(momentum)
        momentum_update(self.target_backbone, self.backbone, momentum)
        momentum_update(self.target_neck, self.neck, momentum)
        mean = torch.stack([carry['teacher'] for carry in carries]).mean(dim=0)
        self.centre.lerp_(distributed.mean(mean).to(self.centre.dtype), 1 - self.centre_momentum)
        epoch = progress.next.epoch if self.temps[2] else 0
        self.teacher_temp.fill_(
            self.teacher_temp_at(epoch)
        )  # a constant one too: a checkpoint may have brought another
