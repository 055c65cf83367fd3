"""Rules that join, cut and index the channels of maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ....errors import ConfigError
from ..axes import NHW, dims_of, renamed, stored_axes
from ..block_map import BlockMap
from ..messages import CONVOLUTIONS, where
from ..rule_table import rule
from .pointwise import all_zero, first_map, operand
from .shapes import channel_axis, labels, without


@rule('cat', 'concat', 'concatenate')
def cat(maps: Sequence[BlockMap | Tensor], dim: int = 0, *, axis: int | None = None) -> BlockMap:
    """Maps, and plain tensors that hold a value for each position, one after another along the channels."""
    x = first_map(*maps)
    dim = dim if axis is None else axis
    at = channel_axis(x, dim, 'cat')
    clean = all(isinstance(m, BlockMap) for m in maps) and all_zero(*maps)
    return x.with_stored(torch.cat([_joined(x, m, dim) for m in maps], at), clean=clean)


def _joined(x: BlockMap, other: BlockMap | Tensor, dim: int) -> Tensor:
    """What `cat` joins to a map: a map of the same place, or the part of a plain tensor that belongs to what is stored."""
    if isinstance(other, BlockMap):
        return operand(x, other)
    shape = x.shape
    fits = (
        isinstance(other, Tensor)
        and other.dim() == len(shape)
        and all(
            size == of_map
            for d, (size, of_map) in enumerate(zip(other.shape, shape, strict=True))
            if d != dim % len(shape)
        )
    )
    if not fits:
        raise ConfigError(
            f'cat joins a map {tuple(shape)} with maps, or with tensors of its size{where()}; got '
            f'{tuple(other.shape) if isinstance(other, Tensor) else type(other).__name__}.'
        )
    part = x.with_stored(
        x.stored.narrow(channel_axis(x, dim, 'cat'), 0, 1).expand(
            [other.shape[dim] if i == channel_axis(x, dim, 'cat') else size for i, size in enumerate(x.stored.shape)]
        )
    )
    return operand(part, other).expand(part.stored.shape)


@rule('stack')
def stack(maps: Sequence[BlockMap], dim: int = 0) -> BlockMap:
    """Maps along a new axis of channels."""
    x = first_map(*maps)
    if not all(isinstance(m, BlockMap) for m in maps):
        raise ConfigError(f'stack joins maps with maps only{where()}; got {[type(m).__name__ for m in maps]}.')
    dims = dims_of(x.axes)
    dim %= len(dims) + 1
    at = len(x.axes) if dim == len(dims) else stored_axes(x.axes, dim)[0]
    axes = renamed([*labels(x)[:at], '', *labels(x)[at:]])
    return x.with_stored(torch.stack([operand(x, m) for m in maps], at), axes, clean=all_zero(*maps))


@rule('chunk')
def chunk(x: BlockMap, chunks: int, dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts of equal numbers of channels."""
    return tuple(x.with_stored(part) for part in x.stored.chunk(chunks, channel_axis(x, dim, 'chunk')))


@rule('split', 'split_with_sizes')
def split(x: BlockMap, split_size: int | list[int], dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts of given numbers of channels."""
    return tuple(x.with_stored(part) for part in x.stored.split(split_size, channel_axis(x, dim, 'split')))


@rule('tensor_split')
def tensor_split(x: BlockMap, sections: int | list[int], dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts of numbers of channels that differ by one at most, or that begin where told."""
    return tuple(x.with_stored(part) for part in x.stored.tensor_split(sections, channel_axis(x, dim, 'tensor_split')))


@rule('unbind')
def unbind(x: BlockMap, dim: int = 0) -> tuple[BlockMap, ...]:
    """Each channel for itself, without their axis."""
    at = channel_axis(x, dim, 'unbind')
    return tuple(x.with_stored(part, without(x, at)) for part in x.stored.unbind(at))


@rule('select')
def select(x: BlockMap, dim: int, index: int) -> BlockMap:
    """One channel, without the axis."""
    at = channel_axis(x, dim, 'select')
    return x.with_stored(x.stored.select(at, index), without(x, at))


def _along_channels(name: str) -> Callable:
    """Rule of the method `name`, whose first argument is a dimension."""

    def apply(x: BlockMap, dim: int, *args: object, **kwargs: object) -> BlockMap:
        return x.with_stored(getattr(x.stored, name)(channel_axis(x, dim, name), *args, **kwargs))

    return apply


for _name in ('narrow', 'index_select'):
    rule(_name)(_along_channels(_name))


@rule('flip', 'roll')
def mixes_positions(x: BlockMap, *_: object, **__: object) -> BlockMap:
    """Refused: what would take the place of a position may be hidden."""
    raise ConfigError(f'flip and roll of a map move positions to where others are hidden{where()}: {CONVOLUTIONS}.')


# ---- index ------------------------------------------------------------------------------------------------------------------


def _stored_key(x: BlockMap, key: object) -> tuple[list[Any], list[int]]:
    """The index for what is stored, and its axes that an integer takes away."""
    key = key if isinstance(key, tuple) else (key,)
    dims = dims_of(x.axes)
    if any(part is Ellipsis for part in key):
        at = next(i for i, part in enumerate(key) if part is Ellipsis)
        key = key[:at] + (slice(None),) * (len(dims) + 1 - len(key)) + key[at + 1 :]
    index: list[Any] = []
    gone: list[int] = []
    for dim, part in enumerate(key):
        channels = dim < len(dims) and dims[dim] not in NHW
        if not isinstance(part, slice) and not (channels and isinstance(part, (int, list, Tensor))):
            raise ConfigError(f'Only the channels of a map can be sliced{where()}; got the index {key}.')
        if not channels and (dim >= len(dims) or part != slice(None)):
            raise ConfigError(f'Only the channels of a map can be sliced{where()}; got the index {key}.')
        if isinstance(part, int):
            gone.append(len(index))
        index += [part] if channels else [slice(None)] * len(dims[dim])
    if sum(not isinstance(part, (slice, int)) for part in index) > 1 or any(
        isinstance(p, Tensor) and p.dim() != 1 for p in index
    ):
        raise ConfigError(f'The channels of a map can be picked by one list of numbers{where()}; got the index {key}.')
    return index, gone


@rule(Tensor.__getitem__)
def getitem(x: BlockMap, key: object) -> BlockMap:
    """Some of the channels: x[:, a:b], x[..., a:b] for channels-last, x[:, 0], x[:, order]."""
    index, gone = _stored_key(x, key)
    return x.with_stored(x.stored[tuple(index)], without(x, *gone))


@rule(Tensor.__setitem__)
def setitem(x: BlockMap, key: object, value: BlockMap | Tensor | float) -> None:
    """Write into some of the channels."""
    index, gone = _stored_key(x, key)
    target = x.with_stored(x.stored[tuple(index)], without(x, *gone))
    x.stored[tuple(index)] = operand(target, value)
    x.hidden_zero = False
