"""Necks: the last map of a backbone in, one vector per image out. Importing this registers them.

Every projection takes a tuple of maps, one map (B, C, H, W) or vectors (B, C), and has `init_weights(init_linear)`. The parts of masked
autoencoders between backbone and head are registered here too: `SparKNeck`, `LightDecoder`, `ConvNeXtV2Decoder`; maps in, maps out.
So are `FPN`, the pyramid of detectors, and `DenseCLNeck`, which gives a vector and a map.
"""

from .avg_pool import AvgPoolNeck
from .convnext_v2_decoder import ConvNeXtV2Decoder
from .dense_cl import DenseCLNeck
from .dino import DINONeck
from .fpn import FPN
from .light_decoder import LightDecoder
from .linear import LinearNeck
from .mlp import MLPNeck
from .nonlinear import NonLinearNeckSimCLR, NonLinearNeckV0, NonLinearNeckV1, NonLinearNeckV2
from .relative_loc import RelativeLocNeck
from .spark import SparKNeck

__all__ = [
    'FPN',
    'AvgPoolNeck',
    'ConvNeXtV2Decoder',
    'DINONeck',
    'DenseCLNeck',
    'LightDecoder',
    'LinearNeck',
    'MLPNeck',
    'NonLinearNeckSimCLR',
    'NonLinearNeckV0',
    'NonLinearNeckV1',
    'NonLinearNeckV2',
    'RelativeLocNeck',
    'SparKNeck',
]
