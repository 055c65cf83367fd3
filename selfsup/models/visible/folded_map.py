"""Images that are laid out as groups of channels, so that each of them can have its own weights.

Networks write a convolution whose weights depend on the image (CondConv, dynamic convolutions) as one convolution with groups: the
images (B, C, H, W) become (1, B * C, H, W), then (1, B * D, H, W), then (B, D, H, W). These steps are all that such a map takes part in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError
from .axes import flat
from .block_map import BlockMap
from .messages import operation_name, where


class FoldedMap:
    """A map (B, C, H, W) that the network sees as (1, B * C, H, W), or as (B * C, 1, H, W).

    Its convolution is computed on the whole map, with zeros where hidden.

    Args:
        folded: the map itself.
        last: whether the network sees the channels first, after `permute(1, 0, 2, 3)`.
        pads: pixels of zeros at the left, right, top, bottom, for the next convolution.
    """

    def __init__(self, folded: BlockMap, swapped: bool = False, pads: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        self.folded, self.swapped, self.pads = folded, swapped, pads

    @property
    def shape(self) -> torch.Size:
        """Nominal shape."""
        batch, channels, height, width = self.folded.shape
        first = (batch * channels, 1) if self.swapped else (1, batch * channels)
        return torch.Size((*first, height + self.pads[2] + self.pads[3], width + self.pads[0] + self.pads[1]))

    dtype = property(lambda self: self.folded.dtype)
    device = property(lambda self: self.folded.device)

    def size(self, dim: int | None = None) -> torch.Size | int:
        """Like `Tensor.size`."""
        return self.shape if dim is None else self.shape[dim]

    def permute(self, *dims: int | Sequence[int]) -> FoldedMap:
        """Images and channels exchanged; nothing else."""
        order = flat(dims)
        if order != (1, 0, 2, 3):
            raise ConfigError(
                f'Images folded into channels can only be exchanged with them{where()}; got the order {order}.'
            )
        return FoldedMap(self.folded, not self.swapped, self.pads)

    def transpose(self, first: int, second: int) -> FoldedMap:
        """As `permute`."""
        order = [0, 1, 2, 3]
        order[first], order[second] = order[second], order[first]
        return self.permute(order)

    def reshape(self, *shape: int | Sequence[int]) -> FoldedMap | BlockMap:
        """Back to (B, C, H, W), or the same again."""
        wanted = tuple(int(size) for size in flat(shape))
        if not any(self.pads):
            for target, made in ((self.folded.shape, self.folded), (self.shape, self)):
                if (
                    len(wanted) == 4
                    and wanted.count(-1) < 2
                    and all(w in (-1, t) for w, t in zip(wanted, target, strict=True))
                ):
                    return made
        raise ConfigError(
            f'Images folded into channels {tuple(self.shape)} can only be unfolded to {tuple(self.folded.shape)}{where()}; '
            f'got {wanted}.'
        )

    view = reshape

    def contiguous(self) -> FoldedMap:
        """Itself."""
        return self

    def _convolved(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | tuple[int, ...] = 1,
        padding: int | str | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
    ) -> FoldedMap:
        batch, channels = self.folded.shape[:2]
        if self.swapped or groups % batch:
            raise ConfigError(
                f'conv2d of {batch} images folded into channels needs a multiple of {batch} groups{where()}; got {groups}.'
            )
        whole = self.folded.dense().reshape(1, batch * channels, *self.folded.shape[2:])
        whole = functional.pad(whole, self.pads) if any(self.pads) else whole
        out = functional.conv2d(whole, weight, bias, stride, padding, dilation, groups)
        return FoldedMap(self.folded.with_whole(out.reshape(batch, -1, *out.shape[2:])))

    def _padded(self, pad: tuple[int, ...], mode: str = 'constant', value: float | None = None) -> FoldedMap:
        if mode != 'constant' or value not in (None, 0) or len(pad) != 4 or min(pad) < 0:
            raise ConfigError(
                f'Images folded into channels can be padded by zeros only{where()}; got pad={tuple(pad)}, mode={mode!r}.'
            )
        return FoldedMap(self.folded, self.swapped, tuple(a + b for a, b in zip(self.pads, pad, strict=True)))

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: tuple[type, ...], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        methods: dict[Callable, Callable] = {
            functional.conv2d: cls._convolved,
            torch.conv2d: cls._convolved,
            functional.pad: cls._padded,
            torch.permute: cls.permute,
            torch.reshape: cls.reshape,
            torch.transpose: cls.transpose,
        }
        if func not in methods or not isinstance(args[0], cls):
            raise ConfigError(
                f'{operation_name(func)} of images folded into channels{where()} is not known: only a convolution is.'
            )
        return methods[func](*args, **({} if kwargs is None else kwargs))
