"""Bring a backbone from any checkpoint into the form of another library, and compare what the two make of the same images."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ..checkpoint_io import check_apart
from ..errors import CheckpointError, ConfigError, did_you_mean
from .network import OWN, Network, load_network
from .targets import TARGETS, Target

TOLERANCE = 1e-4  # of the largest number in an output, in float32
_IMAGES = 2
_ENDINGS = MappingProxyType({'detectron2': '.pkl', 'safetensors': '.safetensors', 'onnx': '.onnx'})


@dataclass(frozen=True)
class Difference:
    """Between what source and target make of the same images.

    Attributes:
        output: which output.
        absolute: largest absolute difference of two numbers.
        relative: the same, as a part of the largest number of the source.
    """

    output: str
    absolute: float
    relative: float

    def __str__(self) -> str:
        return f'{self.output}: {self.absolute:.1e} absolute, {self.relative:.1e} relative'


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        network: source.
        target: its new form.
        path: the file.
        size: (height, width) of the images in pixels.
        differences: what the check found; () without one.
    """

    network: Network
    target: Target
    path: Path
    size: tuple[int, int]
    differences: tuple[Difference, ...]

    @property
    def usage(self) -> tuple[str, ...]:
        """Lines that load the file."""
        return tuple(line.replace('{path}', str(self.path)) for line in self.target.usage)


def convert(
    source: str | os.PathLike,
    path: str | os.PathLike,
    to: str,
    *,
    config: Mapping[str, Any] | None = None,
    check: bool = False,
    tolerance: float = TOLERANCE,
    size: int | tuple[int, int] | None = None,
    maps: bool = False,
    merge: bool = False,
    average: bool = False,
    classifier: bool = True,
    force: bool = False,
) -> Conversion:
    """Write the backbone of `source` to `path` in the form `to`.

    Args:
        source: a checkpoint, see `find_backbone`.
        path: file to write; it appears when all is done, the check included.
        to: one of `TARGETS`.
        config: of the backbone; None reads it off the weights.
        check: read the file back into the target library, run fixed images and compare.
        tolerance: largest relative difference that passes.
        size: side of the images in pixels, or (height, width), of the check and of an ONNX graph; None: 224, or what the config says
            (img_size).
        maps: give out the maps too (ONNX).
        merge: fold the small kernels of a SLaK.
        average: take the moving average instead of the weights.
        classifier: keep the classifier of a file that has one; a detector (detectron2) has none.
        force: replace `path` if it exists.

    Raises:
        ConfigError: unknown `to`, options that do not fit, or a network that the target does not have.
        CheckpointError: see `load_network`; `path` exists and not `force`, or is `source`; or the check found a larger difference.
    """
    path = Path(path)
    _check_options(path, to, size, maps, force)
    check_apart(source, path)
    network = load_network(source, config, average, merge, classifier and to != 'detectron2')
    size = size or network.config.get('img_size', 224)
    size = _both_sides(size)
    if network.config['type'] not in (*OWN, 'TIMMBackbone'):
        network.run(torch.zeros(1, network.in_channels, *size))  # a network of the user's own must give maps
    target = TARGETS[to](network, size, maps)
    staged = path.with_name(f'.{os.getpid()}.{path.name}')
    try:
        target.write(staged)
        differences = compare(network, target, staged, size) if check else ()
        if worst := [d for d in differences if not d.relative <= tolerance]:
            raise CheckpointError(
                f'{path} was not written: the network in it is another than that of {source}. Largest differences: '
                f'{"; ".join(map(str, worst))}; tolerance {tolerance:.1e} relative.'
            )
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    return Conversion(network, target, path, size, differences)


def _check_options(path: Path, to: str, size: int | tuple[int, int] | None, maps: bool, force: bool) -> None:
    """Raise what `convert` raises before it reads anything."""
    if to not in TARGETS:
        raise ConfigError(f'There is no --to {to}.{did_you_mean(to, TARGETS)}')
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder; name a file.')
    ending = _ENDINGS.get(to)
    if path.suffix != ending if ending else path.suffix in _ENDINGS.values():
        raise CheckpointError(f'{path}: what is written for {to} must end in {ending or ".pth"}, by which it is known.')
    if path.exists() and not force:
        raise CheckpointError(f'{path} exists; give --force to replace it, or another name.')
    if maps and to != 'onnx':
        raise ConfigError(
            f'--maps is for --to onnx, where outputs are fixed; a network of {to} gives its maps as it is.'
        )
    if size is not None and min((size,) if isinstance(size, int) else size) < 1:
        raise ConfigError(f'--size {size}: give the side of the images in pixels, or height x width.')


def compare(network: Network, target: Target, path: Path, size: int | tuple[int, int]) -> tuple[Difference, ...]:
    """Differences of every output of `target`, in the file `path`, from what `network` makes of the same two images of `size`, a side or
    (height, width).

    Raises:
        CheckpointError: the source itself gives no finite numbers.
    """
    images = torch.randn(_IMAGES, network.in_channels, *_both_sides(size), generator=torch.Generator().manual_seed(0))
    expected = network.run(images)
    if not all(value.isfinite().all() for value in expected.values()):
        raise CheckpointError(
            'The network of the source gives numbers that are not finite, so nothing can be compared.'
        )
    given = target.run(path, images)
    if 'features' not in given:
        given = {'features': given['last map'].mean((2, 3)), **given}
    return tuple(_difference(name, expected[name], value) for name, value in given.items())


def _both_sides(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _difference(output: str, expected: Tensor, given: Tensor) -> Difference:
    if expected.shape != given.shape:
        raise CheckpointError(f'{output} is {tuple(given.shape)} in the target, {tuple(expected.shape)} in the source.')
    largest = float((given - expected).abs().max())
    scale = float(expected.abs().max())
    relative = largest / scale if scale else math.inf if largest else 0.0
    return Difference(output, largest, relative)
