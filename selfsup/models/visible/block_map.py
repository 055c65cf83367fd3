"""What both kinds of partly visible feature maps share: how they hold their blocks, and how an operation finds its rule.

A map is not a tensor; it implements `__torch_function__`. Every torch function, tensor method or operator that meets one is
looked up in the table of rules (`rule_table.py`), and the rule computes on what the map stores. A network made of such operations
therefore runs on a map as it is: same module, same weights, same state dict.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from ...errors import ConfigError
from .grid import Blocks, check_grid, check_scale
from .kernels.norm_relu import Normed
from .messages import HOW_TO_ADD, operation_name, where
from .rule_table import RULES
from .tensor_face import TensorFace

Margin = tuple[int, int, int, int]


@dataclass(
    init=False, eq=False, repr=False
)  # so that what looks for tensors in a module's inputs and outputs (FSDP) finds `stored`
class BlockMap(TensorFace):
    """A feature map (B, C, H, W) of which only blocks are visible. Base of `VisibleMap` and `MaskedMap`.

    Args:
        stored: what the map holds: the axes of the map, of which N, H and W may differ in size.
        blocks: which blocks are visible.
        axes: order of the axes, such as 'NCHW' or 'NHWC'; see `axes.py`.
        margin: pixels that `F.pad` added at the top, bottom, left, right; the next convolution or pooling uses them up.
        margin_value: what is in them; or `F.pad`'s mode, 'reflect', say, if that has to look at the map.
    """

    stored: Tensor
    blocks: Blocks
    axes: str
    margin: Margin
    margin_value: float | str
    path: ClassVar[str]  # the column of the table of rules
    hidden_zero = True  # whether hidden positions, if stored, are known to be zero

    def __init__(
        self,
        stored: Tensor,
        blocks: Blocks,
        axes: str = 'NCHW',
        margin: Margin = (0, 0, 0, 0),
        margin_value: float | str = 0.0,
    ) -> None:
        self.stored, self.blocks, self.axes = stored, blocks, axes
        self.margin, self.margin_value = margin, margin_value

    @classmethod
    def from_dense(cls, x: Tensor, visible: Tensor, sync: bool = False) -> Self:
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
    @abstractmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> Self:
        """A map of a whole tensor (B, C, H, W)."""

    @abstractmethod
    def dense(self) -> Tensor:
        """(B, C, H, W), zeros where hidden; differentiable."""

    def with_whole(self, whole: Tensor, blocks: Blocks | None = None) -> Self:
        """A map like this one made of a whole tensor (B, C, H, W), whose hidden positions do not count; or one of other blocks."""
        blocks = self.blocks if blocks is None else blocks
        return self._start(check_scale(blocks, whole), blocks)

    @abstractmethod
    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> Self:
        """A map like this one that holds `stored`. `clean`: its hidden positions, if stored, are zero where this map's are."""

    @abstractmethod
    def with_margin(self, margin: Margin, value: float | str) -> Self:
        """This map with `margin` pixels around it, see `BlockMap`."""

    @abstractmethod
    def positions(self) -> Tensor:
        """(N, C, ...) the visible positions, differentiable; for a map in NCHW order."""

    @abstractmethod
    def with_positions(self, positions: Tensor) -> Self:
        """A map like this one with other values at its visible positions, given as `positions` gives them."""

    def with_normed(self, normed: Normed) -> Self:
        """A map like this one with what batch norm made of `positions`."""
        return self.with_positions(normed.out)

    @abstractmethod
    def per_image(self, t: Tensor, dim: int) -> Tensor:
        """A plain tensor with one entry per image along `dim`, as it goes with the first axis of what is stored."""

    @abstractmethod
    def image_total(self, t: Tensor) -> Tensor:
        """(B, ...) sums for each image over the first axis of `t`, which is that of what is stored."""

    @abstractmethod
    def by_image(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, C) positions of each image of `t`, laid out as in `image_sum`, and (B, P) bool, which of them are visible."""

    @abstractmethod
    def image_norm(self, t: Tensor, order: float, dtype: torch.dtype) -> Tensor:
        """(B, C) norms over the visible positions of each image, for `t` as in `image_sum`."""

    @abstractmethod
    def image_sum(self, t: Tensor) -> Tensor:
        """(B, C) sums over the visible positions of each image of `t` (N, C, h, w), a form of what is stored (`axes.as_maps`)."""

    @abstractmethod
    def spread(self, plain: Tensor) -> Tensor:
        """A plain tensor of the axes of what is stored, each of full size or 1, in a form that broadcasts with `stored`."""

    # ---- what a map does that stores hidden positions; one that does not has nothing to do ----

    def zeroed(self) -> Tensor:
        """What is stored, with zeros at hidden positions."""
        return self.stored

    def safe(self, t: Tensor) -> Tensor:
        """`t`, laid out like `stored`, with ones at hidden positions, so that it can be divided by."""
        return t

    def hide(self, t: Tensor) -> Tensor:
        """`t`, laid out like `stored`, with zeros at hidden positions."""
        return t

    def hide_(self) -> None:
        """After a change in place: make hidden positions zero again where they were."""

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: tuple[type, ...], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = {} if kwargs is None else kwargs
        rule = RULES.find(func, cls.path)
        if rule is None:
            raise ConfigError(f'{cls.__name__} has no rule for {operation_name(func)}{where()}. {HOW_TO_ADD}.')
        operands = [
            a for value in (*args, *kwargs.values()) for a in (value if isinstance(value, (list, tuple)) else (value,))
        ]
        maps = [a for a in operands if isinstance(a, BlockMap)]
        if not torch.is_grad_enabled() and maps and any(_loses_gradient(a, maps[0].blocks) for a in operands):
            raise ConfigError(
                f'{operation_name(func)}{where()} met a {cls.__name__} with gradients switched off inside of a forward pass '
                'that needs them (a custom autograd.Function, or checkpointing with use_reentrant=True): the gradient '
                'would be lost. Use plain operations there, or use_reentrant=False; give frozen weights requires_grad=False.'
            )
        if rule not in RULES.margin_takers and any(m.margin != (0, 0, 0, 0) for m in maps):
            raise ConfigError(
                f'{operation_name(func)}{where()} got a padded {cls.__name__}: after F.pad only a convolution or a '
                'pooling can follow.'
            )
        try:
            return rule(*args, **kwargs)
        except TypeError:
            _check_arguments(func, rule, args, kwargs)
            raise


def _loses_gradient(operand: object, blocks: Blocks) -> bool:
    """Whether an argument needs a gradient; weights do if the forward pass began with gradients."""
    return (
        operand.stored.requires_grad
        if isinstance(operand, BlockMap)
        else (blocks.needs_grad and isinstance(operand, Tensor) and operand.requires_grad)
    )


def _check_arguments(function: Callable, rule: Callable, args: tuple, kwargs: dict) -> None:
    """Raise a ConfigError where `rule` does not take the arguments."""
    try:
        inspect.signature(rule).bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigError(
            f'{operation_name(function)} of a map{where()} does not take these arguments: {error}.'
        ) from None
