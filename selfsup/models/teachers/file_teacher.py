"""Teachers from files of weights: what was trained here, or anything that `--pretrained` reads."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ...arguments import Part
from ...errors import CheckpointError
from ...registry import BACKBONES, TEACHERS
from ...weights.convert import load_network
from ..backbones.timm_backbone import TIMMBackbone
from ..layers.pooling import global_average
from .teacher import Answer, Teacher
from .timm_teacher import TokenNetwork, has_class_token, sizes_of


class BackboneNetwork(nn.Module):
    """A backbone of ours: its last map, and the mean of it over places."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Answer:
        """(B, C, H, W) -> vector (B, D), map (B, D, h, w)."""
        maps = self.backbone(x)
        return Answer(global_average(maps), maps[-1])


@TEACHERS.register_module()
class FileTeacher(Teacher):
    """The backbone in a file of weights: a checkpoint of a run, an extracted backbone, a state dict of timm's or torchvision's names.

    The vector is the average of the last map; of a vision transformer of timm (`backbone`) it is the class token. Files say nothing of mean
    and std: without them, those of ImageNet count.

    Args:
        file: the weights; of a run's checkpoint its backbone.
        backbone: config of the network; None: it is told from the weights (ResNet, ConvNeXt, ConvNeXt V2, SLaK).
        average: take the moving average of a run (EMAHook) instead of the weights.
        **kwargs: see `Teacher`.

    Raises:
        CheckpointError: the file cannot be read, or does not hold such a network.
    """

    def __init__(
        self,
        file: str,
        backbone: Annotated[dict | None, Part(BACKBONES)] = None,
        average: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        try:
            with torch.random.fork_rng(devices=[]):
                found = load_network(file, backbone, average, classifier=False).backbone
        except CheckpointError as error:
            raise CheckpointError(
                f'{error} In a teacher that config is backbone=dict(type=...); the bare weights of a timm model are '
                "dict(type='TIMMTeacher', model_name=..., file=...)."
            ) from None
        network: nn.Module = BackboneNetwork(found)
        sizes: dict[str, Any] = {}
        if isinstance(found, TIMMBackbone):
            sizes = sizes_of(found)
            network = TokenNetwork(found) if has_class_token(found) and found.out_indices is None else network
        self.start(network, name=f'{type(found).__name__} of a file', **sizes)
