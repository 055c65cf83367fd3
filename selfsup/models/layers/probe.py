"""The geometry of a backbone's feature maps, without running it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ...errors import ConfigError, ShapeError

PIXELS = 256  # side of the image that is imagined; a multiple of every usual stride


class MapGeometry(NamedTuple):
    """A feature map (B, channels, H / stride, W / stride) of images (B, 3, H, W)."""

    channels: int
    stride: int


def probe_maps(backbone: nn.Module) -> tuple[MapGeometry, ...]:
    """Channels and strides of the maps that `backbone` returns for RGB images.

    Shapes only: it runs on the meta device, with its weights replaced for the call, so that nothing is copied or computed.

    Raises:
        ConfigError: the backbone cannot take RGB images, or a map is no whole fraction of the image.
    """
    modes = {module: module.training for module in backbone.modules()}
    tensors = {name: torch.empty_like(t, device='meta') for name, t in (*backbone.named_parameters(), *backbone.named_buffers())}
    try:
        for module in modes:
            module.training = False  # running statistics need no update, and some updates cannot run on the meta device
        with torch.no_grad():
            maps = torch.func.functional_call(backbone, tensors, (torch.empty(2, 3, PIXELS, PIXELS, device='meta'),))
    except ShapeError as error:
        raise ConfigError(f'The backbone must take RGB images: {error}') from None
    finally:
        for module, mode in modes.items():
            module.training = mode
    maps = tuple(maps) if isinstance(maps, (tuple, list)) else (maps,)
    found = []
    for x in maps:
        if not isinstance(x, torch.Tensor) or x.dim() != 4:
            raise ConfigError(f'The backbone {type(backbone).__name__} returned {type(x).__name__} {tuple(getattr(x, "shape", ()))}, which '
                              'is no feature map (B, C, H, W): use a backbone that returns maps, without pooling or flattening.')
        stride = PIXELS // x.shape[-1]
        if tuple(x.shape[-2:]) != (PIXELS // stride, PIXELS // stride) or PIXELS % stride:
            raise ConfigError(f'The backbone {type(backbone).__name__} turns {PIXELS} x {PIXELS} pixels into a map of '
                              f'{x.shape[-2]} x {x.shape[-1]}, which is no whole fraction: masked training needs a network with padding.')
        found.append(MapGeometry(x.shape[1], stride))
    return tuple(found)
