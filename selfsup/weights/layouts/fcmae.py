"""Weights of the official FCMAE code (ConvNeXt V2, arXiv:2301.00808) under our names.

Its pretraining model is built on a sparse convolution library: kernels are matrices over kernel positions and biases have two
axes. Its published pretrained files hold the encoder alone, under the names of the dense model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ...errors import CheckpointError

TITLE = 'official FCMAE, sparse layout'
_WRAPPED = re.compile(r'\.(ln|linear)\.(weight|bias)$')  # a dense layer inside a sparse one


def is_official(names: Iterable[str]) -> bool:
    """True for names of the pretraining model, with or without its decoder."""
    return any(name.endswith('.dwconv.kernel') or name.startswith('encoder.downsample_layers.') for name in names)


def our_name(name: str) -> str:
    """Our name of a tensor of the pretraining model: `encoder.stages.0.0.dwconv.kernel` is `backbone.stages.0.0.dwconv.weight`."""
    name = re.sub(r'^encoder\.', 'backbone.', name)
    name = re.sub(r'\.kernel$', '.weight', name)
    return _WRAPPED.sub(r'.\2', name)


def to_ours(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of the pretraining model under our names and in the shapes of dense layers."""
    return {our_name(name): _dense(name, value) for name, value in weights.items()}


def _dense(name: str, value: Tensor) -> Tensor:
    """A sparse layer's tensor in the shape of the dense one.

    Row w * k + h of a kernel belongs to row h and column w of the window, so the two are swapped after unfolding.
    """
    if name.endswith('.kernel'):
        side = math.isqrt(value.shape[0]) if value.dim() in (2, 3) else 0
        if not side or side * side != value.shape[0]:
            raise CheckpointError(
                f'{name} {tuple(value.shape)} is no sparse kernel (k * k, in, out) or (k * k, C), which files of '
                f'{TITLE} have: the file is damaged or of other code.'
            )
        if value.dim() == 3:  # (k * k, in, out)
            return value.permute(2, 1, 0).unflatten(-1, (side, side)).transpose(-1, -2).contiguous()
        return value.T.unflatten(-1, (1, side, side)).transpose(-1, -2).contiguous()  # (k * k, C)
    if '.grn.' in name:
        return value.reshape(1, 1, 1, -1)
    if name.endswith('.bias'):
        return value.flatten()
    return value
