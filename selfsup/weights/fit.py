"""Bring weights into the names and shapes that a module has, and say how the two match."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .families import Named, recognise
from .layouts import translate

# beginnings of a classifier's names in a backbone: ResNet, ConvNeXt, timm, torchvision, lightly
CLASSIFIER = ('fc.', 'head.', 'norm.', 'classifier.', 'linear.')
RGB = 3
_DENSE_NORM = re.compile(r'norm\d\.')  # of one map each, in copies of networks for detection and segmentation


@dataclass(frozen=True)
class Fitted:
    """Weights under the names of the module that is to take them.

    Attributes:
        weights: name -> tensor.
        origin: what the file was recognised as; '' for ours.
        unused: why tensors of the file are left out of `weights`, by their names in the module, or in the file if the module has no such
            tensor.
        unread: names in the module whose values nothing reads, so that a file may lack them without loss.
        note: what was done to the values, such as `for_channels`; '' for nothing.
    """

    weights: dict[str, Tensor]
    origin: str = ''
    unused: dict[str, str] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    note: str = ''


@dataclass(frozen=True)
class Match:
    """Weights held against the state dict of a module.

    Attributes:
        shared: names on both sides.
        missing: names in the module alone.
        extra: names in the weights alone.
        shapes: name -> shape in the file and in the module, where they differ.
        dtypes: name -> type of numbers in the file and in the module, where copying would change what they mean.
    """

    shared: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    shapes: dict[str, tuple[Any, Any]]
    dtypes: dict[str, tuple[Any, Any]]


def match(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Match:
    """How `weights` match the state dict `state` of a module."""
    shared = tuple(name for name in weights if name in state)
    return Match(
        shared,
        tuple(name for name in state if name not in weights),
        tuple(name for name in weights if name not in state),
        {n: (tuple(weights[n].shape), tuple(state[n].shape)) for n in shared if weights[n].shape != state[n].shape},
        {n: (weights[n].dtype, state[n].dtype) for n in shared if not convertible(weights[n], state[n])},
    )


def convertible(value: Tensor, target: Tensor) -> bool:
    """True where copying `value` into `target` does not change what the numbers mean: floats of any size stay floats, counters counters."""
    if value.is_complex() or (value.dtype is torch.bool) != (target.dtype is torch.bool):
        return value.dtype == target.dtype
    if value.is_floating_point() and not target.is_floating_point():
        return bool((value == value.trunc()).all())  # counters that an average has turned into floats
    return value.is_floating_point() == target.is_floating_point()


def fit_backbone(named: Named, state: Mapping[str, Tensor]) -> Fitted:
    """The weights of a backbone as another one takes them, whose state dict is `state`."""
    weights = _respelled(named, state)
    unused = {
        name: reason for name in weights if name not in state and (reason := _needless(name.removeprefix('model.')))
    }
    return Fitted({n: value for n, value in weights.items() if n not in unused}, '', unused, _unread(state))


def fit_model(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Fitted:
    """All weights in a file as a whole model takes them, whose state dict is `state`."""
    ours, origin, unused = translate(weights)
    backbone = _respelled(recognise(_part(ours)), _part(state))
    rest = {name: value for name, value in ours.items() if not name.startswith('backbone.')}
    renamed = {f'backbone.{name}': value for name, value in backbone.items()}
    return Fitted({**renamed, **rest}, origin, unused, _unread(state, 'backbone.') if backbone else frozenset())


def with_stem_for(fitted: Fitted, state: Mapping[str, Tensor]) -> Fitted:
    """Weights for RGB images with their first convolution widened or narrowed to the channels of another backbone, see `for_channels`.

    The first convolution is the one tensor of the file that has three input channels and differs from that of `state` in their number
    only. Where there is none, or more than one, all stays as it is.

    Args:
        fitted: weights under the names of the module.
        state: state dict of the module.
    """
    stems = [
        name
        for name, value in fitted.weights.items()
        if value.dim() == 4
        and value.shape[1] == RGB
        and name in state
        and state[name].dim() == 4
        and state[name].shape[1] != RGB
        and (value.shape[0], *value.shape[2:]) == (state[name].shape[0], *state[name].shape[2:])
    ]
    if len(stems) != 1:
        return fitted
    name, channels = stems[0], state[stems[0]].shape[1]
    how = (
        f'its kernels for R, G and B repeat in this order, scaled by {RGB}/{channels}'
        if channels > 1
        else 'the sum of its kernels'
    )
    weights = {**fitted.weights, name: for_channels(fitted.weights[name], channels)}
    return replace(fitted, weights=weights, note=f'{name} is made for {channels} channels from that for RGB: {how}')


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """Kernels of a convolution of RGB images for images of another number of channels.

    timm's rule (`timm.models.adapt_input_conv`): channel c takes the kernel of colour c mod 3, scaled by 3 / `channels`, so that
    channels that repeat R, G, B give what the image of three gives wherever their number is a multiple of 3. One channel takes the sum
    of the three kernels, so that grey gives what R = G = B gives.

    Args:
        weight: (D, 3, h, w).
        channels: C, of the images.

    Returns:
        (D, C, h, w), of the same type.
    """
    if channels == 1:
        return weight.float().sum(dim=1, keepdim=True).to(weight.dtype)
    repeated = weight.float().repeat(1, math.ceil(channels / RGB), 1, 1)[:, :channels]
    return (repeated * (RGB / channels)).to(weight.dtype)


def _part(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len('backbone.') :]: value for name, value in weights.items() if name.startswith('backbone.')}


def _respelled(named: Named, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under those of their names, and in those shapes, that most of `state` has."""
    best = max(named.spellings(), key=lambda names: sum(name in state for name in names))
    return {name: _reshaped(value, state.get(name)) for name, value in best.items()}


def _reshaped(value: Tensor, target: Tensor | None) -> Tensor:
    """`value` in the shape of `target` where they differ in axes of length 1 only, such as a 1x1 convolution and a linear layer."""
    if (
        target is None
        or value.shape == target.shape
        or [n for n in value.shape if n != 1] != [n for n in target.shape if n != 1]
    ):
        return value
    return value.reshape(target.shape)


def _needless(name: str) -> str:
    """Why a backbone can do without a tensor; '' where it cannot."""
    if _DENSE_NORM.match(name):
        return 'a norm for a dense task, which the backbone does not have'
    return 'a classifier, which the backbone does not have' if name.startswith(CLASSIFIER) else ''


def _unread(state: Mapping[str, Tensor], prefix: str = '') -> frozenset[str]:
    """What timm models keep of a classifier that was not asked for, such as the norm of a ConvNeXt's."""
    return frozenset(name for name in state if name.startswith((f'{prefix}model.head.', f'{prefix}model.fc.')))
