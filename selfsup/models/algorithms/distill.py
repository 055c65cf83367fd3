"""Distillation of frozen teachers into any network: its features become theirs, without labels.

Losses: AM-RADIO, Ranzinger et al. 2024, arXiv:2312.06709, section 3.2 (vectors, maps, several teachers). The same view for both: Beyer et
al. 2022, arXiv:2106.05237.

Axes: B images per process, C channels of the student's map, D numbers of a teacher's vector or place, h and w of a teacher's map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Len
from torch import Tensor, nn

from ...arguments import Count, Part, Share
from ...contracts import Views
from ...errors import ConfigError
from ...registry import BACKBONES, MODELS, NECKS, TEACHERS
from ..layers.functional import full_precision, l2_normalize
from ..layers.pooling import global_average
from ..teachers import Answer, StoredAnswers, Teacher
from ..teachers.view import Normalization, check_lengths, numbers_of
from .base import Algorithm, Backbone, Step, build_part
from .views import once_per_size, view_major


@MODELS.register_module()
class Distill(Algorithm):
    """The student's pooled features learn the vector of each teacher, its map the teacher's map, through projections that are thrown away.

    Args:
        backbone: config of the student.
        teachers: configs of the teachers, each with the weights of its losses.
        img_norm_cfg: mean and std with which the data pipeline normalises; each teacher gets its own.
        cosine: share of 1 - cosine in the loss on maps; the rest is smooth L1.
        in_channels: channels C of the student's last map, where the backbone does not say it.
        cache: folder that keeps the answers of the teachers from epoch to epoch and run to run; for pipelines without random steps, and
            a dataset that numbers its images (NPIDDataset).

    Raises:
        ConfigError: the backbone does not say its channels, or mean and std of `img_norm_cfg` are of other channels.
    """

    dataset = 'ExtractDataset'

    def __init__(
        self,
        backbone: Backbone,
        teachers: Annotated[Sequence[Annotated[dict | Teacher, Part(TEACHERS)]], Len(1)],
        img_norm_cfg: Normalization,
        cosine: Share = 0.9,
        in_channels: Count | None = None,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        check_lengths(img_norm_cfg, 'Distill img_norm_cfg')
        self.backbone = build_part(BACKBONES, backbone)
        channels = in_channels or getattr(self.backbone, 'out_channels', None)
        if channels is None:
            raise ConfigError(f'{type(self.backbone).__name__} does not say its out_channels: set model.in_channels.')
        # No modules: neither parameters nor state, see `selfsup/models/teachers`.
        self.teachers: list[Teacher] = [TEACHERS.build(one) if isinstance(one, dict) else one for one in teachers]
        self.summary_projections = nn.ModuleList(
            projection(one, channels, one.summary_channels) if one.summary else nn.Identity() for one in self.teachers
        )
        self.feature_projections = nn.ModuleList(
            projection(one, channels, one.map_channels) if one.features else nn.Identity() for one in self.teachers
        )
        self.img_norm_cfg, self.cosine, self.cache = img_norm_cfg, cosine, cache
        self._views: Views | None = None
        self._stored: dict[tuple[int, str], StoredAnswers] = {}

    def loss(self, img: Tensor | Sequence[Tensor], idx: Tensor | None = None) -> Step:
        """Weighted sum over teachers of the losses on the vector and on the map; each lies in [0, 2] while it is a cosine.

        Args:
            img: (B, C, H, W), or views of images (B, V, C, H, W), or a list of such, one per size: the mean over all views.
            idx: (B,) numbers of the images; `cache` needs them.
        """
        groups = [img.unsqueeze(1)] if isinstance(img, Tensor) and img.dim() == 4 else self.view_groups(img)
        maps = [found[-1] for found in once_per_size(self.backbone, groups)]
        total = sum(len(one) for one in maps)
        losses: dict[str, Tensor] = {}
        logs: dict[str, Tensor] = {}
        for number, teacher in enumerate(self.teachers):
            name = f'_{number}' if len(self.teachers) > 1 else ''
            for group, student in zip(groups, maps, strict=True):
                share = len(student) / total
                answer = self.answer(number, view_major(group), idx)
                if teacher.summary:
                    z = self.summary_projections[number](global_average(student))
                    loss = SUMMARY_LOSSES[teacher.summary_loss](z, answer.summary)
                    _add(losses, f'loss_summary{name}', teacher.summary * share * loss)
                    _add(logs, f'cosine{name}', share * (1 - cosine_loss(z.detach(), answer.summary)))
                if teacher.features and answer.maps is not None:
                    places = project_map(self.feature_projections[number], student, answer.maps.shape[-2:])
                    loss = feature_loss(places, answer.maps.permute(0, 2, 3, 1), self.cosine)
                    _add(losses, f'loss_features{name}', teacher.features * share * loss)
        first = global_average(maps[0])[: len(groups[0])]
        return Step(losses, logs, embedding=l2_normalize(first.detach()))

    def answer(self, number: int, img: Tensor, idx: Tensor | None = None) -> Answer:
        """What teacher `number` says of images (B, C, H, W), as the data pipeline gives them; from the cache where it is there.

        Raises:
            ConfigError: `cache` without what it needs.
        """
        teacher = self.teachers[number]
        stored = self._answers_of(number, img, idx)
        if stored is None or idx is None:
            return teacher(img, self.img_norm_cfg, is_channels_last(self.backbone))
        found = stored.load(idx, img)
        if found is None:
            found = stored.save(idx, teacher(img, self.img_norm_cfg, is_channels_last(self.backbone)))
        return found

    def _answers_of(self, number: int, img: Tensor, idx: Tensor | None) -> StoredAnswers | None:
        if self.cache is None:
            return None
        if idx is None or len(idx) != len(img):
            raise ConfigError('model.cache needs one view per image and the number of each image: use NPIDDataset.')
        if self._views is None:
            raise ConfigError(
                'model.cache needs to know the images: call use_views before the first step, as a run does.'
            )
        teacher = self.teachers[number]
        half = str(teacher.half(img.device) or img.dtype)
        if (number, half) not in self._stored:
            key = {
                'teacher': f'{teacher.name} {teacher.digest}',
                'views': self._views.digest,
                'size': teacher.size_for(*img.shape[-2:]),
                'normalization': numbers_of(teacher.normalization),
                'img_norm_cfg': numbers_of(self.img_norm_cfg),
                'maps': bool(teacher.features),
                'precision': half,
            }
            self._stored[number, half] = StoredAnswers(self.cache, key, self._views.images)
        return self._stored[number, half]

    def use_views(self, describe: Callable[[], Views]) -> None:
        """Learn which images the run has, for the cache.

        Raises:
            ConfigError: their views change from epoch to epoch.
        """
        if self.cache is None:
            return
        self._views = describe()
        if self._views.random:
            raise ConfigError(
                f'model.cache keeps answers for views that never change, but data.train draws at random: {", ".join(self._views.random)}. '
                'Leave model.cache out, or use fixed steps such as Resize and CenterCrop.'
            )

    def check_normalization(self, found: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        """Teachers would be shown shifted images if `img_norm_cfg` were not what normalises them.

        Raises:
            ConfigError: it is not.
        """
        told = [[round(x, 4) for x in values] for values in numbers_of(self.img_norm_cfg)]
        for values in found:
            mean, std = ([round(x, 4) for x in numbers] for numbers in values)
            if [mean, std] != told:
                raise ConfigError(
                    f'model.img_norm_cfg has mean={told[0]}, std={told[1]}, but data.train normalises with mean={mean}, std={std}: '
                    'the teachers would see shifted images. Give both the same.'
                )

    def frozen_networks(self) -> list[str]:
        """Name and digest of the teachers: checkpoints hold these, and not their weights."""
        return [f'{teacher.name} {teacher.digest}' for teacher in self.teachers]


def projection(teacher: Teacher, channels: int, out_channels: int) -> nn.Module:
    """From the student's features to those of a teacher, as it asks for it."""
    mlp: dict[str, Any] = {'num_layers': 2, 'norm': 'LN', 'activation': 'gelu', 'bias': True}
    return NECKS.build(
        {
            'type': 'MLPNeck',
            'in_channels': channels,
            'hid_channels': teacher.hid_channels or out_channels,
            'out_channels': out_channels,
            'with_avg_pool': False,
            **(mlp if teacher.projection == 'mlp' else {'num_layers': 1}),
        }
    )


