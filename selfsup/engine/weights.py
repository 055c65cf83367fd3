"""Load weights into a module and say what did and what did not fit."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import checkpoint_keys
from ..checkpoint_io import OFFICIAL_AVERAGES, averaged, read_checkpoint, write_checkpoint_atomic
from ..convert.backbone import renamed
from ..convert.classifier import Classifier
from ..convert.families import lacks_stem_relu
from ..convert.incoming import Incoming, convertible, for_backbone, for_model
from ..convert.layouts import find_backbone, flat_weights
from ..errors import CheckpointError, SelfSupWarning
from ..registry import MODELS
from .resume.state import unwrap

logger = logging.getLogger('selfsup')


def state_dict_of(checkpoint: dict, path: str) -> dict[str, Tensor]:
    """The weights in a checkpoint, see `flat_weights`; names of OpenSelfSup become ours (`encoder_q.0.` is `backbone.`).

    Raises:
        CheckpointError: there are none.
    """
    _mention_average(checkpoint, path)
    return checkpoint_keys.upgrade(flat_weights(checkpoint, path))


def _mention_average(checkpoint: dict, path: str) -> None:
    if any(isinstance(checkpoint.get(key), dict) for key in OFFICIAL_AVERAGES):
        logger.info(
            '%s holds averaged weights too, which are not used; to use them: python tools/extract_backbone_weights.py %s OUT.pth '
            '--ema',
            path,
            path,
        )


HEAD = 'head.fc_cls.weight'  # of a `Classification`
NO_SUCH = 'the model has no tensor of this name'


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a file and of a module.

    Attributes:
        path: the file.
        what: the module, for messages ("the backbone").
        origin: what the file was recognised as; '' for a whole model of ours.
        loaded: names in the module that took their values from the file.
        missing: names in the module that kept their initial values.
        unused: names in the file, ours where it had others -> why they were not used.
        spare: those of `missing` that nothing reads.
    """

    path: str
    what: str
    origin: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: dict[str, str]
    spare: frozenset[str]

    @property
    def partial(self) -> bool:
        """True when something is left over that has no good reason. Counters of batch norms count for nothing."""
        needed = [name for name in self.missing if name not in self.spare and not name.endswith('num_batches_tracked')]
        return bool(needed) or NO_SUCH in self.unused.values()

    def summary(self) -> str:
        """One line: numbers, and the first names of what is left over, by reason."""
        names = f' ({self.origin})' if self.origin else ''
        text = f'Loaded {len(self.loaded)} of {len(self.loaded) + len(self.missing)} tensors of {self.what} from {self.path}{names}'
        if self.missing:
            text += f'; kept their initial values: {_shown(list(self.missing))}'
        for reason in dict.fromkeys(self.unused.values()):
            found = [name for name, why in self.unused.items() if why == reason]
            text += f'; not used from the file, as {reason}: {_shown(found)}'
        return text

    def lines(self) -> list[str]:
        """One line for every name on either side."""
        return [
            *(f'loaded   {name}' for name in self.loaded),
            *(f'missing  {name}' for name in self.missing),
            *(f'unused   {name}: {reason}' for name, reason in self.unused.items()),
        ]


def _shown(names: list[str]) -> str:
    return ', '.join(names[:5]) + (f', ... ({len(names)} in all)' if len(names) > 5 else '')


def load_matching(
    module: nn.Module, weights: Mapping[str, Tensor] | Incoming, path: str, what: str, *, strict: bool = False
) -> LoadReport:
    """Copy `weights` into `module`; log every name, and warn where a part was left over on either side.

    Args:
        weights: under the module's names; an `Incoming` tells what was left out already.
        what: the module's name for messages ("the backbone").
        strict: a key missing on either side is an error too.

    Raises:
        CheckpointError: nothing matches, a tensor has another shape or kind of numbers, or `strict` and something is left over.
    """
    incoming = weights if isinstance(weights, Incoming) else Incoming(dict(weights))
    weights, own = incoming.weights, module.state_dict()
    shared = [k for k in weights if k in own]
    wrong = [
        f'{k}: {tuple(weights[k].shape)} in the file, {tuple(own[k].shape)} in the model'
        for k in shared
        if weights[k].shape != own[k].shape
    ]
    another = 'shape' if wrong else 'type'
    wrong += [
        f'{k}: {weights[k].dtype} in the file, {own[k].dtype} in the model'
        for k in shared
        if not convertible(weights[k], own[k])
    ]
    missing, extra = [k for k in own if k not in weights], [k for k in weights if k not in own]
    if not shared or wrong or (strict and (missing or extra)):
        found = (
            f'{len(wrong)} tensors have another {another} ({_shown(wrong)})'
            if wrong
            else f'{len(shared)} of its {len(weights)} tensors match the {len(own)} of {what}'
        )
        rest = ''.join(
            f'; {label}: {_shown(names)}'
            for label, names in (('missing in the file', missing), ('only in the file', extra))
            if names
        )
        known = f' ({incoming.origin})' if incoming.origin else ''
        raise CheckpointError(
            f'{path}{known} is not a checkpoint of {what} as configured: {found}{rest}. '
            'Use the config it was trained with, or extract its backbone with tools/extract_backbone_weights.py.'
        )
    module.load_state_dict(weights, strict=False)
    report = LoadReport(
        path,
        what,
        incoming.origin,
        tuple(shared),
        tuple(missing),
        {**incoming.unused, **dict.fromkeys(extra, NO_SUCH)},
        incoming.spare,
    )
    if report.partial:
        warnings.warn(f'{report.summary()}.', SelfSupWarning, stacklevel=3)
    else:
        logger.info(report.summary())
    for line in report.lines():
        logger.debug('%s: %s', path, line)
    return report


