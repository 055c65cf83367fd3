"""What may be said of groups of parameters, key by key. Without torch, so that a config can be checked before it is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypedDict

from annotated_types import Interval

from ..arguments import Count, Whole
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
    constant_lr: bool


class _Rate(TypedDict):
    rate: Annotated[float, Interval(gt=0, le=1)]


class LayerDecay(_Rate, total=False):
    """Learning rates that shrink from layer to layer, see `layer_decay.lr_scales`."""

    groups: Literal['single', 'group', 'spark']


class _Pattern(TypedDict):
    parameters: str


class Freeze(_Pattern, total=False):
    """Parameters that stay as they are for the first iterations or epochs."""

    iters: Count
    epochs: Count


def freeze_problems(rule: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a `Freeze` as a whole."""
    if ('iters' in rule) == ('epochs' in rule):
        yield f'needs one of iters and epochs; {"both are" if "iters" in rule else "neither is"} given.'
    try:
        re.compile(rule['parameters'])
    except re.error as error:
        yield f'has parameters={rule["parameters"]!r}, which is no regular expression: {error}.'
