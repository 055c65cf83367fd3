"""The order of the axes of a partly visible map, as a string.

'N' are the images, 'H' and 'W' the positions, any other letter is an axis of channels: 'C', then 'D', 'E', ... in order of appearance, so
that equal strings mean equal layouts ('NCHW', 'NHWC', or 'NCDHW' for channels in groups). Small letters, 'hw', mean that the network
sees both spatial axes as one, row by row, as `flatten(2)` makes it; what is stored keeps the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

CHANNELS = 'CDEFGIJKLM'
NHW = 'NHWhw'


def flat(numbers: tuple[int | Sequence[int], ...]) -> tuple[int, ...]:
    """Numbers that were given one by one, or as one sequence, as `x.permute(0, 2, 1)` and `x.permute([0, 2, 1])`."""
    return tuple(n for part in numbers for n in (part if isinstance(part, Sequence) else (part,)))


def dims_of(axes: str) -> list[str]:
    """What the network sees: one entry per dimension, 'hw' for positions in one."""
    return [('hw' if axis == 'h' else axis) for axis in axes if axis != 'w']


def renamed(axes: Sequence[str]) -> str:
    """The same axes with channel axes named in order of appearance; entries that are no axis of `NHW` count as channels."""
    names = iter(CHANNELS)
    return ''.join(axis if axis and axis in NHW else next(names) for axis in axes)


def stored_axes(axes: str, dim: int) -> tuple[int, ...]:
    """Axes of what is stored that make up a dimension which the network sees; raises an IndexError as torch does."""
    letters = dims_of(axes)[dim]
    return tuple(axes.index(letter) for letter in letters)


def as_maps(t: Tensor, axes: str) -> Tensor:
    """(N, C, H, W) of a tensor whose axes are `axes`; axes of channels, if there are several, become one."""
    if axes == 'NCHW':
        return t
    axes = axes.upper()
    order = [axes.index(axis) for axis in _maps_order(axes)]
    t = t.permute(order)
    return t if len(order) == 4 else t.reshape(t.shape[0], math.prod(t.shape[1:-2]), *t.shape[-2:])


def from_maps(t: Tensor, axes: str, channels: Sequence[int]) -> Tensor:
    """The inverse of `as_maps`, for channel axes of the given sizes, in their order."""
    if axes == 'NCHW':
        return t
    axes = axes.upper()
    order = _maps_order(axes)
    if len(order) != 4:
        t = t.reshape(t.shape[0], *channels, *t.shape[-2:])
    return t.permute([order.index(axis) for axis in axes])


def _maps_order(axes: str) -> str:
    return f'N{"".join(axis for axis in axes if axis not in NHW)}HW'


def channel_sizes(stored: Tensor, axes: str) -> list[int]:
    """Sizes of the channel axes, in their order."""
    return [size for axis, size in zip(axes, stored.shape, strict=True) if axis not in NHW]


def as_seen(t: Tensor, axes: str) -> Tensor:
    """A tensor whose axes are `axes`, with its spatial axes as one if the network sees them so."""
    if 'h' not in axes:
        return t
    at = axes.index('h')
    return t.flatten(at, at + 1)


def as_stored(t: Tensor, axes: str, height: int, width: int) -> Tensor:
    """The inverse of `as_seen`: positions in one dimension, or a 1 that stands for them, become two."""
    if 'h' not in axes:
        return t
    at = axes.index('h')
    return t.unflatten(at, (height, width) if t.shape[at] == height * width and t.shape[at] != 1 else (1, 1))


def groups_of(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Which dimensions of a reshape belong together: indices of old and new ones whose products agree, as short as possible.

    Dimensions of size 1 that are left over belong to the last group. Empty where the numbers of elements differ.
    """
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        left, right = [i], [j]
        a, b = old[i], new[j]
        i, j = i + 1, j + 1
        while a != b:
            if a < b and i < len(old):
                a, left, i = a * old[i], [*left, i], i + 1
            elif b < a and j < len(new):
                b, right, j = b * new[j], [*right, j], j + 1
            else:
                return []
        groups.append((left, right))
    if math.prod(old) != math.prod(new) or not groups:
        return []
    groups[-1][0].extend(range(i, len(old)))
    groups[-1][1].extend(range(j, len(new)))
    return groups


def resolved(shape: Sequence[int], elements: int) -> list[int]:
    """A shape with its -1 replaced by what fits; torch's size object or integers."""
    sizes = [int(size) for size in shape]
    if sizes.count(-1) == 1:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = elements // rest if rest else 0
    return sizes