def load_backbone(model: nn.Module, path: str) -> LoadReport:
    """Load `path` into `model.backbone` and let momentum copies follow (`model.pretrained`, `--pretrained`).

    The file is any that `find_backbone` knows, which is what tools/convert.py reads; of a network that is not known by its weights, one
    whose names are those of the backbone. The report says what it was recognised as.

    Raises:
        CheckpointError: there is no backbone in it, no key matches, or shapes differ.
    """
    algorithm, checkpoint = unwrap(model), read_checkpoint(path)
    _mention_average(checkpoint, path)
    incoming = _backbone_of(checkpoint, path, algorithm.backbone.state_dict())[0]
    report = load_matching(algorithm.backbone, incoming, path, 'the backbone')
    algorithm.after_load_backbone()
    return report


def _backbone_of(checkpoint: dict, path: str, own: dict[str, Tensor]) -> tuple[Incoming, Classifier | None]:
    """The backbone in a checkpoint, under the names in `own`, the state dict of the one that is to take it; and its classifier."""
    found = find_backbone(checkpoint, path, own)
    if lacks_stem_relu(found.weights):
        warnings.warn(
            f'The ResNet in {path} ({found.layout}) was trained without the ReLU after its first norm, which the backbone has: '
            'fit to start a training from, but features of the untouched weights are other than in its own code.',
            SelfSupWarning,
            stacklevel=3,
        )
    taken = for_backbone(found.weights, own)
    return Incoming(taken.weights, found.layout, {**found.unused, **taken.unused}, taken.spare), found.classifier


def load_model(model: nn.Module, path: str, *, strict: bool = False, average: bool = False) -> LoadReport:
    """Load a whole model's weights (`load_from`, tools/test.py): ours, those of an official SparK or FCMAE training model,
    or a trained classifier of other code (`find_classifier`) into a `Classification`.

    Args:
        model: an algorithm, or DDP's wrapper of one.
        path: the file.
        strict: a key missing on either side is an error too.
        average: load the moving average that `EMAHook` kept instead of the weights.

    Raises:
        CheckpointError: no key matches, shapes differ, there is no `average`, or `strict` and something is left over.
    """
    algorithm = unwrap(model)
    checkpoint = averaged(read_checkpoint(path), path) if average else read_checkpoint(path)
    own, weights = algorithm.state_dict(), state_dict_of(checkpoint, path)
    incoming = for_model(weights, own)
    if (HEAD in own and HEAD not in incoming.weights) or not any(name in own for name in incoming.weights):
        incoming = _of_other_code(checkpoint, path, algorithm) or incoming
    return load_matching(algorithm, incoming, path, type(algorithm).__name__, strict=strict)


def _of_other_code(checkpoint: dict, path: str, algorithm: nn.Module) -> Incoming | None:
    """A trained classifier of other code under the names of a `Classification`; None where the file holds none.

    Raises:
        CheckpointError: it holds the backbone of `algorithm`, and nothing else of it.
    """
    own = algorithm.state_dict()
    try:
        body, classifier = _backbone_of(checkpoint, path, algorithm.backbone.state_dict())
    except CheckpointError:
        return None
    whole = {f'backbone.{name}': value for name, value in body.weights.items()}
    if classifier is not None and HEAD in own and 'backbone.head.weight' not in own:
        unused = {name: reason for name, reason in body.unused.items() if name not in classifier.names}
        spare = frozenset(f'backbone.{name}' for name in body.spare)
        return Incoming({**whole, **classifier.named('head.norm.', 'head.fc_cls.')}, body.origin, unused, spare)
    if any(name in own for name in whole) and not any(
        name.removeprefix('module.') in own for name in flat_weights(checkpoint, path)
    ):
        raise CheckpointError(
            f'{path} ({body.origin}) holds a backbone alone, not a {type(algorithm).__name__}: load it with --pretrained '
            '(or `pretrained` in the config) instead of load_from.'
        )
    return None


def build_with_weights(model: dict, weights: str, *, whole: bool = False, seed: int = 0) -> nn.Module:
    """A model with the weights that are to be judged.

    Args:
        model: config of an algorithm.
        weights: file for the backbone (`--pretrained`), or 'random' for none.
        whole: `weights` holds the whole model (`--checkpoint`).
        seed: of the initial weights: the same network in every process and every time.

    Raises:
        CheckpointError: see `load_model` and `load_backbone`.
    """
    torch.manual_seed(seed)
    built = MODELS.build(model)
    if whole:
        load_model(built, weights)
    elif weights != 'random':
        load_backbone(built, weights)
    return built


def export_backbone(model: nn.Module, path: str | os.PathLike, naming: str) -> Path:
    """Write the weights of `model.backbone` alone, as `name -> tensor`, with no gap in time in which the file is incomplete.

    Args:
        model: an algorithm.
        path: file; one that is there is replaced.
        naming: see `convert.backbone.renamed`.

    Raises:
        CheckpointError: it cannot be written.
    """
    weights = {name: value.detach().cpu() for name, value in model.backbone.state_dict().items()}
    return write_checkpoint_atomic(renamed(weights, naming), path)
