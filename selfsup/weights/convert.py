"""Bring a backbone from any checkpoint into the form of another library, and compare what the two make of the same images.

`convert` is read from top to bottom: `load_network` reads the file, finds the backbone, tells which network it is and loads it; a `Form`
makes the target of it; the target is written, and `compare` runs both.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, did_you_mean, listed
from ..registry import BACKBONES
from .backbone import Found, find_backbone
from .families import FAMILIES, Named, in_our_names, infer, of_type
from .families.family import blocks
from .fit import fit_backbone, match
from .frame import averaged
from .network import Network, title
from .read import read_checkpoint
from .to import TARGETS
from .to.form import Target
from .write import check_target

TOLERANCE = 1e-4  # of the largest number in an output, in float32
_IMAGES = 2
# settings of training and of what a run reads, which the weights do not depend on
# fmt: off
_OF_TRAINING = (
    'out_indices', 'frozen_stages', 'norm_eval', 'with_cp', 'zero_init_residual', 'drop_path_rate', 'pretrained',
    'num_classes',
)
# fmt: on


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
    _check_options(path, to, size, maps)
    check_target(path, force, source)
    network = load_network(source, config, average, merge, classifier and TARGETS[to].classifier)
    sides = _both_sides(size or network.config.get('img_size', 224))
    if of_type(network.config['type']) is None:
        network.run(torch.zeros(1, network.in_channels, *sides))  # a network of the user's own must give maps
    target = TARGETS[to](network, sides, maps)
    staged = path.with_name(f'.{os.getpid()}.{path.name}')
    try:
        target.write(staged)
        differences = compare(network, target, staged, sides) if check else ()
        if worst := [d for d in differences if not d.relative <= tolerance]:
            raise CheckpointError(
                f'{path} was not written: the network in it is another than that of {source}. Largest differences: '
                f'{"; ".join(map(str, worst))}; tolerance {tolerance:.1e} relative.'
            )
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    return Conversion(network, target, path, sides, differences)


def _check_options(path: Path, to: str, size: int | tuple[int, int] | None, maps: bool) -> None:
    """Refuse options that do not fit, before anything is read."""
    if to not in TARGETS:
        raise ConfigError(f'There is no --to {to}.{did_you_mean(to, TARGETS)}')
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder; name a file.')
    ending = TARGETS[to].ending
    if path.suffix != ending if ending else path.suffix in {form.ending for form in TARGETS.values() if form.ending}:
        raise CheckpointError(f'{path}: what is written for {to} must end in {ending or ".pth"}, by which it is known.')
    if maps and not TARGETS[to].maps:
        raise ConfigError(
            f'--maps is for --to onnx, where outputs are fixed; a network of {to} gives its maps as it is.'
        )
    if size is not None and min(_both_sides(size)) < 1:
        raise ConfigError(f'--size {size}: give the side of the images in pixels, or height x width.')


def load_network(
    source: str | os.PathLike,
    config: Mapping[str, Any] | None = None,
    average: bool = False,
    merge: bool = False,
    classifier: bool = True,
) -> Network:
    """Read a checkpoint, find its backbone, tell which network it is, and load it completely.

    Args:
        source: the file, see `find_backbone`.
        config: of the backbone; None reads it off the weights, see `infer`.
        average: take the moving average instead of the weights.
        merge: fold norms and small kernels of a SLaK into its large ones.
        classifier: keep the classifier of a file that has one.

    Raises:
        CheckpointError: the file cannot be read, has no backbone or no `average`, is no network that is known, or the weights are not
            exactly those of the network.
        ConfigError: `merge` for another network, or a `config` that cannot be built.
    """
    source = os.fspath(source)
    checkpoint = read_checkpoint(source)
    checkpoint = averaged(checkpoint, source) if average else checkpoint
    in_file = find_backbone(checkpoint, source, () if config is None else _names_of(config))
    if in_file.named.family and in_file.named.lacks:
        raise CheckpointError(
            f'{source} ({in_file.layout}) holds a {in_file.named.family.name} without a {in_file.named.lacks}, as its code cut it '
            'out of a network that calls it as a function. No library has such a network. --pretrained starts a training '
            'from it.'
        )
    head = in_file.classifier
    named = in_file.named.without(head.names if head else ())
    stages = len(blocks(named.weights, named.family.block)) if named.family else 0
    settings, note = _as_used(_told(in_file, named, stages, source) if config is None else config)
    backbone = _built(settings, source, told=config is None)
    unused, counters = _load(backbone, named, settings, source)
    beside = {name: reason for name, reason in in_file.unused.items() if head is None or name not in head.names}
    unused = {**beside, **unused}
    if head:
        width = getattr(backbone, 'out_channels', head.channels)  # a network of the user's own may not say it
        reason = f'a classifier of {head.channels} numbers, not of {width} averages' if classifier else 'the classifier'
        if not classifier or head.channels != width:
            unused, head = {**unused, **dict.fromkeys(sorted(head.names), reason)}, None
    trained = (f'its run trained {stages} stages; the others are left out',) if in_file.untrained else ()
    merged = _merged(backbone, settings, source) if merge else backbone
    settings = {**settings, 'merged': True} if merge else settings
    return Network(merged, backbone, settings, in_file.layout, unused, (*counters, *note, *trained), head)


def _told(in_file: Found, named: Named, stages: int, source: str) -> dict[str, Any]:
    """The config of the stages that were trained, read off the weights.

    Raises:
        CheckpointError: there are none, or see `infer`.
    """
    if not in_file.untrained:
        return infer(named.weights, source)
    whole = in_our_names({**in_file.weights, **in_file.untrained})
    config = infer({**named.weights, **whole}, source)
    if not stages:
        raise CheckpointError(
            f'{source} is of a run that trained the stem of its network only, which is no network to convert: take the '
            'weights out with tools/extract_backbone_weights.py.'
        )
    family = of_type(config['type'])
    return family.cut(config, stages) if family else config


def _as_used(config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A backbone's config without settings of training, with the maps that are converted; and what a user should know of it."""
    used = {key: value for key, value in config.items() if key not in _OF_TRAINING}
    family = of_type(used.get('type'))
    if family is None or not family.spellings:
        return used, ()
    stages = len(used['depths']) if used.get('depths') else used.get('num_stages', 4)
    return family.as_used({**used, 'out_indices': tuple(range(1, stages + 1))})


