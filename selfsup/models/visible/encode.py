"""Start reading here: a backbone runs on images of which only some blocks are visible."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ShapeError, did_you_mean
from .block_map import BlockMap
from .masked_map import MaskedMap
from .rule_table import RULES
from .visible_map import VisibleMap

KINDS = MappingProxyType({kind.path: kind for kind in (VisibleMap, MaskedMap)})


def encode_visible(
    backbone: nn.Module, img: Tensor, visible: Tensor, path: str = 'visible', sync: bool = False
) -> tuple[VisibleMap | MaskedMap, ...]:
    """The maps of `backbone` for images of which only some blocks are visible.

    Args:
        backbone: a convnet that takes images and returns a map or a tuple of maps; it runs as it is.
        img: (B, C, H, W) float.
        visible: (B, fh, fw) bool, True = kept. The block H / fh x W / fw must be a multiple of the stride of each map returned.
        path: 'visible' computes on visible blocks only; 'masked' computes everything and masks after each operation, the
            slow reference. Both give the same numbers.
        sync: batch norms use the visible positions of all ranks. They do so too if the backbone has a SyncBatchNorm.

    Returns:
        One map per map of the backbone.

    Raises:
        ShapeError: sizes that do not fit.
        ConfigError: unknown path, an operation without a rule, a network with another stride, or one that returns no maps.
    """
    sync = sync or any(isinstance(module, nn.SyncBatchNorm) for module in backbone.modules())
    start = map_kind(path).from_dense(img, visible, sync)
    start.blocks.needs_grad = torch.is_grad_enabled()
    return checked_maps(backbone, backbone(start), start)


def checked_maps(backbone: nn.Module, maps: object, start: BlockMap) -> tuple[VisibleMap | MaskedMap, ...]:
    """What `backbone` made of `start`, as a tuple.

    Raises:
        ConfigError: not maps of the blocks of `start`.
        ShapeError: there is none.
    """
    maps = tuple(maps) if isinstance(maps, (tuple, list)) else (maps,)
    for m in maps:
        if isinstance(m, BlockMap) and m.blocks is not start.blocks:
            raise ConfigError(
                f'{type(backbone).__name__} returned a map of {" x ".join(map(str, m.shape[2:]))}, which does not hold '
                f'{start.blocks.fh} x {start.blocks.fw} equal blocks: make the block size a multiple of the stride of the '
                'network, or return fewer stages.'
            )
        if not isinstance(m, BlockMap) or m.axes != 'NCHW':
            shown = (
                repr(m) if isinstance(m, BlockMap) else f'{type(m).__name__} of shape {tuple(getattr(m, "shape", ()))}'
            )
            raise ConfigError(
                f'{type(backbone).__name__} returned {shown}, which is no feature map (B, C, H, W): use a backbone that '
                'returns maps, without pooling or flattening.'
            )
    if not maps:
        raise ShapeError(f'{type(backbone).__name__} returned no maps.')
    return maps


def map_kind(path: str) -> type[VisibleMap] | type[MaskedMap]:
    """The kind of map for a path, 'visible' or 'masked'.

    Raises:
        ConfigError: there is no such path.
    """
    if path not in KINDS:
        raise ConfigError(f'path={path!r} is no way to compute with hidden blocks.{did_you_mean(str(path), KINDS)}')
    return KINDS[path]


def register_rule(*functions: Callable | str, path: str = 'visible') -> Callable[[Callable], Callable]:
    """Decorator that teaches maps a torch operation.

    A rule gets the arguments of the operation and returns a map or a plain tensor. For an operation that treats every position
    alike, compute on what the map stores::

        @register_rule(torch.special.erfcx)
        def erfcx(x):
            return x.with_stored(torch.special.erfcx(x.stored))

    For one that mixes positions, `x.dense()` gives the whole map with zeros where hidden and `VisibleMap.from_dense` goes back.
    On the masked path pass `clean=False` to `with_stored` where hidden positions may have become non-zero. Rules are meant to be
    registered once, when the module that defines them is imported.

    Args:
        *functions: torch functions, or names such as 'cumsum', which stand for the function and the method.
        path: 'visible' or 'masked'.

    Raises:
        ConfigError: unknown path or function.
    """
    map_kind(path)
    return RULES.rule(*functions, path=path)
