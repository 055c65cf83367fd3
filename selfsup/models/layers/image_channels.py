"""How many channels the images of a network have."""

from __future__ import annotations

from torch import Tensor, nn

from ...errors import ConfigError, ShapeError

NAMES = ('in_channels', 'in_chans')  # ours and timm's, as settings and as attributes


def stated_channels(backbone: nn.Module) -> int | None:
    """Channels of the images that `backbone` says it takes; None where it does not say.

    Raises:
        ConfigError: it says something else than a whole number above 0.
    """
    for name in NAMES:
        said = getattr(backbone, name, None)
        if said is not None:
            if type(said) is not int or said < 1:
                raise ConfigError(
                    f'The backbone {type(backbone).__name__} has {name}={said!r}: give the channels of the images, '
                    '1 or more.'
                )
            return said
    return None


def image_channels(backbone: nn.Module) -> int:
    """Channels of the images that `backbone` takes: what it says, else those of its first convolution, else 3.

    Raises:
        ConfigError: see `stated_channels`.
    """
    said = stated_channels(backbone)
    if said is not None:
        return said
    first = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


def check_image_channels(img: Tensor, channels: int, method: str) -> None:
    """Raise for images (B, C, H, W) of another number of channels than the backbone takes.

    Raises:
        ShapeError: C is not `channels`.
    """
    if img.shape[1] != channels:
        raise ShapeError(
            f'{method} has a backbone for images of {channels} {"channel" if channels == 1 else "channels"}, but these have '
            f'{img.shape[1]}: set model.backbone.in_channels={img.shape[1]}, or let data.train.pipeline make {channels}.'
        )