def _built(config: Mapping[str, Any], source: str, told: bool) -> nn.Module:
    """The backbone in eval mode; where its sizes were `told` from shapes, they may be those of no network."""
    try:
        return BACKBONES.build(dict(config)).eval()
    except (ZeroDivisionError, ConfigError, RuntimeError, ValueError) as error:
        if not told:
            raise
        reason = ' '.join(str(error).split())[:200]
        raise CheckpointError(
            f'{source} has tensors whose shapes are those of no {config["type"]} ({reason}).'
        ) from None


def _names_of(config: Mapping[str, Any]) -> list[str]:
    """Names in the state dict of the backbone of `config`, which is built without memory where it can be."""
    try:
        with torch.device('meta'):
            return list(BACKBONES.build(dict(config)).state_dict())
    except (ConfigError, NotImplementedError, RuntimeError):  # it reads numbers of a tensor while it is built
        return list(BACKBONES.build(dict(config)).state_dict())


def _load(
    backbone: nn.Module, named: Named, config: Mapping[str, Any], source: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Load all of `backbone`; which tensors were left out and why, and a note.

    Raises:
        CheckpointError: one is missing, left over without a reason, or of another shape or type.
    """
    state = backbone.state_dict()
    fitted = fit_backbone(named, state)
    matched = match(fitted.weights, state)
    missing = [name for name in matched.missing if name not in fitted.unread]
    counters = [name for name in missing if name.endswith('num_batches_tracked')]
    faults = {
        'missing in the file:': [name for name in missing if name not in counters],
        'only in the file:': list(matched.extra),
        'another shape:': [
            f'{n} {theirs} in the file, {ours} in the network' for n, (theirs, ours) in matched.shapes.items()
        ],
        'another type:': [
            f'{n} {theirs} in the file, {ours} in the network' for n, (theirs, ours) in matched.dtypes.items()
        ],
    }
    if any(faults.values()):
        text = '; '.join(f'{label} {listed(names)}' for label, names in faults.items() if names)
        raise CheckpointError(
            f'{source} is not a complete {title(config)}: {text}. Nothing was written. For another network, give --config, '
            'a config with it (TIMMBackbone for those of timm).'
        )
    backbone.load_state_dict(fitted.weights, strict=False)
    note = f'{len(counters)} counters of batch norms (num_batches_tracked) are not in the file and are 0'
    return fitted.unused, (note,) if counters else ()


def _merged(backbone: nn.Module, config: Mapping[str, Any], source: str) -> nn.Module:
    family = of_type(config['type'])
    if family is None or family.merge is None:
        names = ', '.join(family.name for family in FAMILIES if family.merge)
        raise ConfigError(
            f'--merge is for {names}, whose kernels have norms and small kernels beside them; {source} holds a '
            f'{config["type"]}.'
        )
    return backbone if config.get('merged') else family.merge(copy.deepcopy(backbone))


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
    outputs = target.run(path, images)
    if 'features' not in outputs:
        outputs = {'features': outputs['last map'].mean((2, 3)), **outputs}
    return tuple(_difference(name, expected[name], value) for name, value in outputs.items())


def _both_sides(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _difference(output: str, expected: Tensor, value: Tensor) -> Difference:
    if expected.shape != value.shape:
        raise CheckpointError(f'{output} is {tuple(value.shape)} in the target, {tuple(expected.shape)} in the source.')
    largest = float((value - expected).abs().max())
    scale = float(expected.abs().max())
    relative = largest / scale if scale else math.inf if largest else 0.0
    return Difference(output, largest, relative)
