"""Rules that hold for both kinds of partly visible maps: operations that treat every position alike, and means over an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError, ShapeError
from .block_map import BlockMap, Rules, operation_name, where

SHARED = Rules()
Dims = int | tuple[int, ...] | None

# f(0) = 0: hidden positions stay zero
ZERO_KEEPING = ('relu', 'relu_', 'relu6', 'leaky_relu', 'leaky_relu_', 'elu', 'selu', 'celu', 'gelu', 'silu', 'mish', 'hardswish', 'tanh',
                'softsign', 'hardshrink', 'dropout', 'dropout_', 'abs', 'neg', 'square', 'clone', 'detach', 'contiguous',
                'to', 'float', 'half', 'bfloat16', 'double', 'type', 'type_as', 'erf', 'sin', 'prelu', 'rrelu', 'nan_to_num')
# hidden positions must be masked again
OTHER = ('sigmoid', 'hardsigmoid', 'softplus', 'logsigmoid', 'hardtanh', 'hardtanh_', 'threshold', 'clamp', 'clamp_', 'clamp_min',
         'clamp_max', 'exp', 'cos', 'expm1', 'alpha_dropout')
# not finite at 0: hidden positions are computed from 1 instead, so that no NaN comes back through the gradient
SINGULAR = ('sqrt', 'rsqrt', 'reciprocal', 'log', 'log2', 'log1p')

BOUNDS = ('clamp', 'clamp_', 'clamp_min', 'clamp_max')  # of which other arguments broadcast to the map
COMPARISONS = ('eq', 'ne', 'lt', 'le', 'gt', 'ge')


def _pointwise(function: Callable, clean: bool, singular: bool = False, broadcasts: bool = False) -> Callable:
    def rule(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        def given(a: object) -> object:
            return operand(x, a) if broadcasts else a.stored if isinstance(a, BlockMap) else a

        if not isinstance(x, BlockMap):
            raise ConfigError(f'{operation_name(function)} of a plain tensor cannot take a map{where()}.')
        stored = x.safe(x.stored) if singular else x.stored
        out = function(stored, *map(given, args), **{key: given(a) for key, a in kwargs.items()})
        if out is x.stored and not clean:  # changed in place
            x.hidden_zero = False
        return x.with_stored(out, clean=clean)
    return rule


def _comparison(function: Callable) -> Callable:
    def rule(a: object, b: object) -> BlockMap:
        x = _first(a, b)
        return x.with_stored(function(operand(x, a), operand(x, b)), clean=False)
    return rule


def _in_place(name: str) -> Callable:
    """Rule of the method `name`, which changes what a map stores; what torch forbids for a tensor it forbids for that."""
    def rule(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        if not isinstance(x, BlockMap):
            raise ConfigError(f'Tensor.{name} cannot write a map into a plain tensor{where()}: use {name[:-1]} and keep what it returns.')
        others = [*args, *kwargs.values()]
        if name == 'pow_' and not (isinstance(others[0], (int, float)) and others[0] >= 1):
            raise ConfigError(f'pow_ of a map takes a number that is 1 or more{where()}; got {others[0]}: use pow.')
        own = [operand(x, a) for a in others]
        if name == 'div_' and isinstance(others[0], BlockMap):
            own[0] = x.safe(own[0])
        getattr(x.stored, name)(*own[:len(args)], **dict(zip(kwargs, own[len(args):], strict=True)))
        if name in ('add_', 'sub_', 'addcmul_'):
            x.hide_()
        return x
    return rule


def _add_pointwise() -> None:
    for name in COMPARISONS:
        SHARED.add(name, getattr(Tensor, f'__{name}__'))(_comparison(getattr(torch, name)))
    for name in ('add_', 'sub_', 'mul_', 'div_', 'pow_', 'addcmul_'):
        SHARED.add(name)(_in_place(name))
    for names, clean, singular in ((ZERO_KEEPING, True, False), (OTHER, False, False), (SINGULAR, False, True)):
        for name in names:
            for place in (torch, Tensor, functional):
                function = getattr(place, name, None)
                if function is not None:
                    SHARED.add(function)(_pointwise(function, clean, singular, name in BOUNDS))


_add_pointwise()


# ---- two operands -----------------------------------------------------------------------------------------------------------

def operand(x: BlockMap, other: object) -> object:
    """What `other` is next to `x.stored`: the stored part of a map, a plain tensor that broadcasts, or a number.

    Raises:
        ShapeError: a map of other blocks, scale or axes, or a tensor that does not broadcast.
    """
    if isinstance(other, BlockMap):
        if other.blocks is not x.blocks or other.axes != x.axes or other.block_size() != x.block_size():
            raise ShapeError(f'Two maps that do not fit{where()}: {x!r} and {other!r}; both must come from one input and be at one scale.')
        return other.stored
    if not isinstance(other, Tensor) or other.dim() == 0:
        return other
    if other.dim() > 4 or any(given not in (1, own) for given, own in zip(other.shape[::-1], x.shape[::-1], strict=False)):
        raise ShapeError(f'A tensor {tuple(other.shape)} does not broadcast to a map {tuple(x.shape)}{where()}.')
    return x.spread(other.view(*[1] * (4 - other.dim()), *other.shape))


def _first(*values: object) -> BlockMap:
    return next(v for v in values if isinstance(v, BlockMap))


def _all_zero(*values: object) -> bool:
    return all(v.hidden_zero for v in values if isinstance(v, BlockMap))


@SHARED.add('add')
def add(a: object, b: object, *, alpha: float = 1) -> BlockMap:
    """a + alpha * b; only a sum of two maps keeps hidden positions zero."""
    x = _first(a, b)
    both = isinstance(a, BlockMap) and isinstance(b, BlockMap)
    return x.with_stored(torch.add(operand(x, a), operand(x, b), alpha=alpha), clean=both and _all_zero(a, b))


@SHARED.add('sub', 'subtract')
def sub(a: object, b: object, *, alpha: float = 1) -> BlockMap:
    """a - alpha * b."""
    return add(a, b, alpha=-alpha)


@SHARED.add('mul', 'multiply')
def mul(a: object, b: object) -> BlockMap:
    """a * b."""
    x = _first(a, b)
    return x.with_stored(torch.mul(operand(x, a), operand(x, b)))


@SHARED.add('div', 'divide', 'true_divide')
def div(a: object, b: object) -> BlockMap:
    """a / b."""
    x = _first(a, b)
    divisor = operand(x, b)
    return x.with_stored(torch.div(operand(x, a), x.safe(divisor) if isinstance(b, BlockMap) else divisor), clean=isinstance(a, BlockMap))


@SHARED.add('pow')
def power(x: BlockMap, exponent: float) -> BlockMap:
    """x ** exponent, for a number."""
    if not isinstance(exponent, (int, float)):
        raise ConfigError(f'A map can only be raised to a number{where()}; got {type(exponent).__name__}.')
    easy = exponent >= 1
    return x.with_stored(torch.pow(x.stored if easy else x.safe(x.stored), exponent), clean=easy)


@SHARED.add('addcmul')
def addcmul(a: object, b: object, c: object, *, value: float = 1) -> BlockMap:
    """a + value * b * c."""
    x = _first(a, b, c)
    clean = isinstance(a, BlockMap) and (isinstance(b, BlockMap) or isinstance(c, BlockMap)) and _all_zero(a, b, c)
    return x.with_stored(torch.addcmul(operand(x, a), operand(x, b), operand(x, c), value=value), clean=clean)


@SHARED.add('expand_as')
def expand_as(a: Tensor, x: BlockMap) -> Tensor:
    """A plain tensor that broadcasts to a map is left as it is."""
    operand(x, a)
    return a


# ---- shape ------------------------------------------------------------------------------------------------------------------

@SHARED.add('permute')
def permute(x: BlockMap, *dims: int | tuple[int, ...]) -> BlockMap:
    """Another order of the axes; the images stay first."""
    order = [d % 4 for d in (dims[0] if len(dims) == 1 else dims)]
    if sorted(order) != [0, 1, 2, 3] or order[0] != 0:
        raise ConfigError(f'A map can only permute its channel and spatial axes{where()}; got {tuple(order)}.')
    return x.with_stored(x.stored.permute(order), ''.join(x.axes[d] for d in order))


@SHARED.add('transpose', 'swapaxes')
def transpose(x: BlockMap, first: int, second: int) -> BlockMap:
    """Exchange two axes other than that of the images."""
    order = [0, 1, 2, 3]
    order[first], order[second] = order[second], order[first]
    return permute(x, order)


def _channel_axis(x: BlockMap, dim: int, name: str) -> int:
    if dim % 4 != x.axes.index('C'):
        raise ConfigError(f'{name} of a map works along its channel axis ({x.axes.index("C")}) only{where()}; got dim={dim}.')
    return dim % 4


@SHARED.add('cat', 'concat', 'concatenate')
def cat(maps: list[BlockMap], dim: int = 0, *, axis: int | None = None) -> BlockMap:
    """Maps one after another along the channels."""
    x = _first(*maps)
    dim = _channel_axis(x, dim if axis is None else axis, 'cat')
    if not all(isinstance(m, BlockMap) for m in maps):
        raise ConfigError(f'cat joins maps with maps only{where()}; got {[type(m).__name__ for m in maps]}.')
    return x.with_stored(torch.cat([operand(x, m) for m in maps], dim), clean=_all_zero(*maps))


@SHARED.add('chunk')
def chunk(x: BlockMap, chunks: int, dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts of equal numbers of channels."""
    return tuple(x.with_stored(part) for part in x.stored.chunk(chunks, _channel_axis(x, dim, 'chunk')))