def project_map(neck: nn.Module, student: Tensor, size: Sequence[int]) -> Tensor:
    """The student's map (B, C, H, W), resized bilinearly to the teacher's (h, w) and projected place by place: (B, h, w, D)."""
    if tuple(student.shape[-2:]) != tuple(size):
        with torch.autocast(student.device.type, enabled=False):
            student = F.interpolate(full_precision(student), tuple(size), mode='bilinear', align_corners=False)
    places = student.permute(0, 2, 3, 1)
    return neck(places.flatten(0, 2)).unflatten(0, places.shape[:3])


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine over the last axis, its mean over all others; in [0, 2], in full precision.

    Args:
        student: (..., D).
        teacher: likewise.
    """
    with torch.autocast(student.device.type, enabled=False):
        return 1 - F.cosine_similarity(full_precision(student), full_precision(teacher), dim=-1, eps=1e-12).mean()


def smooth_l1_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean smooth L1 with beta 1, in full precision."""
    with torch.autocast(student.device.type, enabled=False):
        return F.smooth_l1_loss(full_precision(student), full_precision(teacher))


def feature_loss(student: Tensor, teacher: Tensor, cosine: float = 0.9) -> Tensor:
    """cosine * (1 - cos) + (1 - cosine) * smooth L1 of maps (B, h, w, D); AM-RADIO has 0.9 and 0.1."""
    loss = cosine * cosine_loss(student, teacher) if cosine else 0.0
    return loss + (1 - cosine) * smooth_l1_loss(student, teacher) if cosine < 1 else torch.as_tensor(loss)


SUMMARY_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {'cosine': cosine_loss, 'smooth_l1': smooth_l1_loss}


def is_channels_last(network: nn.Module) -> bool:
    """Whether the filters of a network lie in NHWC memory."""
    filters = (p for p in network.parameters() if p.dim() == 4 and not p.is_contiguous())
    return any(p.is_contiguous(memory_format=torch.channels_last) for p in filters)


def _add(values: dict[str, Tensor], name: str, value: Tensor) -> None:
    values[name] = values[name] + value if name in values else value
