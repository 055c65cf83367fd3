"""Rules for operations that treat every number alike: activations, arithmetic, comparisons, changes in place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import ConfigError, ShapeError
from ..axes import NHW, as_stored, dims_of
from ..block_map import BlockMap
from ..kernels.norm_relu import Normed, Rectified, relu_rows
from ..messages import operation_name, where
from ..rule_table import rule
from ..visible_map import VisibleMap

Plain = Tensor | float
Operand = BlockMap | Plain

# fmt: off
# f(0) = 0: hidden positions stay zero
ZERO_KEEPING = (
    'relu', 'relu_', 'relu6', 'leaky_relu', 'leaky_relu_', 'elu', 'selu', 'celu', 'gelu', 'silu', 'mish', 'hardswish', 'tanh', 'softsign',
    'hardshrink', 'dropout', 'dropout_', 'abs', 'neg', 'square', 'clone', 'detach', 'contiguous', 'to', 'float', 'half', 'bfloat16',
    'double', 'type', 'type_as', 'erf', 'sin', 'prelu', 'rrelu', 'nan_to_num',
)
# hidden positions must be masked again
OTHER = (
    'sigmoid', 'hardsigmoid', 'softplus', 'logsigmoid', 'hardtanh', 'hardtanh_', 'threshold', 'clamp', 'clamp_', 'clamp_min', 'clamp_max',
    'exp', 'cos', 'expm1', 'alpha_dropout',
)
# not finite at 0: hidden positions are computed from 1 instead, so that no NaN comes back through the gradient
SINGULAR = ('sqrt', 'rsqrt', 'reciprocal', 'log', 'log2', 'log1p')
BOUNDS = ('clamp', 'clamp_', 'clamp_min', 'clamp_max')  # of which other arguments broadcast to the map
COMPARISONS = ('eq', 'ne', 'lt', 'le', 'gt', 'ge')
OF_TWO = (
    'maximum', 'minimum', 'fmax', 'fmin', 'logaddexp', 'bitwise_and', 'bitwise_or', 'bitwise_xor', 'logical_and', 'logical_or',
    'logical_xor',
)
OF_ONE = (
    'zeros_like', 'ones_like', 'full_like', 'empty_like', 'logical_not', 'bitwise_not', 'isnan', 'isfinite', 'isinf', 'sign', 'sgn',
    'round', 'floor', 'ceil', 'bool', 'int', 'long',
)
IN_PLACE = ('add_', 'sub_', 'mul_', 'div_', 'pow_', 'addcmul_')
# fmt: on


# ---- one operand ------------------------------------------------------------------------------------------------------------


def _pointwise(function: Callable, clean: bool, singular: bool = False, broadcasts: bool = False) -> Callable:
    """Rule of a function of one map, which keeps its shape, and of numbers."""

    def apply(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        def stored(a: object) -> object:
            return operand(x, a) if broadcasts else a.stored if isinstance(a, BlockMap) else a

        if not isinstance(x, BlockMap):
            raise ConfigError(f'{operation_name(function)} of a plain tensor cannot take a map{where()}.')
        values = x.safe(x.stored) if singular else x.stored
        out = function(values, *map(stored, args), **{key: stored(a) for key, a in kwargs.items()})
        if out is x.stored and not clean:  # changed in place
            x.hidden_zero = False
        return x.with_stored(out, clean=clean)

    return apply


def _like(function: Callable) -> Callable:
    """Rule of a function of what is stored, which may be anything at hidden positions."""

    def apply(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        return x.with_stored(function(x.stored, *args, **kwargs), clean=False)

    return apply


def of_two(function: Callable) -> Callable:
    """Rule of a function of two operands, of which one at least is a map."""

    def apply(a: Operand, b: Operand) -> BlockMap:
        x = first_map(a, b)
        return x.with_stored(function(operand(x, a), operand(x, b)), clean=False)

    return apply


def _in_place(name: str) -> Callable:
    """Rule of the method `name`, which changes what a map stores; what torch forbids for a tensor it forbids for that."""

    def apply(x: BlockMap, *args: object, **kwargs: object) -> BlockMap:
        if not isinstance(x, BlockMap):
            raise ConfigError(
                f'Tensor.{name} cannot write a map into a plain tensor{where()}: use {name[:-1]} and keep what it returns.'
            )
        others = [*args, *kwargs.values()]
        if name == 'pow_' and not (isinstance(others[0], (int, float)) and others[0] >= 1):
            raise ConfigError(f'pow_ of a map takes a number that is 1 or more{where()}; got {others[0]}: use pow.')
        stored = [operand(x, a) for a in others]
        if name == 'div_' and isinstance(others[0], BlockMap):
            stored[0] = x.safe(others[0].stored)
        getattr(x.stored, name)(*stored[: len(args)], **dict(zip(kwargs, stored[len(args) :], strict=True)))
        if name in ('add_', 'sub_', 'addcmul_'):
            x.hide_()
        return x

    return apply


def _fill() -> None:
    for names, clean, singular in ((ZERO_KEEPING, True, False), (OTHER, False, False), (SINGULAR, False, True)):
        for name in names:
            for function in {getattr(place, name) for place in (torch, Tensor, functional) if hasattr(place, name)}:
                rule(function)(_pointwise(function, clean, singular, name in BOUNDS))
    for name in OF_ONE:
        for function in {getattr(place, name) for place in (torch, Tensor) if hasattr(place, name)}:
            rule(function)(_like(function))
    for name in COMPARISONS:
        rule(name, getattr(Tensor, f'__{name}__'))(of_two(getattr(torch, name)))
    for name in OF_TWO:
        rule(name)(of_two(getattr(torch, name)))
    for name in IN_PLACE:
        rule(name)(_in_place(name))


_fill()  # first: rules below replace some of these on one of the paths


@rule('relu', path='visible')
def relu(x: VisibleMap, inplace: bool = False) -> VisibleMap:
    """max(x, 0), of any shape. After a batch norm the result is not kept for gradients, see `kernels.norm_relu`."""
    if x.normed is None or not unchanged(x, x.normed):
        return x.with_stored(functional.relu(x.stored, inplace))
    rows, rectified = relu_rows(x.normed, inplace)
    out = x.with_positions(rows)
    out.rectified = rectified
    return out


rule('relu_', path='visible')(functools.partial(relu, inplace=True))


def unchanged(x: VisibleMap, made: Normed | Rectified | None) -> bool:
    """Whether `x` holds what was `made`: nothing has been written into it since."""
    return made is not None and x.stored._version == made.version


# ---- several operands -------------------------------------------------------------------------------------------------------


def operand(x: BlockMap, other: object) -> Any:
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
        size not in (1, of_map) and (of_map != 1 or dim in NHW)
        for size, of_map, dim in zip(other.shape[::-1], shape[::-1], dims[::-1], strict=False)
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


@rule('add')
def add(a: Operand, b: Operand, *, alpha: float = 1) -> BlockMap:
    """a + alpha * b, of shapes that broadcast to the map's; only a sum of two maps keeps hidden positions zero."""
    x = first_map(a, b)
    both = isinstance(a, BlockMap) and isinstance(b, BlockMap)
    return x.with_stored(torch.add(operand(x, a), operand(x, b), alpha=alpha), clean=both and all_zero(a, b))


