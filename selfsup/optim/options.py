"""What may be said of groups of parameters, key by key. Without torch, so that a config can be checked before it is imported."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from annotated_types import Interval

from ..arguments import Whole
from ..hints import NotNegative

Momentum = Annotated[float, Interval(ge=0, lt=1)]  # share of the older gradients that is kept


class ParamwiseOptions(TypedDict, total=False):
    """Options of the parameters that one pattern of `paramwise_options` finds."""

    lr: NotNegative
    lr_mult: NotNegative
    momentum: Momentum
    momentum_mult: NotNegative
    weight_decay: NotNegative
    weight_decay_mult: NotNegative
    lars_exclude: bool
    max_ndim: Whole


class _Rate(TypedDict):
    rate: Annotated[float, Interval(gt=0, le=1)]


class LayerDecay(_Rate, total=False):
    """Learning rates that shrink from layer to layer, see `layer_decay.lr_scales`."""

    groups: Literal['single', 'group', 'spark']
