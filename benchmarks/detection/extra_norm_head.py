"""The C4 head of MoCo's detectors (arXiv:1911.05722, section 4.2): a norm after res5, as its output is not normalised otherwise.

Importing this needs detectron2 and registers `MODEL.ROI_HEADS.NAME: Res5ROIHeadsExtraNorm`.
"""

from __future__ import annotations

from typing import Any

from detectron2.layers import get_norm
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, Res5ROIHeads


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeads):
    """`Res5ROIHeads` whose res5 ends in a norm of the kind MODEL.RESNETS.NORM."""

    @classmethod
    def _build_res5_block(cls, cfg: Any) -> tuple[Any, int]:
        stage, channels = super()._build_res5_block(cfg)
        stage.add_module('norm', get_norm(cfg.MODEL.RESNETS.NORM, channels))
        return stage, channels