@rule('sub', 'subtract')
def sub(a: Operand, b: Operand, *, alpha: float = 1) -> BlockMap:
    """a - alpha * b."""
    return add(a, b, alpha=-alpha)


@rule('mul', 'multiply')
def mul(a: Operand, b: Operand) -> BlockMap:
    """a * b."""
    x = first_map(a, b)
    return x.with_stored(torch.mul(operand(x, a), operand(x, b)))


@rule('div', 'divide', 'true_divide')
def div(a: Operand, b: Operand) -> BlockMap:
    """a / b."""
    x = first_map(a, b)
    divisor = operand(x, b)
    return x.with_stored(
        torch.div(operand(x, a), x.safe(divisor) if isinstance(b, BlockMap) else divisor), clean=isinstance(a, BlockMap)
    )


@rule('pow')
def power(x: BlockMap, exponent: Plain) -> BlockMap:
    """x ** exponent, for a number or a plain tensor (the learned exponent of GeM pooling)."""
    if isinstance(exponent, BlockMap) or not isinstance(x, BlockMap):
        raise ConfigError(f'A map cannot be an exponent{where()}.')
    if isinstance(exponent, Tensor):
        return x.with_stored(torch.pow(x.safe(x.stored), operand(x, exponent)), clean=False)
    easy = exponent >= 1
    return x.with_stored(torch.pow(x.stored if easy else x.safe(x.stored), exponent), clean=easy)


@rule('addcmul')
def addcmul(a: Operand, b: Operand, c: Operand, *, value: float = 1) -> BlockMap:
    """a + value * b * c."""
    x = first_map(a, b, c)
    clean = isinstance(a, BlockMap) and (isinstance(b, BlockMap) or isinstance(c, BlockMap)) and all_zero(a, b, c)
    return x.with_stored(torch.addcmul(operand(x, a), operand(x, b), operand(x, c), value=value), clean=clean)


@rule('expand_as')
def expand_as(a: Tensor, x: BlockMap) -> Tensor:
    """A plain tensor that broadcasts to a map is left as it is."""
    operand(x, a)
    return a


@rule('where')
def choose(condition: Operand, a: Operand, b: Operand) -> BlockMap:
    """a where the condition holds, else b; each of the three is a map, a plain tensor or, but for the condition, a number."""
    x = first_map(condition, a, b)
    return x.with_stored(torch.where(operand(x, condition), operand(x, a), operand(x, b)), clean=False)


@rule(Tensor.where)
def choose_method(a: Operand, condition: Operand, b: Operand) -> BlockMap:
    """`choose`, as a method of the first choice."""
    return choose(condition, a, b)


@rule('masked_fill')
def masked_fill(x: BlockMap, mask: Operand, value: Plain) -> BlockMap:
    """`value` where the mask holds."""
    return choose(mask, value if isinstance(value, Tensor) else torch.tensor(value, dtype=x.dtype, device=x.device), x)


@rule('lerp')
def lerp(a: Operand, b: Operand, weight: Operand) -> BlockMap:
    """a + weight * (b - a)."""
    x = first_map(a, b, weight)
    return x.with_stored(torch.lerp(operand(x, a), operand(x, b), operand(x, weight)), clean=False)
