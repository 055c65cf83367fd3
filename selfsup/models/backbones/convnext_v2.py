"""ConvNeXt V2 (Woo et al. 2023, arXiv:2301.00808, section 3.2, table 10): GRN instead of layer scale.

State dicts have the official names of the dense model: those of `ConvNeXt`, with `grn.{gamma,beta}` (1, 1, 1, 4 C) and without `gamma`.
"""

from __future__ import annotations

from typing import Any, Literal

from ...registry import BACKBONES
from .convnext import Arch, ConvNeXt


@BACKBONES.register_module()
class ConvNeXtV2(ConvNeXt):
    """ConvNeXt V2 that returns the maps of chosen stages.

    Args:
        arch: see `ConvNeXt`; the paper's are 'atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large' and 'huge'.
        grn_scope: over what the GRN layers take their norms, see `GRN`: 'image', or 'batch' as the authors' pretraining
            code. (For none, take `ConvNeXt`.)
        layer_scale_init_value: None: V2 has no layer scale.
        **kwargs: those of `ConvNeXt`.

    Raises:
        ConfigError: another `grn_scope`, or what `ConvNeXt` refuses.
    """

    def __init__(
        self,
        arch: Arch = None,
        grn_scope: Literal['image', 'batch'] = 'image',
        layer_scale_init_value: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(arch, grn_scope=grn_scope, layer_scale_init_value=layer_scale_init_value, **kwargs)
