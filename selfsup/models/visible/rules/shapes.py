"""Rules that change the shape: order of axes, groups of channels, joining, cutting and indexing channels.

Channels may be split, joined and reordered at will. Positions stay positions: each of them may be cut into smaller ones that become
channels (space to depth) and back, and the two spatial axes may be seen as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ....errors import ConfigError
from ..axes import NHW, dims_of, flat, groups_of, renamed, resolved, stored_axes
from ..block_map import BlockMap
from ..folded_map import FoldedMap
from ..messages import CONVOLUTIONS, where
from ..rule_table import rule
from .pointwise import all_zero, first_map, operand


def channel_axis(x: BlockMap, dim: int, name: str) -> int:
    """Where in what is stored the channels are that the network sees as `dim`."""
    dims = dims_of(x.axes)
    if not -len(dims) <= dim < len(dims) or dims[dim] in NHW:
        at = ', '.join(str(i) for i, axis in enumerate(dims) if axis not in NHW)
        raise ConfigError(f'{name} of a map works along its channel axis ({at}) only{where()}; got dim={dim}.')
    return stored_axes(x.axes, dim)[0]


# ---- order ------------------------------------------------------------------------------------------------------------------


@rule('permute')
def permute(x: BlockMap, *dims: int | Sequence[int]) -> BlockMap:
    """(B, H, W, C) of (B, C, H, W), say: another order of the axes; the images stay first."""
    seen = dims_of(x.axes)
    order = [d % len(seen) for d in flat(dims)]
    if sorted(order) != list(range(len(seen))) or seen[order[0]] != seen[0]:
        raise ConfigError(
            f'A map can only permute its channel and spatial axes{where()}; got {tuple(order)}: {CONVOLUTIONS}.'
        )
    stored = [axis for d in order for axis in stored_axes(x.axes, d)]
    return x.with_stored(
        x.stored.permute(stored), renamed([x.axes[axis] if x.axes[axis] in NHW else 'C' for axis in stored])
    )


@rule('transpose', 'swapaxes', 'swapdims')
def transpose(x: BlockMap, first: int, second: int) -> BlockMap:
    """Exchange two axes other than that of the images."""
    order = list(range(x.dim()))
    order[first], order[second] = order[second], order[first]
    return permute(x, order)


@rule('movedim', 'moveaxis')
def movedim(x: BlockMap, source: int, destination: int) -> BlockMap:
    """Move one axis elsewhere."""
    order = list(range(x.dim()))
    order.insert(destination % x.dim(), order.pop(source))
    return permute(x, order)


# ---- regrouping -------------------------------------------------------------------------------------------------------------


@rule('reshape', 'view')
def reshape(x: BlockMap, *shape: int | Sequence[int]) -> BlockMap | FoldedMap:
    """Regroup channels, cut positions into channels or join them again, or see the two spatial axes as one or as two."""
    if isinstance(shape[0], torch.dtype):
        raise ConfigError(f'A map cannot be viewed as another type{where()}; got {shape[0]}: use to().')
    new, sizes = resolved(flat(shape), x.numel()), list(x.shape)
    if x.axes == 'NCHW' and new == [1, sizes[0] * sizes[1], *sizes[2:]] != sizes:
        return FoldedMap(x)
    return regroup(x, new)


def regroup(x: BlockMap, new: list[int]) -> BlockMap:
    """The map in the nominal shape `new`.

    Raises:
        ConfigError: positions of the two do not belong together.
    """
    seen, sizes = dims_of(x.axes), x.shape
    if new == list(sizes):
        return x.with_stored(x.stored)
    parts = [_parts(x, [seen[i] for i in old], [new[j] for j in made]) for old, made in groups_of(sizes, new)]
    whole = [part for part in parts if part is not None]
    if not whole or len(whole) < len(parts):
        raise ConfigError(
            f'A map cannot be reshaped from {tuple(sizes)} to {tuple(new)}{where()}: only its channels can be regrouped; '
            f'{CONVOLUTIONS}.'
        )
    axes = renamed([axis for letters, _ in whole for axis in letters])
    return x.with_stored(x.stored.reshape([size for _, stored in whole for size in stored]), axes)


def _parts(x: BlockMap, old: list[str], new: list[int]) -> tuple[str, list[int]] | None:
    """Axes and stored sizes that take the place of dimensions `old` of the same number of elements, None if there are none."""
    spatial = [axis for axis in old if axis in NHW]
    if not spatial:
        return 'C' * len(new), new
    whole = dict(zip(x.axes, x.whole_sizes(), strict=True))
    held = dict(zip(x.axes, x.stored.shape, strict=True))
    if old == ['hw'] and new == [whole['h'], whole['w']]:
        return 'HW', [held['h'], held['w']]
    if old in (['H', 'W'], ['hw']) and len(new) == 1:
        return 'hw', [held[axis] for axis in x.axes if axis in 'HWhw']
    axis = old[0]
    if len(spatial) > 1 or axis not in ('N', 'H', 'W') or (len(new) > 1 and len(old) > 1):
        return None
    if len(old) > 1:  # channels come out of the blocks again
        inner = math.prod(size for a, size in zip(x.axes, x.stored.shape, strict=True) if a in old[1:])
        return (axis, [held[axis] * inner]) if axis != 'N' else None
    return _cut(x, axis, held[axis], whole[axis], new)


def _cut(x: BlockMap, axis: str, held: int, whole: int, new: list[int]) -> tuple[str, list[int]] | None:
    """An axis in several parts, of which the first one that is not 1 keeps its name."""
    at = next((i for i, size in enumerate(new) if size != 1), 0)
    inner = math.prod(new[at + 1 :])
    if inner != 1 and (axis == 'N' or x.block_size()['HW'.index(axis)] % inner or new[at] * inner != whole):
        return None
    return 'C' * at + axis + 'C' * (len(new) - at - 1), [*[1] * at, held // inner, *new[at + 1 :]]


@rule('flatten')
def flatten(x: BlockMap, start_dim: int = 0, end_dim: int = -1) -> BlockMap:
    """Several dimensions as one."""
    shape = x.shape
    start, end = start_dim % len(shape), end_dim % len(shape)
    return regroup(x, [*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]])


@rule('unflatten')
def unflatten(x: BlockMap, dim: int, sizes: Sequence[int]) -> BlockMap:
    """One dimension as several."""
    shape = x.shape
    dim %= len(shape)
    return regroup(x, [*shape[:dim], *resolved(sizes, shape[dim]), *shape[dim + 1 :]])


@rule('view_as', 'reshape_as')
def reshape_as(x: BlockMap, other: BlockMap | Tensor) -> BlockMap | FoldedMap:
    """The shape of another."""
    return reshape(x, other.shape)


@rule('unsqueeze')
def unsqueeze(x: BlockMap, dim: int) -> BlockMap:
    """(B, C, 1, H, W) of (B, C, H, W), say: a new axis of one channel."""
    at, axes = _with_new_axis(x, dim)
    return x.with_stored(x.stored.unsqueeze(at), axes)


def _with_new_axis(x: BlockMap, dim: int) -> tuple[int, str]:
    """Where in what is stored a new axis of channels goes that the network sees as `dim`, and the axes then."""
    dims = dims_of(x.axes)
    dim %= len(dims) + 1
    at = len(x.axes) if dim == len(dims) else stored_axes(x.axes, dim)[0]
    return at, renamed([*_labels(x)[:at], '', *_labels(x)[at:]])


@rule('squeeze')
def squeeze(x: BlockMap, *dim: int) -> BlockMap:
    """Without an axis of one channel; a dimension must be named, as the number of images and positions may be 1 by chance."""
    if len(dim) != 1 or not isinstance(dim[0], int):
        raise ConfigError(f'squeeze of a map needs one dimension{where()}; got {dim}.')
    at = channel_axis(x, dim[0], 'squeeze')
    return x.with_stored(x.stored.squeeze(at), without(x, at)) if x.stored.shape[at] == 1 else x


def _labels(x: BlockMap) -> list[str]:
    """Axes of what is stored, with '' for channels."""
    return [axis if axis in NHW else '' for axis in x.axes]


def without(x: BlockMap, *at: int) -> str:
    """The axes but for some of what is stored."""
    return renamed([label for i, label in enumerate(_labels(x)) if i not in at])


@rule('expand')
def expand(x: BlockMap, *sizes: int | Sequence[int]) -> BlockMap:
    """(B, n, H, W) of (B, 1, H, W): repeat channels of which there is one; the number of images and positions stays."""
    wanted = flat(sizes)
    dims, shape = dims_of(x.axes), x.shape
    if len(wanted) != len(dims) or any(
        size not in (-1, of_map) and (of_map != 1 or axis in NHW)
        for size, of_map, axis in zip(wanted, shape, dims, strict=True)
    ):
        raise ConfigError(
            f'A map {tuple(shape)} cannot be expanded to {wanted}{where()}: only an axis of one channel can be.'
        )
    stored = list(x.stored.shape)
    for dim, size in enumerate(wanted):
        if dims[dim] not in NHW:
            stored[stored_axes(x.axes, dim)[0]] = size
    return x.with_stored(x.stored.expand(stored))


@rule('repeat_interleave')
def repeat_interleave(x: BlockMap, repeats: int, dim: int | None = None) -> BlockMap:
    """(B, C * repeats, H, W) of (B, C, H, W): each channel several times."""
    if dim is None or not isinstance(repeats, int):
        raise ConfigError(f'repeat_interleave of a map needs a number and a dimension{where()}.')
    return x.with_stored(x.stored.repeat_interleave(repeats, channel_axis(x, dim, 'repeat_interleave')))


# ---- parts and joints -------------------------------------------------------------------------------------------------------


@rule('cat', 'concat', 'concatenate')
def cat(maps: Sequence[BlockMap | Tensor], dim: int = 0, *, axis: int | None = None) -> BlockMap:
    """(B, C + D, H, W) of (B, C, H, W) and (B, D, H, W), each a map or a plain tensor with a value for each position."""
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
    """(B, n, C, H, W) of n maps (B, C, H, W), say: along a new axis of channels."""
    x = first_map(*maps)
    if not all(isinstance(m, BlockMap) for m in maps):
        raise ConfigError(f'stack joins maps with maps only{where()}; got {[type(m).__name__ for m in maps]}.')
    at, axes = _with_new_axis(x, dim)
    return x.with_stored(torch.stack([operand(x, m) for m in maps], at), axes, clean=all_zero(*maps))


@rule('chunk')
def chunk(x: BlockMap, chunks: int, dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts (B, C / chunks, H, W), the last of which may have fewer channels."""
    return tuple(x.with_stored(part) for part in x.stored.chunk(chunks, channel_axis(x, dim, 'chunk')))


@rule('split', 'split_with_sizes')
def split(x: BlockMap, split_size: int | list[int], dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts (B, split_size, H, W), or of the numbers of channels in a list."""
    return tuple(x.with_stored(part) for part in x.stored.split(split_size, channel_axis(x, dim, 'split')))


@rule('tensor_split')
def tensor_split(x: BlockMap, sections: int | list[int], dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts of numbers of channels that differ by one at most, or that begin where told."""
    return tuple(x.with_stored(part) for part in x.stored.tensor_split(sections, channel_axis(x, dim, 'tensor_split')))


@rule('unbind')
def unbind(x: BlockMap, dim: int = 0) -> tuple[BlockMap, ...]:
    """(B, H, W) for each channel of (B, C, H, W)."""
    at = channel_axis(x, dim, 'unbind')
    return tuple(x.with_stored(part, without(x, at)) for part in x.stored.unbind(at))


@rule('select')
def select(x: BlockMap, dim: int, index: int) -> BlockMap:
    """(B, H, W) of (B, C, H, W): one channel, without the axis."""
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
