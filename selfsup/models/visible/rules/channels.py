"""Rules for products and reorderings of channels: linear layers, einsum, matmul, GLU, shuffles.

A product may also sum over all positions of an image, as a pooling with learned weights does. Hidden positions contribute nothing to it.
"""

from __future__ import annotations

import string

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import ConfigError
from ..axes import NHW, dims_of, renamed
from ..block_map import BlockMap
from ..kernels import conv
from ..masked_map import MaskedMap
from ..messages import CONVOLUTIONS, where
from ..rule_table import rule
from ..visible_map import VisibleMap
from .norms import need_channels_first
from .pointwise import all_zero, first_map, operand
from .shapes import channel_axis, regroup, transpose


@rule('glu')
def glu(x: BlockMap, dim: int = -1) -> BlockMap:
    """(B, C / 2, H, W) of (B, C, H, W), say: the first half of the channels, gated by the second."""
    return x.with_stored(functional.glu(x.stored, channel_axis(x, dim, 'glu')))


@rule('channel_shuffle', 'native_channel_shuffle')
def channel_shuffle(x: BlockMap, groups: int) -> BlockMap:
    """(B, C, H, W) of the same: channels of the groups in turns."""
    need_channels_first(x, 'channel_shuffle')
    batch, channels, height, width = x.shape
    if channels % groups:
        raise ConfigError(
            f'channel_shuffle of {channels} channels needs groups that divide them{where()}; got {groups}.'
        )
    grouped = regroup(x, [batch, groups, channels // groups, height, width])
    return regroup(transpose(grouped, 1, 2), [batch, channels, height, width])


def _need_channels_last(x: BlockMap, name: str) -> None:
    """Raise a ConfigError where the channels are not the last axis."""
    if x.axes[-1] in NHW:
        raise ConfigError(
            f'{name} of a map needs the channels as the last axis{where()}; got axes {x.axes}: permute it first.'
        )


# ---- products ---------------------------------------------------------------------------------------------------------------


@rule('linear', path='visible')
def linear(x: VisibleMap, weight: Tensor, bias: Tensor | None = None) -> VisibleMap:
    """(..., D) of (..., C): a linear layer on the channels, which must be the last axis."""
    _need_channels_last(x, 'linear')
    return x.with_stored(conv.linear(x.stored, weight, bias))


@rule('linear', path='masked')
def linear_masked(x: MaskedMap, weight: Tensor, bias: Tensor | None = None) -> MaskedMap:
    """(..., D) of (..., C), as `linear`."""
    _need_channels_last(x, 'linear')
    return x.with_stored(functional.linear(x.stored, weight, bias), clean=bias is None)


@rule(torch.functional.einsum, torch.einsum)
def einsum(equation: str, *operands: BlockMap | Tensor | list | tuple) -> BlockMap | Tensor:
    """Sums over channels at each position, which give a map, or also over all positions of each image, which give a plain tensor."""
    values = [v for part in operands for v in (part if isinstance(part, (list, tuple)) else (part,))]
    x, terms, out = first_map(*values), *_terms(equation, len(values))
    letters = _letters(x, terms[next(i for i, v in enumerate(values) if v is x)], equation)
    spatial = [letter for letter, axis in letters.items() if axis != 'N']
    image = next(letter for letter, axis in letters.items() if axis == 'N')
    for term, value in zip(terms, values, strict=True):
        fits = (
            _letters(value, term, equation) == letters
            if isinstance(value, BlockMap)
            else not any(s in term for s in spatial)
        )
        if not fits:
            raise ConfigError(f'einsum {equation!r} of a map{where()}: {CONVOLUTIONS}.')
    in_result = [letter in out for letter in spatial]
    if image not in out or any(in_result) != all(in_result):
        raise ConfigError(
            f'einsum {equation!r} of a map must keep the images and both spatial axes, or sum over both of these{where()}.'
        )
    stored_terms, arguments = [], []
    for term, value in zip(terms, values, strict=True):
        if isinstance(value, BlockMap):
            operand(x.with_stored(x.stored, value.axes), value)  # raises where the two are not at one place
            arguments.append(value.stored if all(in_result) else value.zeroed())
        else:
            at = term.find(image)
            arguments.append(value if at < 0 or value.shape[at] == 1 else x.per_image(value, at))
        stored_terms.append(term)
    fused = next((letter for letter, axis in letters.items() if axis == 'hw'), None)
    if fused is not None:
        pair = ''.join([c for c in string.ascii_letters if c not in ''.join(terms)][:2])
        stored_terms = [term.replace(fused, pair) for term in stored_terms]
    if not any(in_result):
        rest = out.replace(image, '')
        total = x.image_total(torch.einsum(f'{",".join(stored_terms)}->{image}{rest}', *arguments))
        return total.movedim(0, out.index(image))
    stored_out = out if fused is None else out.replace(fused, pair)
    axes = renamed([axis for letter in out for axis in (letters.get(letter, 'C') if letter in letters else ' ')])
    return x.with_stored(
        torch.einsum(f'{",".join(stored_terms)}->{stored_out}', *arguments), axes, clean=all_zero(*values)
    )


def _terms(equation: str, number: int) -> tuple[list[str], str]:
    """Letters of the operands and of the result."""
    left, arrow, out = equation.replace(' ', '').partition('->')
    terms = left.split(',')
    if not arrow or '.' in equation or len(terms) != number:
        raise ConfigError(
            f"einsum of a map needs an equation with '->' and without '...'{where()}; got {equation!r}, {number} operands."
        )
    return terms, out


def _letters(x: BlockMap, term: str, equation: str) -> dict[str, str]:
    """Which letters of an equation are images and positions."""
    dims = dims_of(x.axes)
    if len(term) != len(dims):
        raise ConfigError(
            f'einsum {equation!r} of a map {tuple(x.shape)}{where()}: {term!r} does not have {len(dims)} letters.'
        )
    return {letter: axis for letter, axis in zip(term, dims, strict=True) if axis in NHW}


@rule('matmul', 'bmm')
def matmul(a: BlockMap | Tensor, b: BlockMap | Tensor) -> BlockMap | Tensor:
    """(B, H, W, D) of a map (B, H, W, C) and a matrix (C, D); or a plain (B, C, D) of maps (B, C, HW) and (B, HW, D).

    The latter sums the products at all positions, to which hidden ones add nothing.
    """
    if isinstance(a, BlockMap) and isinstance(b, Tensor) and b.dim() == 2 and dims_of(a.axes)[-1] not in NHW:
        return a.with_stored(a.stored @ b)
    if (
        isinstance(a, BlockMap)
        and isinstance(b, BlockMap)
        and a.axes.endswith('hw')
        and b.axes[-3:-1] == 'hw'
        and len(a.axes) == len(b.axes)
        and a.axes[0] == b.axes[0] == 'N'
        and a.blocks is b.blocks
        and a.block_size() == b.block_size()
    ):
        return a.image_total(a.zeroed().flatten(-2) @ b.zeroed().flatten(-3, -2))
    shapes = ' and '.join(str(tuple(t.shape)) for t in (a, b))
    raise ConfigError(f'matmul of {shapes}, of which one at least is a partly visible map{where()}: {CONVOLUTIONS}.')


@rule(
    'baddbmm',
    'addbmm',
    'addmm',
    'scaled_dot_product_attention',
    'multi_head_attention_forward',
    'affine_grid',
    'grid_sample',
    'unfold',
    'fold',
    torch.fft.fft2,
    torch.fft.rfft2,
    torch.fft.ifft2,
    torch.fft.irfft2,
    torch.fft.fft,
    torch.fft.rfft,
)
def mixes_positions(*_: object, **__: object) -> None:
    """Refused."""
    raise ConfigError(f'An operation over all positions cannot take a partly visible map{where()}: {CONVOLUTIONS}.')