@SHARED.add('split', 'split_with_sizes')
def split(x: BlockMap, split_size: int | list[int], dim: int = 0) -> tuple[BlockMap, ...]:
    """Parts of given numbers of channels."""
    return tuple(x.with_stored(part) for part in x.stored.split(split_size, _channel_axis(x, dim, 'split')))


@SHARED.add(Tensor.__getitem__)
def getitem(x: BlockMap, key: object) -> BlockMap:
    """Slices of the channels: x[:, a:b], x[..., a:b] for channels-last."""
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key = key[:at] + (slice(None),) * (5 - len(key)) + key[at + 1:]
    for axis, part in enumerate(key):
        if not isinstance(part, slice) or (part != slice(None) and x.axes[axis] != 'C'):
            raise ConfigError(f'Only the channels of a map can be sliced{where()}; got the index {key}.')
    return x.with_stored(x.stored[key])


@SHARED.add('interpolate')
def interpolate(x: BlockMap, size: object = None, scale_factor: object = None, mode: str = 'nearest', align_corners: bool | None = None,
                recompute_scale_factor: bool | None = None, antialias: bool = False) -> BlockMap:
    """Enlarge by a whole number, mode 'nearest': it stays inside of each block."""
    if size is None:
        factors = (scale_factor,) * 2 if isinstance(scale_factor, (int, float)) else tuple(scale_factor)
    else:
        factors = tuple(new / old for new, old in zip((size, size) if isinstance(size, int) else size, x.shape[2:], strict=True))
    if x.axes != 'NCHW' or mode != 'nearest' or any(f != int(f) or f < 1 for f in factors):
        raise ConfigError(f"interpolate of a map takes mode 'nearest' and whole factors only{where()}; got mode={mode!r}, "
                          f'factors {factors}.')
    return x.with_stored(functional.interpolate(x.stored, scale_factor=tuple(float(f) for f in factors), mode='nearest'))


