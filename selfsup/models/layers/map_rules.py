"""Rules that hold for both kinds of partly visible maps: operations that treat every number alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError, ShapeError
from .block_map import BlockMap, Rules, operation_name, where
from .map_axes import NHW, as_stored, dims_of

SHARED = Rules()

# f(0) = 0: hidden positions stay zero
ZERO_KEEPING = (
    'relu',
    'relu_',
    'relu6',
    'leaky_relu',
    'leaky_relu_',
    'elu',
    'selu',
    'celu',
    'gelu',
    'silu',
    'mish',
    'hardswish',
    'tanh',
    'softsign',
    'hardshrink',
    'dropout',
    'dropout_',
    'abs',
    'neg',
    'square',
    'clone',
    'detach',
    'contiguous',
    'to',
    'float',
    'half',
    'bfloat16',
    'double',
    'type',
    'type_as',
    'erf',
    'sin',
    'prelu',
    'rrelu',
    'nan_to_num',
)
# hidden positions must be masked again
OTHER = (
    'sigmoid',
    'hardsigmoid',
    'softplus',
    'logsigmoid',
    'hardtanh',
    'hardtanh_',
    'threshold',
    'clamp',
    'clamp_',
    'clamp_min',
    'clamp_max',
    'exp',
    'cos',
    'expm1',
    'alpha_dropout',
)
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
        x = first_map(a, b)
        return x.with_stored(function(operand(x, a), operand(x, b)), clean=False)

    return rule


def _in_place(name: str) -> Callable:
    """Rule of the method `name`, which changes what a map stores; what torch forbids for a tensor it forbids for that."""

    def rule(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        if not isinstance(x, BlockMap):
            raise ConfigError(
                f'Tensor.{name} cannot write a map into a plain tensor{where()}: use {name[:-1]} and keep what it returns.'
            )
        others = [*args, *kwargs.values()]
        if name == 'pow_' and not (isinstance(others[0], (int, float)) and others[0] >= 1):
            raise ConfigError(f'pow_ of a map takes a number that is 1 or more{where()}; got {others[0]}: use pow.')
        own = [operand(x, a) for a in others]
        if name == 'div_' and isinstance(others[0], BlockMap):
            own[0] = x.safe(own[0])
        getattr(x.stored, name)(*own[: len(args)], **dict(zip(kwargs, own[len(args) :], strict=True)))
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
            raise ShapeError(
                f'Two maps that do not fit{where()}: {x!r} and {other!r}; both must come from one input and be at one scale.'
            )
        return other.stored
    if not isinstance(other, Tensor) or other.dim() == 0:
        return other
    shape, dims = x.shape, dims_of(x.axes)
    if other.dim() > len(shape) or any(
        given not in (1, own) and (own != 1 or dim in NHW)
        for given, own, dim in zip(other.shape[::-1], shape[::-1], dims[::-1], strict=False)
    ):
        raise ShapeError(f'A tensor {tuple(other.shape)} does not broadcast to a map {tuple(shape)}{where()}.')
    whole = other.view(*[1] * (len(shape) - other.dim()), *other.shape)
    if 'h' in x.axes:
        sizes = x.whole_sizes()
        whole = as_stored(whole, x.axes, sizes[x.axes.index('h')], sizes[x.axes.index('w')])
    return x.spread(whole)


def first_map(*values: object) -> BlockMap:
    """The first map among the values."""
    return next(v for v in values if isinstance(v, BlockMap))


def all_zero(*values: object) -> bool:
    """Whether all maps among the values are known to be zero where hidden."""
    return all(v.hidden_zero for v in values if isinstance(v, BlockMap))


@SHARED.add('add')
def add(a: object, b: object, *, alpha: float = 1) -> BlockMap:
    """a + alpha * b; only a sum of two maps keeps hidden positions zero."""
    x = first_map(a, b)
    both = isinstance(a, BlockMap) and isinstance(b, BlockMap)
    return x.with_stored(torch.add(operand(x, a), operand(x, b), alpha=alpha), clean=both and all_zero(a, b))


@SHARED.add('sub', 'subtract')
def sub(a: object, b: object, *, alpha: float = 1) -> BlockMap:
    """a - alpha * b."""
    return add(a, b, alpha=-alpha)


@SHARED.add('mul', 'multiply')
def mul(a: object, b: object) -> BlockMap:
    """a * b."""
    x = first_map(a, b)
    return x.with_stored(torch.mul(operand(x, a), operand(x, b)))


@SHARED.add('div', 'divide', 'true_divide')
def div(a: object, b: object) -> BlockMap:
    """a / b."""
    x = first_map(a, b)
    divisor = operand(x, b)
    return x.with_stored(
        torch.div(operand(x, a), x.safe(divisor) if isinstance(b, BlockMap) else divisor), clean=isinstance(a, BlockMap)
    )


@SHARED.add('pow')
def power(x: BlockMap, exponent: float | Tensor) -> BlockMap:
    """x ** exponent, for a number or a plain tensor (the learned exponent of GeM pooling)."""
    if isinstance(exponent, BlockMap) or not isinstance(x, BlockMap):
        raise ConfigError(f'A map cannot be an exponent{where()}.')
    if isinstance(exponent, Tensor):
        return x.with_stored(torch.pow(x.safe(x.stored), operand(x, exponent)), clean=False)
    easy = exponent >= 1
    return x.with_stored(torch.pow(x.stored if easy else x.safe(x.stored), exponent), clean=easy)


@SHARED.add('addcmul')
def addcmul(a: object, b: object, c: object, *, value: float = 1) -> BlockMap:
    """a + value * b * c."""
    x = first_map(a, b, c)
    clean = isinstance(a, BlockMap) and (isinstance(b, BlockMap) or isinstance(c, BlockMap)) and all_zero(a, b, c)
    return x.with_stored(torch.addcmul(operand(x, a), operand(x, b), operand(x, c), value=value), clean=clean)


@SHARED.add('expand_as')
def expand_as(a: Tensor, x: BlockMap) -> Tensor:
    """A plain tensor that broadcasts to a map is left as it is."""
    operand(x, a)
    return a


@SHARED.add('where')
def choose(condition: object, a: object, b: object) -> BlockMap:
    """a where the condition holds, else b; each of the three is a map, a plain tensor or, but for the condition, a number."""
    x = first_map(condition, a, b)
    return x.with_stored(torch.where(operand(x, condition), operand(x, a), operand(x, b)), clean=False)


@SHARED.add(Tensor.where)
def choose_method(a: object, condition: object, b: object) -> BlockMap:
    """`choose`, as a method of the first choice."""
    return choose(condition, a, b)


@SHARED.add('masked_fill')
def masked_fill(x: BlockMap, mask: object, value: float) -> BlockMap:
    """`value` where the mask holds."""
    return choose(mask, value if isinstance(value, Tensor) else torch.tensor(value, dtype=x.dtype, device=x.device), x)


@SHARED.add('lerp')
def lerp(a: object, b: object, weight: object) -> BlockMap:
    """a + weight * (b - a)."""
    x = first_map(a, b, weight)
    return x.with_stored(torch.lerp(operand(x, a), operand(x, b), operand(x, weight)), clean=False)


def _like(function: Callable) -> Callable:
    def rule(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        return x.with_stored(function(x.stored, *args, **kwargs), clean=False)

    return rule


def _add_choices() -> None:
    for name in (
        'maximum',
        'minimum',
        'fmax',
        'fmin',
        'logaddexp',
        'bitwise_and',
        'bitwise_or',
        'bitwise_xor',
        'logical_and',
        'logical_or',
        'logical_xor',
    ):
        SHARED.add(name)(_comparison(getattr(torch, name)))
    for name in (
        'zeros_like',
        'ones_like',
        'full_like',
        'empty_like',
        'logical_not',
        'bitwise_not',
        'isnan',
        'isfinite',
        'isinf',
        'sign',
        'sgn',
        'round',
        'floor',
        'ceil',
        'bool',
        'int',
        'long',
    ):
        for place in (torch, Tensor):
            if hasattr(place, name):
                SHARED.add(getattr(place, name))(_like(getattr(place, name)))


_add_choices()
