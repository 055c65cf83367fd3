"""Weights of other code, recognised by their names, under the names of the model that is to take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import convnext, fcmae, spark
from .families import family, in_our_names

CLASSIFIER = (
    'fc.',
    'head.',
    'norm.',
    'classifier.',
    'linear.',
)  # beginnings in ResNet, ConvNeXt, timm, torchvision, lightly
OUTSIDE = 'no part of the backbone'
_DENSE_NORM = re.compile(
    r'norm\d\.'
)  # of one map each, in the copies of ConvNeXt and SLaK for detection and segmentation


@dataclass(frozen=True)
class Incoming:
    """Weights under our names.

    Attributes:
        weights: name -> tensor.
        origin: what the file was recognised as; '' for ours.
        unused: name (ours, where the file had another) -> why it is left out of `weights`.
        spare: names in the model that a file may lack without loss, as nothing reads them.
    """

    weights: dict[str, Tensor]
    origin: str = ''
    unused: dict[str, str] = field(default_factory=dict)
    spare: frozenset[str] = frozenset()


def translate(weights: Mapping[str, Tensor]) -> Incoming:
    """Names of official training files under ours: `backbone.*` and the other parts. Other names stay.

    Args:
        weights: name -> tensor, without a frame around them.
    """
    if spark.is_official(weights):
        constants = {name: 'a constant of the official code' for name in spark.CONSTANTS if name in weights}
        return Incoming(spark.to_ours(weights), spark.ORIGIN, constants)
    if fcmae.is_official(weights):
        return Incoming(fcmae.to_ours(weights), fcmae.ORIGIN)
    return Incoming(dict(weights))


def for_backbone(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Incoming:
    """What a backbone takes of the weights of a backbone, in the spelling of the names that it has.

    Args:
        weights: name -> tensor, as `find_backbone` finds them.
        own: the backbone's state dict.
    """
    fitted = _fit(dict(weights), own)
    left = {name: reason for name in fitted if name not in own and (reason := _needless(name.removeprefix('model.')))}
    return Incoming({name: value for name, value in fitted.items() if name not in left}, '', left, _spare(own))


def _needless(name: str) -> str:
    """Why a backbone can do without a tensor; '' where it cannot."""
    if _DENSE_NORM.match(name):
        return 'a norm for a dense task, which the backbone does not have'
    return 'a classifier, which the backbone does not have' if name.startswith(CLASSIFIER) else ''


def for_model(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Incoming:
    """What a whole model takes from a file.

    Args:
        weights: name -> tensor, without a frame around them.
        own: the model's state dict.
    """
    found = translate(weights)
    backbone = {
        name[len('backbone.') :]: value for name, value in found.weights.items() if name.startswith('backbone.')
    }
    if not backbone:
        return found
    fitted = _fit(
        backbone, {name[len('backbone.') :]: value for name, value in own.items() if name.startswith('backbone.')}
    )
    rest = {name: value for name, value in found.weights.items() if not name.startswith('backbone.')}
    return Incoming(
        {**{f'backbone.{name}': value for name, value in fitted.items()}, **rest},
        found.origin,
        found.unused,
        _spare(own, 'backbone.'),
    )


def _spare(own: Mapping[str, Tensor], prefix: str = '') -> frozenset[str]:
    """What timm models keep of a classifier that was not asked for, such as the norm of a ConvNeXt's."""
    return frozenset(name for name in own if name.startswith((f'{prefix}model.head.', f'{prefix}model.fc.')))


def _fit(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The spelling of the names that most of `own` has: as given, ours, timm's of a ConvNeXt, each with or without `model.`."""
    spellings = [weights, {name.removeprefix('model.'): value for name, value in weights.items()}]
    if family(weights):
        spellings.append(in_our_names(weights))
    if convnext.is_official(spellings[-1]):
        spellings.append(convnext.to_timm(spellings[-1]))
    spellings += [{f'model.{name}': value for name, value in names.items()} for names in spellings[1:]]
    best = max(spellings, key=lambda names: sum(name in own for name in names))
    return {name: _reshaped(value, own.get(name)) for name, value in best.items()}


def _reshaped(value: Tensor, own: Tensor | None) -> Tensor:
    """`value` in the shape of `own` where the two differ in axes of length 1 only, such as a 1x1 convolution and a linear layer."""
    if (
        own is None
        or value.shape == own.shape
        or [n for n in value.shape if n != 1] != [n for n in own.shape if n != 1]
    ):
        return value
    return value.reshape(own.shape)


def convertible(value: Tensor, own: Tensor) -> bool:
    """True where copying `value` into `own` does not change what the numbers mean: floats stay floats, of any size, counters counters."""
    if value.is_complex() or (value.dtype is torch.bool) != (own.dtype is torch.bool):
        return value.dtype == own.dtype
    if value.is_floating_point() and not own.is_floating_point():
        return bool((value == value.trunc()).all())  # counters that an average has turned into floats
    return value.is_floating_point() == own.is_floating_point()
