"""Necks: the last map of a backbone in, one vector per image out. Importing this registers them.

Every neck takes a tuple of maps, one map (B, C, H, W) or vectors (B, C), and has `init_weights(init_linear)`.
"""

from .avg_pool import AvgPoolNeck
from .linear import LinearNeck
from .nonlinear import NonLinearNeckSimCLR, NonLinearNeckV0, NonLinearNeckV1, NonLinearNeckV2
from .relative_loc import RelativeLocNeck

__all__ = ['AvgPoolNeck', 'LinearNeck', 'NonLinearNeckSimCLR', 'NonLinearNeckV0', 'NonLinearNeckV1', 'NonLinearNeckV2',
           'RelativeLocNeck']
