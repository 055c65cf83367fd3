"""Rules for sums, means, variances, extremes, softmax and p-norms: over channels, or over visible positions.

Over channels the result is a map. Over the positions of each image it is a plain tensor, to which hidden positions contribute nothing: they
are absent, not zeros. An image of which nothing is visible gets 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....errors import ConfigError
from ...layers.functional import length
from ..axes import NHW, as_maps, as_seen, dims_of, from_maps, stored_axes
from ..block_map import BlockMap
from ..messages import where
from ..rule_table import rule
from .pointwise import of_two, operand
from .shapes import without

Dims = int | Sequence[int] | None


def image_count(x: BlockMap) -> Tensor:
    """(B,) visible positions of each image, at least 1."""
    zh, zw = x.block_size()
    return (x.blocks.counts * (zh * zw)).clamp(min=1)


class Over(NamedTuple):
    """What a statistic is taken over: axes of channels of what is stored, and whether also all positions of each image."""

    channels: tuple[int, ...]
    positions: bool
    dims: tuple[int, ...]  # as the network sees them, from 0


def over(x: BlockMap, dim: Dims, name: str) -> Over:
    """What `dim` means for a map.

    Raises:
        ConfigError: it holds the images, or one of the two spatial axes alone.
    """
    seen = dims_of(x.axes)
    dims = tuple(range(len(seen))) if dim is None or dim == () else (dim,) if isinstance(dim, int) else tuple(dim)
    dims = tuple(sorted(d % len(seen) for d in dims))
    letters = ''.join(seen[d] for d in dims)
    spatial = sorted(axis for axis in letters.upper() if axis in 'HW')
    if 'N' in letters or spatial not in ([], ['H', 'W']):
        raise ConfigError(
            f'{name} of a map is over its two spatial axes, or over the channels{where()}; got dim={dim}.'
        )
    return Over(tuple(stored_axes(x.axes, d)[0] for d in dims if seen[d] not in NHW), bool(spatial), dims)


def _as_plain(x: BlockMap, per_image: Tensor, which: Over, keepdim: bool) -> Tensor:
    """(B, C) numbers, where C are the channels of `x` or those left of them, as the network expects a statistic."""
    sizes = [1 if i in which.channels else size for i, size in enumerate(x.stored.shape) if x.axes[i] not in NHW]
    out = as_seen(from_maps(per_image[:, :, None, None], x.axes, sizes), x.axes)
    return out if keepdim else out.squeeze(which.dims)


def _as_map(x: BlockMap, stored: Tensor, which: Over, keepdim: bool, clean: bool = True) -> BlockMap:
    """A map of a statistic over channels, whose axes are kept in `stored`."""
    if keepdim:
        return x.with_stored(stored, clean=clean)
    return x.with_stored(stored.squeeze(which.channels), without(x, *which.channels), clean)


# ---- sums and means ---------------------------------------------------------------------------------------------------------


@rule('mean')
def mean(
    x: BlockMap, dim: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> BlockMap | Tensor:
    """(B, C, 1, 1) mean over the visible positions of each image, a plain tensor; or (B, 1, H, W) over the channels, a map."""
    return _average(x, dim, keepdim, dtype, 'mean')


@rule('sum')
def total(
    x: BlockMap, dim: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> BlockMap | Tensor:
    """(B, C, 1, 1) sum over the visible positions of each image, a plain tensor; or (B, 1, H, W) over the channels, a map."""
    return _average(x, dim, keepdim, dtype, 'sum')


def _average(x: BlockMap, dim: Dims, keepdim: bool, dtype: torch.dtype | None, kind: str) -> BlockMap | Tensor:
    which = over(x, dim, kind)
    if which.positions:
        return _of_images(x, which, keepdim, dtype, kind)
    return _as_map(x, getattr(x.stored, kind)(which.channels, keepdim=True, dtype=dtype), which, keepdim)


def _of_images(x: BlockMap, which: Over, keepdim: bool, dtype: torch.dtype | None, kind: str) -> Tensor:
    """'mean' or 'sum' over the visible positions of each image."""
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision cannot count a map
    t = x.zeroed().to(wide)
    t = getattr(t, kind)(which.channels, keepdim=True) if which.channels else t
    sums = x.image_sum(as_maps(t, x.axes))
    out = (sums / image_count(x)[:, None] if kind == 'mean' else sums).to(x.dtype if dtype is None else dtype)
    return _as_plain(x, out, which, keepdim)


# ---- variances --------------------------------------------------------------------------------------------------------------


def _variance(
    x: BlockMap,
    dim: Dims,
    rest: tuple[bool, ...],
    unbiased: bool | None,
    correction: float | None,
    keepdim: bool,
    name: str,
) -> tuple[BlockMap | Tensor, BlockMap | Tensor]:
    """(variance, mean); a variance of a single number is 0."""
    if isinstance(dim, bool) or len(rest) > 2:
        raise ConfigError(f'{name} of a map needs dimensions{where()}; got dim={dim}.')
    unbiased, keepdim = rest[0] if rest else unbiased, rest[1] if len(rest) > 1 else keepdim
    correction = (1 if unbiased in (None, True) else 0) if correction is None else correction
    which = over(x, dim, name)
    if not which.positions:
        both = torch.var_mean(x.stored, which.channels, correction=correction, keepdim=True)
        return _as_map(x, both[0], which, keepdim), _as_map(x, both[1], which, keepdim)
    average = _of_images(x, which, True, torch.promote_types(x.dtype, torch.float32), 'mean')
    wide = x.with_stored(x.stored.to(average.dtype), clean=True)
    centred = x.hide(wide.stored - operand(wide, average))
    squares = x.image_sum(
        as_maps(centred.square().sum(which.channels, keepdim=True) if which.channels else centred.square(), x.axes)
    )
    number = image_count(x) * math.prod(x.stored.shape[i] for i in which.channels)
    var = _as_plain(x, (squares / (number - correction).clamp(min=1)[:, None]).to(x.dtype), which, keepdim)
    return var, average.to(x.dtype) if keepdim else average.to(x.dtype).squeeze(which.dims)


def _variances(name: str) -> Callable:
    """Rule of `var`, `std`, and their forms with the mean: over the visible positions of each image, over the channels, or both."""

    def apply(
        x: BlockMap,
        dim: Dims = None,
        *rest: bool,
        unbiased: bool | None = None,
        correction: float | None = None,
        keepdim: bool = False,
    ) -> BlockMap | Tensor | tuple[BlockMap | Tensor, BlockMap | Tensor]:
        variance, average = _variance(x, dim, rest, unbiased, correction, keepdim, name)
        measure = _root(variance) if name.startswith('std') else variance
        return (measure, average) if name.endswith('_mean') else measure

    return apply


for _name in ('var', 'std', 'var_mean', 'std_mean'):
    rule(_name)(_variances(_name))


def _root(t: BlockMap | Tensor) -> BlockMap | Tensor:
    """Square root whose gradient at 0 is 0."""
    stored = t.stored if isinstance(t, BlockMap) else t
    zero = stored == 0
    out = stored.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
    return t.with_stored(out) if isinstance(t, BlockMap) else out


# ---- extremes ---------------------------------------------------------------------------------------------------------------


class Extreme(NamedTuple):
    """What `max(dim)` returns; over positions there are no indices."""

    values: BlockMap | Tensor
    indices: BlockMap | None


def _extreme(x: BlockMap, dim: Dims, keepdim: bool, name: str) -> BlockMap | Tensor:
    which = over(x, dim, name)
    t = getattr(x.stored, name)(which.channels, keepdim=True) if which.channels else x.stored
    if not which.positions:
        return _as_map(x, t, which, keepdim)
    rows, there = x.by_image(as_maps(t, x.axes))
    away = float('-inf' if name == 'amax' else 'inf')
    out = getattr(rows.masked_fill(~there[:, :, None], away), name)(1)
    return _as_plain(x, torch.where(there.any(1)[:, None], out, 0.0), which, keepdim)


@rule('amax')
def amax(x: BlockMap, dim: Dims = None, keepdim: bool = False) -> BlockMap | Tensor:
    """Largest value, of the shapes of `mean`; equal ones share the gradient."""
    return _extreme(x, dim, keepdim, 'amax')


@rule('amin')
def amin(x: BlockMap, dim: Dims = None, keepdim: bool = False) -> BlockMap | Tensor:
    """Smallest value, of the shapes of `mean`; equal ones share the gradient."""
    return _extreme(x, dim, keepdim, 'amin')


def _with_indices(name: str) -> Callable:
    rule_of_two, alone = of_two(getattr(torch, f'{name}imum')), f'a{name}'

    def apply(
        x: BlockMap, dim: int | BlockMap | Tensor | None = None, keepdim: bool = False, *, other: Any = None
    ) -> BlockMap | Extreme:
        second = dim if isinstance(dim, (BlockMap, Tensor)) else other
        if second is not None:
            return rule_of_two(x, second)
        if not isinstance(dim, int):
            raise ConfigError(f'{name} of a map needs one dimension{where()}; got dim={dim}.')
        which = over(x, dim, name)
        if which.positions:
            return Extreme(_extreme(x, dim, keepdim, alone), None)
        values, indices = getattr(x.stored, name)(which.channels[0], True)
        return Extreme(_as_map(x, values, which, keepdim), _as_map(x, indices, which, keepdim, clean=False))

    return apply


for _name in ('max', 'min'):
    rule(_name)(_with_indices(_name))


@rule('softmax')
def softmax(x: BlockMap, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> BlockMap:
    """Same shape: over the channels of each position, or, where the positions are one axis, over the visible ones of each image."""
    which = _one_axis(x, dim, 'softmax')
    if not which.positions:
        return x.with_stored(torch.softmax(x.stored, which.channels[0], dtype=dtype), clean=False)
    x = x if dtype is None else x.with_stored(x.stored.to(dtype))
    powers = x.with_stored(x.hide((x.stored - operand(x, amax(x, dim, keepdim=True).detach())).exp()))
    sums = _of_images(powers, which, True, None, 'sum')
    return powers.with_stored(powers.stored / operand(x, torch.where(sums == 0, 1.0, sums)))


@rule('log_softmax')
def log_softmax(
    x: BlockMap, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> BlockMap:
    """Same shape: over the channels of each position."""
    which = _one_axis(x, dim, 'log_softmax')
    if which.positions:
        raise ConfigError(f'log_softmax of a map is over the channels{where()}; got dim={dim}.')
    return x.with_stored(torch.log_softmax(x.stored, which.channels[0], dtype=dtype), clean=False)


@rule('logsumexp')
def logsumexp(x: BlockMap, dim: Dims, keepdim: bool = False) -> BlockMap:
    """(B, 1, H, W): over the channels of each position."""
    which = over(x, dim, 'logsumexp')
    if which.positions:
        raise ConfigError(f'logsumexp of a map is over the channels{where()}; got dim={dim}.')
    return _as_map(x, torch.logsumexp(x.stored, which.channels, True), which, keepdim, clean=False)


def _one_axis(x: BlockMap, dim: int | None, name: str) -> Over:
    if not isinstance(dim, int):
        raise ConfigError(f'{name} of a map needs a dimension{where()}; got dim={dim}.')
    return over(x, dim, name)


# ---- norms ------------------------------------------------------------------------------------------------------------------


def vector_norm_over(
    x: BlockMap, order: float, dim: Dims, keepdim: bool, dtype: torch.dtype | None
) -> BlockMap | Tensor:
    """p-norm over the visible positions of each image (B, C, 1, 1), or of the batch (1, C, 1, 1), or over the channels (B, 1, H, W).

    The first two are plain tensors, the last is a map; see `GRN`.
    """
    seen = dims_of(x.axes)
    dims: Sequence[int] = range(len(seen)) if dim is None else (dim,) if isinstance(dim, int) else dim
    letters = ''.join(sorted(''.join(seen[d] for d in dims).upper()))
    wide = torch.promote_types(x.dtype, torch.float32) if dtype is None else dtype
    if not any(axis in NHW for axis in letters):
        which = over(x, dim, 'norm')
        out = torch.linalg.vector_norm(x.safe(x.stored), order, which.channels, True, dtype=dtype)
        return _as_map(x, out, which, keepdim, clean=False)
    if not order > 0:
        raise ConfigError(
            f'The norm of a map over positions needs an order above 0: hidden positions are zeros{where()}; got {order}.'
        )
    t = as_maps(x.zeroed(), x.axes)
    if letters == 'HNW':
        out = length(t, order, (0, 2, 3), wide)[None]
    elif letters == 'HW':
        out = x.image_norm(t, order, wide)
    else:
        raise ConfigError(
            f'The norm of a map is over its two spatial axes, these and the batch, or the channels{where()}; got dim={dim}.'
        )
    out = as_seen(
        from_maps(out.to(x.dtype if dtype is None else dtype)[:, :, None, None], x.axes, x.channel_sizes()), x.axes
    )
    return out if keepdim else out.squeeze(tuple(d % len(seen) for d in dims))


@rule(torch.linalg.vector_norm)
def vector_norm(
    x: BlockMap, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> BlockMap | Tensor:
    """`torch.linalg.vector_norm`, of the shapes of `vector_norm_over`."""
    return vector_norm_over(x, ord, dim, keepdim, dtype)


@rule(torch.norm, Tensor.norm)
def norm(
    x: BlockMap,
    p: float | str | None = 2,
    dim: Dims = None,
    keepdim: bool = False,
    out: None = None,
    dtype: torch.dtype | None = None,
) -> BlockMap | Tensor:
    """`torch.norm` with a number as p; `torch.norm` always passes `out` on."""
    order = 2 if p in ('fro', None) else p
    if out is not None or isinstance(order, str):
        raise ConfigError(
            f'The norm of a map takes a number as p and no out{where()}; got p={p!r}, out={type(out).__name__}.'
        )
    return vector_norm_over(x, order, dim, keepdim, dtype)