# ---- sums over an image -----------------------------------------------------------------------------------------------------

def image_count(x: BlockMap) -> Tensor:
    """(B,) visible positions of each image, at least 1."""
    zh, zw = x.block_size()
    return (x.blocks.counts * (zh * zw)).clamp(min=1)


def first_channels(x: BlockMap, t: Tensor) -> Tensor:
    """`t`, laid out like `x.stored`, in NCHW order."""
    return t.permute(*(x.axes.index(axis) for axis in 'NCHW'))


def in_order(x: BlockMap, t: Tensor) -> Tensor:
    """The inverse of `first_channels`."""
    return t.permute(*('NCHW'.index(axis) for axis in x.axes))


def _axes_of(x: BlockMap, dim: Dims) -> str:
    dims = range(4) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
    return ''.join(sorted(x.axes[d] for d in dims))


@SHARED.add('mean')
def mean(x: BlockMap, dim: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> BlockMap | Tensor:
    """Mean over the visible positions of each image (a plain tensor), or over the channels (a map)."""
    return _average(x, dim, keepdim, dtype, 'mean')


@SHARED.add('sum')
def total(x: BlockMap, dim: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> BlockMap | Tensor:
    """Sum over the visible positions of each image (a plain tensor), or over the channels (a map)."""
    return _average(x, dim, keepdim, dtype, 'sum')


def _average(x: BlockMap, dim: Dims, keepdim: bool, dtype: torch.dtype | None, kind: str) -> BlockMap | Tensor:
    axes = _axes_of(x, dim)
    if axes == 'C' and keepdim:
        return x.with_stored(getattr(x.stored, kind)(x.axes.index('C'), keepdim=True, dtype=dtype))
    if axes != 'HW':
        raise ConfigError(f'{kind} of a map is over its two spatial axes, or over the channels with keepdim=True{where()}; got dim={dim}.')
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision cannot count a map
    sums = x.image_sum(first_channels(x, x.zeroed()).to(wide))
    out = (sums / image_count(x)[:, None] if kind == 'mean' else sums).to(x.dtype if dtype is None else dtype)
    return in_order(x, out[:, :, None, None]) if keepdim else out


@SHARED.add('adaptive_avg_pool2d')
def adaptive_avg_pool2d(x: BlockMap, output_size: int | tuple[int, int]) -> Tensor:
    """Mean over the visible positions, (B, C, 1, 1); other output sizes are refused."""
    if output_size not in (1, (1, 1), [1, 1]):
        raise ConfigError(f'adaptive_avg_pool2d of a map gives one value per image and channel{where()}; got output_size={output_size}.')
    return mean(x, (2, 3), keepdim=True)


def length(t: Tensor, order: float, dims: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """p-norm of `t` over `dims`, computed in `dtype`; its gradient at 0 is 0.

    On CPU torch's norm over the positions of small blocks takes up to 100 times as long as the same sum of squares.
    """
    if order != 2 or t.device.type != 'cpu' or t.dtype != dtype:
        return torch.linalg.vector_norm(t, order, dims, dtype=dtype)
    squares = t.square().sum(dims)
    zero = squares == 0
    return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def vector_norm_over(x: BlockMap, order: float, dim: Dims, keepdim: bool, dtype: torch.dtype | None) -> BlockMap | Tensor:
    """p-norm over the visible positions of each image, or of the batch, or over the channels; see `GRN`."""
    axes = _axes_of(x, dim)
    wide = torch.promote_types(x.dtype, torch.float32) if dtype is None else dtype
    if axes == 'C' and keepdim:
        return x.with_stored(torch.linalg.vector_norm(x.safe(x.stored), order, x.axes.index('C'), True, dtype=dtype), clean=False)
    if not order > 0:
        raise ConfigError(f'The norm of a map over positions needs an order above 0: hidden positions are zeros{where()}; got {order}.')
    t = first_channels(x, x.zeroed())
    if axes == 'HNW':
        out = length(t, order, (0, 2, 3), wide)[None]
    elif axes == 'HW':
        out = x.image_norm(t, order, wide)
    else:
        raise ConfigError(f'The norm of a map is over its two spatial axes, these and the batch, or the channels{where()}; got dim={dim}.')
    out = out.to(x.dtype if dtype is None else dtype)
    if keepdim:
        return in_order(x, out[:, :, None, None])
    return out[0] if axes == 'HNW' else out


@SHARED.add(torch.linalg.vector_norm)
def vector_norm(x: BlockMap, ord: float = 2, dim: Dims = None, keepdim: bool = False, *,
                dtype: torch.dtype | None = None) -> BlockMap | Tensor:
    """`torch.linalg.vector_norm`."""
    return vector_norm_over(x, ord, dim, keepdim, dtype)


@SHARED.add(torch.norm, Tensor.norm)
def norm(x: BlockMap, p: float | str | None = 2, dim: Dims = None, keepdim: bool = False, out: None = None,
         dtype: torch.dtype | None = None) -> BlockMap | Tensor:
    """`torch.norm` with a number as p; `torch.norm` always passes `out` on."""
    order = 2 if p in ('fro', None) else p
    if out is not None or isinstance(order, str):
        raise ConfigError(f'The norm of a map takes a number as p and no out{where()}; got p={p!r}, out={type(out).__name__}.')
    return vector_norm_over(x, order, dim, keepdim, dtype)
