"""What a backbone can do, before training: the geometry of its feature maps, and whether it takes partly visible images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...errors import ConfigError, SelfSupError, ShapeError
from .encode import checked_maps, map_kind
from .messages import place

PIXELS = 256  # side of the image that is imagined; a multiple of every usual stride
GRID = 4  # blocks per side of the image of the rehearsal
STEPS = 12, 16, 20  # sides in strides of the last map with which a stride that does not divide PIXELS is confirmed
NEEDS_CONVOLUTIONS = 'masked training needs a convolutional network, which takes images of any size'


class MapGeometry(NamedTuple):
    """A feature map (B, channels, H / stride, W / stride) of images (B, C, H, W)."""

    channels: int
    stride: int


def probe_maps(backbone: nn.Module, channels: int = 3) -> tuple[MapGeometry, ...]:
    """Channels and strides of the maps that `backbone` returns.

    Shapes only: it runs on the meta device, with its weights replaced for the call, so that nothing is copied or computed.

    Args:
        backbone: a network that takes images (B, channels, H, W) and returns a map or several.
        channels: of the images.

    Raises:
        ConfigError: the backbone cannot take such images, or a map is no whole fraction of the image.
    """
    maps = _maps_of(backbone, channels, PIXELS)
    geometry = _fractions(maps, PIXELS)
    if geometry is None:
        geometry = next(
            filter(None, (_with_stride(backbone, channels, stride) for stride in _patch_strides(maps))), None
        )
    if geometry is None:
        odd = next(x for x in maps if _fractions((x,), PIXELS) is None)
        raise ConfigError(
            f'The backbone {type(backbone).__name__} turns {PIXELS} x {PIXELS} pixels into a map of '
            f'{odd.shape[-2]} x {odd.shape[-1]}, which is no whole fraction: masked training needs a network with padding.'
        )
    return geometry


def _maps_of(backbone: nn.Module, channels: int, pixels: int) -> tuple[Tensor, ...]:
    """The maps of a square image, on the meta device."""
    modes = {module: module.training for module in backbone.modules()}
    tensors = {
        name: torch.empty_like(t, device='meta')
        for name, t in (*backbone.named_parameters(), *backbone.named_buffers())
    }
    name = type(backbone).__name__
    kind = 'RGB images' if channels == 3 else f'images of {channels} channels'
    try:
        for module in modes:
            module.training = False  # running statistics need no update, and some updates cannot run on the meta device
        with torch.no_grad():
            maps = torch.func.functional_call(
                backbone, tensors, (torch.empty(2, channels, pixels, pixels, device='meta'),)
            )
    except ShapeError as error:
        raise ConfigError(f'The backbone must take {kind}: {error}') from None
    except SelfSupError:
        raise
    except Exception as error:  # networks of others raise whatever they like at a size they do not take
        raise ConfigError(
            f'The backbone {name} cannot take {kind} of {pixels} x {pixels} pixels '
            f'({one_line(error)}{_raised_in(error, backbone)}): {NEEDS_CONVOLUTIONS}.'
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    maps = tuple(maps) if isinstance(maps, (tuple, list)) else (maps,)
    for x in maps:
        if not isinstance(x, Tensor) or x.dim() != 4:
            raise ConfigError(
                f'The backbone {name} returned {type(x).__name__} {tuple(getattr(x, "shape", ()))}, which '
                'is no feature map (B, C, H, W): use a backbone that returns maps, without pooling or flattening.'
            )
    return maps


def _fractions(maps: tuple[Tensor, ...], pixels: int) -> tuple[MapGeometry, ...] | None:
    """The geometry of the maps of an image of that side, None if one of them is no whole fraction of it."""
    geometry = tuple(MapGeometry(x.shape[1], pixels // max(x.shape[-1], 1)) for x in maps)
    whole = all(
        g.stride >= 1 and tuple(x.shape[-2:]) == (pixels / g.stride,) * 2 for x, g in zip(maps, geometry, strict=True)
    )
    return geometry if whole else None


def _patch_strides(maps: tuple[Tensor, ...]) -> tuple[int, ...]:
    """Strides of the last map that may leave a rest of the imagined image (7: 36 or 37 positions for 256 pixels)."""
    sides = [x.shape[-1] for x in maps]
    if min(sides) < 1 or any(x.shape[-2] != x.shape[-1] for x in maps):
        return ()
    options = [[s for s in range(1, PIXELS + 1) if side in (PIXELS // s, -(-PIXELS // s))] for side in sides]
    return tuple(options[-1]) if all(options) else ()


def _with_stride(backbone: nn.Module, channels: int, stride: int) -> tuple[MapGeometry, ...] | None:
    """The geometry of images whose sides are multiples of `stride`, None if the maps are no whole fractions of all of them."""
    geometries = {_fractions(_maps_of(backbone, channels, stride * steps), stride * steps) for steps in STEPS}
    return geometries.pop() if len(geometries) == 1 else None


def _raised_in(error: Exception, backbone: nn.Module) -> str:
    """' in model.stages.1 (Block)': the innermost layer of the backbone that was running when the error was raised."""
    step, innermost = error.__traceback__, None
    while step is not None:
        owner = step.tb_frame.f_locals.get('self')
        innermost = owner if isinstance(owner, nn.Module) else innermost
        step = step.tb_next
    return '' if innermost is None else place(innermost, backbone)


def check_masked(backbone: nn.Module, block: int, path: str = 'visible', channels: int = 3) -> None:
    """Rehearse a step of masked training, forward only and on two images of one visible block each, before there are any.

    An operation that partly visible maps do not have is thereby named when a model is built, not in its first iteration. Nothing is
    changed: batch norms use their running statistics, buffers are copies, the generators of random numbers are set back.

    Args:
        backbone: a network that takes images (B, channels, H, W).
        block: side of a block in pixels, a multiple of the stride of each map.
        path: see `encode_visible`.
        channels: of the images.

    Raises:
        ConfigError: the backbone cannot run on such images; with the operation, the layer and the reason.
    """
    kind = map_kind(path)
    tensor = next(iter((*backbone.parameters(), *backbone.buffers())), torch.empty(0))
    visible = torch.zeros(2, GRID, GRID, dtype=torch.bool, device=tensor.device)
    visible[0, 1, 1] = visible[1, 2, 0] = True
    norms = [
        module
        for module in backbone.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    buffers = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    try:
        for norm in norms:
            # Two visible positions are no statistic, and processes must not wait for each other here.
            norm.training = False
        pixels = torch.ones(2, channels, GRID * block, GRID * block, device=tensor.device, dtype=_float(tensor))
        devices = [] if tensor.device.type == 'cpu' else [tensor.device]
        with torch.random.fork_rng(devices, device_type=tensor.device.type if devices else 'cuda'), torch.enable_grad():
            images = kind.from_dense(pixels, visible)
            images.blocks.needs_grad = True
            checked_maps(backbone, torch.func.functional_call(backbone, buffers, (images,)), images)
    except (SelfSupError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # networks of others raise whatever they like
        raise ConfigError(
            f'The backbone {type(backbone).__name__} cannot take images of which parts are hidden '
            f'({one_line(error)}{_raised_in(error, backbone)}): {NEEDS_CONVOLUTIONS}.'
        ) from error
    finally:
        for norm in norms:
            norm.training = True


def _float(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.is_floating_point() else torch.float32


def one_line(error: Exception) -> str:
    """What an error of someone else's code says, in one line of at most 200 characters."""
    said = ' '.join(str(error).split())
    return (
        f'{type(error).__name__}: {said[:197] + "..." if len(said) > 200 else said}' if said else type(error).__name__
    )
