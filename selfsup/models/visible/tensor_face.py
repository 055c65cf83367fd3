"""The face of a tensor: attributes, methods and operators by which a network takes a map for one.

Every method and operator that is not answered here is looked up as an operation of torch, see `BlockMap.__torch_function__`.
"""

from __future__ import annotations

import functools
import operator
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError
from .axes import as_seen, channel_sizes, dims_of
from .grid import Blocks
from .messages import where


class TensorFace:
    """What a map has in common with `torch.Tensor`. Its subclass says what `stored` is, and the size of a block.

    Attributes:
        stored: what the map holds: the axes of the map, of which N, H and W may differ in size.
        blocks: which blocks are visible.
        axes: order of the axes, such as 'NCHW' or 'NHWC'; see `axes.py`.
        margin: pixels that `F.pad` added at the top, bottom, left, right; the next convolution or pooling uses them up.
    """

    stored: Tensor
    blocks: Blocks
    axes: str
    margin: tuple[int, int, int, int]
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def block_size(self) -> tuple[int, int]:
        """Pixels of one block at the scale of this map, (height, width)."""

    @classmethod
    @abstractmethod
    def __torch_function__(
        cls, func: Callable, types: tuple[type, ...], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Follow the rule of a torch operation."""

    def _call(self, function: Callable, *args: object, **kwargs: object) -> Any:
        return self.__torch_function__(function, (type(self),), (self, *args), kwargs)

    # ---- attributes -----------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> torch.Size:
        """Nominal shape, as the network sees it."""
        sizes = self.whole_sizes()
        if len(sizes) == 4 and 'h' not in self.axes:
            return torch.Size(sizes)
        return as_seen(torch.empty(sizes, device='meta'), self.axes).shape

    def whole_sizes(self) -> list[int]:
        """Size of each axis in `axes` on the whole map."""
        zh, zw = self.block_size()
        known = {
            'N': self.blocks.batch,
            'H': zh * self.blocks.fh + self.margin[0] + self.margin[1],
            'W': zw * self.blocks.fw + self.margin[2] + self.margin[3],
        }
        return [known.get(axis, size) for axis, size in zip(self.axes.upper(), self.stored.shape, strict=True)]

    def channel_sizes(self) -> list[int]:
        """Sizes of the channel axes, in their order."""
        return channel_sizes(self.stored, self.axes)

    def size(self, dim: int | None = None) -> torch.Size | int:
        """Like `Tensor.size`."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Like `Tensor.dim`: 4, but where channels were regrouped or positions flattened."""
        return len(dims_of(self.axes))

    ndimension = dim
    ndim = property(dim)
    is_quantized = is_mkldnn = is_sparse = False

    @property
    def visible(self) -> Tensor:
        """(B, fh, fw) bool, True = kept."""
        return self.blocks.visible

    def numel(self) -> int:
        """Number of elements of the nominal shape."""
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        """Like `Tensor.is_floating_point`."""
        return self.stored.is_floating_point()

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(shape={tuple(self.shape)}, axes={self.axes!r}, dtype={self.dtype}, '
            f'visible blocks={self.blocks.number} of {self.visible.numel()})'
        )

    # plain tensors of the dtype and device of this map
    new_empty = functools.partialmethod(lambda self, *size, **kw: self.stored.new_empty(*size, **kw))
    new_zeros = functools.partialmethod(lambda self, *size, **kw: self.stored.new_zeros(*size, **kw))
    new_ones = functools.partialmethod(lambda self, *size, **kw: self.stored.new_ones(*size, **kw))
    new_full = functools.partialmethod(lambda self, size, value, **kw: self.stored.new_full(size, value, **kw))

    # ---- methods and operators ------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Callable:
        method = getattr(Tensor, name, None)
        if name.startswith('__') or not callable(method):
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        return functools.partial(self._call, method)

    def __bool__(self) -> bool:
        raise ConfigError(
            f'A {type(self).__name__} is neither true nor false{where()}: only its visible positions have values.'
        )

    def __eq__(self, other: object) -> Any:
        return self._call(Tensor.eq, other) if isinstance(other, (int, float, Tensor, TensorFace)) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return self._call(Tensor.ne, other) if isinstance(other, (int, float, Tensor, TensorFace)) else NotImplemented

    __hash__ = object.__hash__  # of the map itself, as for tensors

    def __rsub__(self, other: object) -> Any:
        return self._call(Tensor.neg)._call(Tensor.add, other)

    def __rtruediv__(self, other: object) -> Any:
        return self._call(Tensor.reciprocal)._call(Tensor.mul, other)


# fmt: off
for _name in ('dtype', 'device', 'layout', 'requires_grad', 'is_cuda', 'is_meta', 'is_leaf'):
    setattr(TensorFace, _name, property(operator.attrgetter(f'stored.{_name}')))
for _name, _function in {
    '__getitem__': Tensor.__getitem__, '__add__': Tensor.add, '__radd__': Tensor.add, '__sub__': Tensor.sub, '__mul__': Tensor.mul,
    '__rmul__': Tensor.mul, '__truediv__': Tensor.div, '__pow__': Tensor.pow, '__neg__': Tensor.neg, '__abs__': Tensor.abs,
    '__lt__': Tensor.lt, '__le__': Tensor.le, '__gt__': Tensor.gt, '__ge__': Tensor.ge,
    # without a rule unless one is registered: the error names the operation
    '__setitem__': Tensor.__setitem__, '__rpow__': Tensor.__rpow__, '__floordiv__': Tensor.floor_divide,
    '__rfloordiv__': Tensor.__rfloordiv__, '__mod__': Tensor.remainder, '__rmod__': Tensor.__rmod__, '__matmul__': Tensor.matmul,
    '__rmatmul__': Tensor.__rmatmul__, '__and__': Tensor.bitwise_and, '__or__': Tensor.bitwise_or, '__invert__': Tensor.bitwise_not,
}.items():
    setattr(TensorFace, _name, functools.partialmethod(TensorFace._call, _function))
# fmt: on
