"""What both kinds of partly visible feature maps share: they look like a tensor (B, C, H, W) to a network.

A map is not a tensor; it implements `__torch_function__`. Every torch function, tensor method or operator that meets one is
looked up in the map's table of rules, and the rule computes on what the map stores. A network made of such operations
therefore runs on a map as it is: same module, same weights, same state dict.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ShapeError
from .blocks import Blocks
from .map_axes import as_seen, channel_sizes, dims_of
from .norm_relu import Normed

CONVOLUTIONS = (
    'what relates positions to positions, such as attention, has no meaning where some are hidden: masked training needs a '
    'convolutional network'
)
HOW_TO_ADD = (
    'Add one with selfsup.models.layers.visible.register_rule (its docstring shows how) if it '
    'treats all positions alike; for operations over all positions, such as attention, there is none: masked training needs a '
    'convolutional network'
)


class Rules:
    """Table from torch functions to what they do on a map. Filled where rules are defined, at import, as registries are.

    Args:
        parent: table to look in where this one has no entry.
    """

    def __init__(self, parent: Rules | None = None) -> None:
        self.parent = parent
        self.table: dict[Callable, Callable] = {}

    def add(self, *functions: Callable | str) -> Callable[[Callable], Callable]:
        """Decorator: use the decorated function for these torch functions.

        Args:
            *functions: torch functions, or names; a name stands for every function of that name in `torch`,
                `torch.Tensor`, `torch.nn.functional` and `torch.linalg`.

        Raises:
            ConfigError: torch has no function of that name.
        """
        keys = [
            key for function in functions for key in (_named(function) if isinstance(function, str) else [function])
        ]

        def register(rule: Callable) -> Callable:
            self.table.update(dict.fromkeys(keys, rule))
            return rule

        return register

    def find(self, function: Callable) -> Callable | None:
        """The rule for `function`, or None."""
        rule = self.table.get(function)
        return self.parent.find(function) if rule is None and self.parent is not None else rule


def _named(name: str) -> list[Callable]:
    found = [getattr(place, name) for place in (torch, Tensor, nn.functional, torch.linalg) if hasattr(place, name)]
    if not found:
        raise ConfigError(f"Torch has no function '{name}' to add a rule for: check the spelling.")
    return found


class BlockMap:
    """A feature map (B, C, H, W) of which only blocks are visible. Base of `VisibleMap` and `MaskedMap`.

    Args:
        stored: what the map holds: the axes of the map, of which N, H and W may differ in size.
        blocks: which blocks are visible.
        axes: order of the axes, such as 'NCHW' or 'NHWC'; see `map_axes`.
        margin: pixels that `F.pad` added at the top, bottom, left, right; the next convolution or pooling uses them up.
        margin_value: what is in them; or `F.pad`'s mode, 'reflect', say, if that has to look at the map.
    """

    rules = Rules()
    hidden_zero = True  # whether hidden positions, if stored, are known to be zero

    def __init__(
        self,
        stored: Tensor,
        blocks: Blocks,
        axes: str = 'NCHW',
        margin: tuple[int, int, int, int] = (0, 0, 0, 0),
        margin_value: float | str = 0.0,
    ) -> None:
        self.stored, self.blocks, self.axes = stored, blocks, axes
        self.margin, self.margin_value = margin, margin_value

    @classmethod
    def from_dense(cls, x: Tensor, visible: Tensor, sync: bool = False) -> BlockMap:
        """The map of a whole tensor of which only some blocks count.

        Args:
            x: (B, C, H, W) float.
            visible: (B, fh, fw) bool, True = kept; a block has H / fh x W / fw pixels.
            sync: batch norms use the visible positions of all ranks (counts may differ between ranks).

        Raises:
            ShapeError: shapes that do not fit each other, another dtype, or no visible block at all.
        """
        check_grid(x, visible)
        return cls._start(x, Blocks(visible, sync))

    @classmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> BlockMap:
        raise NotImplementedError

    # ---- what a kind of map has to say ----------------------------------------------------------------------------------

    def dense(self) -> Tensor:
        """(B, C, H, W), zeros where hidden; differentiable."""
        raise NotImplementedError

    def with_whole(self, whole: Tensor, blocks: Blocks | None = None) -> BlockMap:
        """A map like this one made of a whole tensor (B, C, H, W), whose hidden positions do not count; or one of other blocks."""
        raise NotImplementedError

    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> BlockMap:
        """A map like this one that holds `stored`. `clean`: its hidden positions, if stored, are zero where this map's are."""
        raise NotImplementedError

    def block_size(self) -> tuple[int, int]:
        """Pixels of one block at the scale of this map, (height, width)."""
        raise NotImplementedError

    def positions(self) -> Tensor:
        """(N, C, ...) the visible positions, differentiable; for a map in NCHW order."""
        raise NotImplementedError

    def with_positions(self, positions: Tensor) -> BlockMap:
        """A map like this one with other values at its visible positions, given as `positions` gives them."""
        raise NotImplementedError

    def with_normed(self, normed: Normed) -> BlockMap:
        """A map like this one with what batch norm made of `positions`."""
        return self.with_positions(normed.out)

    def per_image(self, t: Tensor, dim: int) -> Tensor:
        """A plain tensor with one entry per image along `dim`, as it goes with the first axis of what is stored."""
        raise NotImplementedError

    def image_total(self, t: Tensor) -> Tensor:
        """(B, ...) sums for each image over the first axis of `t`, which is that of what is stored."""
        raise NotImplementedError

    def by_image(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, C) positions of each image of `t`, laid out as in `image_sum`, and (B, P) bool, which of them are visible."""
        raise NotImplementedError

    def image_norm(self, t: Tensor, order: float, dtype: torch.dtype) -> Tensor:
        """(B, C) norms over the visible positions of each image, for `t` as in `image_sum`."""
        raise NotImplementedError

    def image_sum(self, t: Tensor) -> Tensor:
        """(B, C) sums over the visible positions of each image of `t` (N, C, h, w), a form of what is stored (`map_axes.as_maps`)."""
        raise NotImplementedError

    def spread(self, plain: Tensor) -> Tensor:
        """A plain tensor of the axes of what is stored, each of full size or 1, in a form that broadcasts with `stored`."""
        raise NotImplementedError

    def zeroed(self) -> Tensor:
        """What is stored, with zeros at hidden positions where these are stored."""
        raise NotImplementedError

    def safe(self, t: Tensor) -> Tensor:
        """`t`, laid out like `stored`, with ones at hidden positions where these are stored, so that it can be divided by."""
        raise NotImplementedError

    def hide(self, t: Tensor) -> Tensor:
        """`t`, laid out like `stored`, with zeros at hidden positions where these are stored."""
        raise NotImplementedError

    def hide_(self) -> None:
        """After a change in place: make hidden positions zero again where they were."""
        raise NotImplementedError

    # ---- the face of a tensor -------------------------------------------------------------------------------------------

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
    dtype = property(lambda self: self.stored.dtype)
    device = property(lambda self: self.stored.device)
    layout = property(lambda self: self.stored.layout)
    requires_grad = property(lambda self: self.stored.requires_grad)
    is_cuda = property(lambda self: self.stored.is_cuda)
    is_meta = property(lambda self: self.stored.is_meta)
    is_leaf = property(lambda self: self.stored.is_leaf)
    is_quantized = is_mkldnn = is_sparse = False
    visible = property(lambda self: self.blocks.visible, doc='(B, fh, fw) bool, True = kept.')

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

    def new_empty(self, *size: int, **kwargs: object) -> Tensor:
        """A plain tensor of this dtype and device."""
        return self.stored.new_empty(*size, **kwargs)

    new_zeros = functools.partialmethod(lambda self, *size, **kw: self.stored.new_zeros(*size, **kw))
    new_ones = functools.partialmethod(lambda self, *size, **kw: self.stored.new_ones(*size, **kw))

    def new_full(self, size: tuple[int, ...], value: float, **kwargs: object) -> Tensor:
        """A plain tensor of this dtype and device."""
        return self.stored.new_full(size, value, **kwargs)

    def __getattr__(self, name: str) -> Callable:
        method = getattr(Tensor, name, None)
        if name.startswith('__') or not callable(method):
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        return functools.partial(self._call, method)

    def _call(self, function: Callable, *args: object, **kwargs: object) -> object:
        return self.__torch_function__(function, (type(self),), (self, *args), kwargs)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: tuple[type, ...], args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = {} if kwargs is None else kwargs
        rule = cls.rules.find(func)
        if rule is None:
            raise ConfigError(f'{cls.__name__} has no rule for {operation_name(func)}{where()}. {HOW_TO_ADD}.')
        given = [
            a for value in (*args, *kwargs.values()) for a in (value if isinstance(value, (list, tuple)) else (value,))
        ]
        maps = [a for a in given if isinstance(a, BlockMap)]
        if not torch.is_grad_enabled() and maps and any(_loses_gradient(a, maps[0].blocks) for a in given):
            raise ConfigError(
                f'{operation_name(func)}{where()} met a {cls.__name__} with gradients switched off inside of a forward pass '
                'that needs them (a custom autograd.Function, or checkpointing with use_reentrant=True): the gradient '
                'would be lost. Use plain operations there, or use_reentrant=False; give frozen weights requires_grad=False.'
            )
        if not getattr(rule, 'takes_margin', False) and any(m.margin != (0, 0, 0, 0) for m in maps):
            raise ConfigError(
                f'{operation_name(func)}{where()} got a padded {cls.__name__}: after F.pad only a convolution or a '
                'pooling can follow.'
            )
        try:
            return rule(*args, **kwargs)
        except TypeError:
            _check_arguments(func, rule, args, kwargs)
            raise

    def __bool__(self) -> bool:
        raise ConfigError(
            f'A {type(self).__name__} is neither true nor false{where()}: only its visible positions have values.'
        )

    def __eq__(self, other: object) -> BlockMap:
        return self._call(Tensor.eq, other) if isinstance(other, (int, float, Tensor, BlockMap)) else NotImplemented

    def __ne__(self, other: object) -> BlockMap:
        return self._call(Tensor.ne, other) if isinstance(other, (int, float, Tensor, BlockMap)) else NotImplemented

    __hash__ = object.__hash__  # of the map itself, as for tensors

    def __rsub__(self, other: object) -> BlockMap:
        return self._call(Tensor.neg)._call(Tensor.add, other)

    def __rtruediv__(self, other: object) -> BlockMap:
        return self._call(Tensor.reciprocal)._call(Tensor.mul, other)

    __getitem__ = functools.partialmethod(_call, Tensor.__getitem__)
    __add__ = __radd__ = functools.partialmethod(_call, Tensor.add)
    __sub__ = functools.partialmethod(_call, Tensor.sub)
    __mul__ = __rmul__ = functools.partialmethod(_call, Tensor.mul)
    __truediv__ = functools.partialmethod(_call, Tensor.div)
    __pow__ = functools.partialmethod(_call, Tensor.pow)
    __neg__ = functools.partialmethod(_call, Tensor.neg)
    __abs__ = functools.partialmethod(_call, Tensor.abs)
    __lt__ = functools.partialmethod(_call, Tensor.lt)
    __le__ = functools.partialmethod(_call, Tensor.le)
    __gt__ = functools.partialmethod(_call, Tensor.gt)
    __ge__ = functools.partialmethod(_call, Tensor.ge)
    # without a rule unless one is registered: the error names the operation
    __setitem__ = functools.partialmethod(_call, Tensor.__setitem__)
    __rpow__ = functools.partialmethod(_call, Tensor.__rpow__)
    __floordiv__ = functools.partialmethod(_call, Tensor.floor_divide)
    __rfloordiv__ = functools.partialmethod(_call, Tensor.__rfloordiv__)
    __mod__ = functools.partialmethod(_call, Tensor.remainder)
    __rmod__ = functools.partialmethod(_call, Tensor.__rmod__)
    __matmul__ = functools.partialmethod(_call, Tensor.matmul)
    __rmatmul__ = functools.partialmethod(_call, Tensor.__rmatmul__)
    __and__ = functools.partialmethod(_call, Tensor.bitwise_and)
    __or__ = functools.partialmethod(_call, Tensor.bitwise_or)
    __invert__ = functools.partialmethod(_call, Tensor.bitwise_not)


def _loses_gradient(given: object, blocks: Blocks) -> bool:
    """Whether an argument needs a gradient; weights do if the forward pass began with gradients."""
    return (
        given.stored.requires_grad
        if isinstance(given, BlockMap)
        else (blocks.needs_grad and isinstance(given, Tensor) and given.requires_grad)
    )


def _check_arguments(function: Callable, rule: Callable, args: tuple, kwargs: dict) -> None:
    """Raise a ConfigError where `rule` does not take the arguments."""
    try:
        inspect.signature(rule).bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigError(
            f'{operation_name(function)} of a map{where()} does not take these arguments: {error}.'
        ) from None


def takes_margin(rule: Callable) -> Callable:
    """Mark a rule that deals with the margin which `F.pad` leaves."""
    rule.takes_margin = True
    return rule


def check_grid(x: Tensor, visible: Tensor) -> None:
    """Raise a ShapeError where `visible` is no grid of blocks for `x`."""
    if not isinstance(visible, Tensor) or visible.dtype != torch.bool or visible.dim() != 3:
        given = (
            f'{tuple(visible.shape)} {visible.dtype}' if isinstance(visible, Tensor) else repr(type(visible).__name__)
        )
        raise ShapeError(f'visible must be a bool tensor (B, fh, fw), True = kept; got {given}.')
    if x.dim() != 4 or not x.is_floating_point():
        raise ShapeError(f'Images must be a float tensor (B, C, H, W); got {tuple(x.shape)} {x.dtype}.')
    if len(x) != len(visible):
        raise ShapeError(
            f'There are {len(x)} images but visible has {len(visible)} grids: give one (fh, fw) grid per image.'
        )
    if 0 in visible.shape or x.shape[2] % visible.shape[1] or x.shape[3] % visible.shape[2]:
        raise ShapeError(
            f'An image of {x.shape[2]} x {x.shape[3]} pixels cannot be cut into {visible.shape[1]} x {visible.shape[2]} equal '
            'blocks: resize the images to multiples of the block size.'
        )
    if visible.device != x.device:
        raise ShapeError(
            f'The images are on {x.device} but visible is on {visible.device}: move visible to {x.device}.'
        )
    if not bool(visible.any()):
        raise ShapeError(f'visible {tuple(visible.shape)} keeps no block at all: lower the mask ratio.')


def check_scale(blocks: Blocks, whole: Tensor) -> Tensor:
    """`whole` (B, C, H, W) itself.

    Raises:
        ConfigError: it cannot be cut into the blocks.
    """
    if whole.shape[2] % blocks.fh or whole.shape[3] % blocks.fw or 0 in whole.shape[2:]:
        raise ConfigError(
            f'The map became {whole.shape[2]} x {whole.shape[3]}, which does not hold {blocks.fh} x {blocks.fw} equal blocks'
            f'{where()}: make the block size a multiple of the stride of the network, or return fewer stages.'
        )
    return whole


def operation_name(function: Callable) -> str:
    """'torch.nn.functional.fold' or 'Tensor.cumsum', for messages."""
    name = getattr(function, '__name__', str(function))
    if getattr(Tensor, name, None) is function:
        return f'Tensor.{name}'
    module = getattr(function, '__module__', None) or 'torch'
    return f'{module}.{name}'


def where() -> str:
    """' in layer4.0.act (ReLU)': the innermost module that is running, named from the outermost one."""
    running = []
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get('self')
        if isinstance(owner, nn.Module) and frame.f_code.co_name != '_call_impl':
            running.append(owner)
        frame = frame.f_back
    return place(running[0], running[-1]) if running else ''


def place(module: nn.Module, within: nn.Module) -> str:
    """' in layer4.0.act (ReLU)'."""
    name = next((name for name, other in within.named_modules() if other is module), '')
    return f' in {name + " " if name else ""}({type(module).__name__})'
