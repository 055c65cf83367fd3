"""What `prefetch` of a loader may say, without torch: configs are checked by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from .errors import ConfigError


class Prefetch(TypedDict, total=False):
    """Work that the device takes over; more than True, which is normalisation alone.

    Attributes:
        augment_on_device: the workers decode and crop, the device does the other steps for whole batches (False).
        images_on_device: all images wait on the device, which makes the views of them; needs `augment_on_device` (False).
    """

    augment_on_device: bool
    images_on_device: bool


class Prefetching(NamedTuple):
    """`prefetch`, read.

    Attributes:
        on: bytes leave the data set, and the device makes floats of them.
        augment: the device runs steps of the pipelines, too.
        images: and holds all images.
    """

    on: bool
    augment: bool = False
    images: bool = False


def read_prefetch(value: bool | Prefetch | Mapping[str, Any] | None) -> Prefetching:
    """True, False, or a dict, which switches it on whatever it holds.

    Raises:
        ConfigError: images_on_device without augment_on_device.
    """
    if not isinstance(value, Mapping):
        return Prefetching(bool(value))
    augment, images = bool(value.get('augment_on_device')), bool(value.get('images_on_device'))
    if images and not augment:
        raise ConfigError(
            'prefetch: images_on_device needs augment_on_device=True: the views are then made on the device too. Write '
            'prefetch=dict(augment_on_device=True, images_on_device=True).'
        )
    return Prefetching(True, augment, images)


def as_setting(value: bool | Prefetch | None) -> bool | Prefetch:
    """The same in its shortest form: True, False, or a dict that says more than True."""
    read = read_prefetch(value)
    switches: Prefetch = {'augment_on_device': True} if read.augment else {}
    if read.images:
        switches['images_on_device'] = True
    return switches or read.on
