"""Load the weights of a file into a model and say what did and what did not fit: `--pretrained`, `load_from`, the evaluation tools.

`load_backbone` is read from top to bottom: read, find the backbone, fit it to the one of the model, load, report.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..contracts import ChecksChannels
from ..distributed import dealt_like, unwrap
from ..errors import CheckpointError, SelfSupWarning, listed
from ..registry import MODELS
from .backbone import find_backbone
from .classifier import Classifier
from .fit import Fitted, fit_backbone, fit_model, match, with_stem_for
from .frame import OFFICIAL_AVERAGES, averaged, flat_weights
from .layouts import is_complete
from .layouts.openselfsup import upgrade
from .read import read_checkpoint

logger = logging.getLogger('selfsup')
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
        unused: why tensors of the file were not used, by their names in the module, or in the file if the module has no such tensor.
        unread: those of `missing` whose values nothing reads.
        note: what was done to the values, see `fit.with_stem_for`; '' for nothing.
    """

    path: str
    what: str
    origin: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: dict[str, str]
    unread: frozenset[str]
    note: str = ''

    @property
    def partial(self) -> bool:
        """True when something is left over that has no good reason. Counters of batch norms count for nothing."""
        needed = [name for name in self.missing if name not in self.unread and not name.endswith('num_batches_tracked')]
        return bool(needed) or NO_SUCH in self.unused.values()

    def summary(self) -> str:
        """One line: numbers, and the first names of what is left over, by reason."""
        names = f' ({self.origin})' if self.origin else ''
        text = f'Loaded {len(self.loaded)} of {len(self.loaded) + len(self.missing)} tensors of {self.what} from {self.path}{names}'
        if self.note:
            text += f'; {self.note}'
        if self.missing:
            text += f'; kept their initial values: {listed(self.missing)}'
        for reason in dict.fromkeys(self.unused.values()):
            text += f'; not used from the file, as {reason}: {listed([n for n, why in self.unused.items() if why == reason])}'
        return text

    def lines(self) -> list[str]:
        """One line for every name on either side."""
        return [
            *(f'loaded   {name}' for name in self.loaded),
            *(f'missing  {name}' for name in self.missing),
            *(f'unused   {name}: {reason}' for name, reason in self.unused.items()),
        ]


def load_backbone(model: nn.Module, path: str) -> LoadReport:
    """Load `path` into `model.backbone` and let momentum copies follow (`model.pretrained`, `--pretrained`).

    The file is any that `find_backbone` knows, which is what tools/convert.py reads; of a network that is not known by its weights, one
    whose names are those of the backbone. The report says what it was recognised as.

    Weights for RGB images go into a backbone for other channels with their first convolution widened or narrowed by the rule of
    `fit.for_channels`; not where the backbone sees edges instead of images. Whole models (`load_from`, resumes) are never changed.

    Raises:
        CheckpointError: there is no backbone in it, no key matches, shapes differ, or a tensor of the backbone is missing in a file of
            other code that holds a whole training model (see `layouts.is_complete`).
    """
    algorithm, checkpoint = unwrap(model), read_checkpoint(path)
    _mention_average(checkpoint, path)
    backbone = algorithm.get_submodule('backbone')
    fitted, _ = _backbone_of(checkpoint, path, backbone.state_dict())
    if not isinstance(algorithm, ChecksChannels) or algorithm.image_channels() is not None:
        fitted = with_stem_for(fitted, backbone.state_dict())
    _refuse_cut(fitted, backbone.state_dict(), path)
    report = load_matching(backbone, fitted, path, 'the backbone')
    cast(Any, algorithm).after_load_backbone()  # of `Algorithm`
    return report


def _refuse_cut(fitted: Fitted, state: Mapping[str, Tensor], path: str) -> None:
    matched = match(fitted.weights, state)
    missing = [n for n in matched.missing if n not in fitted.unread and not n.endswith('num_batches_tracked')]
    if matched.shared and missing and is_complete(fitted.origin):
        raise CheckpointError(
            f'{path} ({fitted.origin}) lacks {len(missing)} of the {len(state)} tensors of the backbone: {listed(missing)}. The file is '
            "not complete, or is of another network: set model.backbone to the file's."
        )


def load_model(
    model: nn.Module, path: str, *, strict: bool = False, average: bool = False, checkpoint: dict | None = None
) -> LoadReport:
    """Load a whole model's weights (`load_from`, tools/test.py): ours, those of an official SparK or FCMAE training model,
    or a trained classifier of other code (`find_classifier`) into a `Classification`.

    Args:
        model: an algorithm, or DDP's wrapper of one.
        path: the file.
        strict: a key missing on either side is an error too.
        average: load the moving average that `EMAHook` kept instead of the weights.
        checkpoint: content of the file, where it was read already.

    Raises:
        CheckpointError: no key matches, shapes differ, there is no `average`, or `strict` and something is left over.
    """
    algorithm = unwrap(model)
    checkpoint = read_checkpoint(path) if checkpoint is None else checkpoint
    checkpoint = averaged(checkpoint, path) if average else checkpoint
    state, weights = algorithm.state_dict(), state_dict_of(checkpoint, path)
    fitted = fit_model(weights, state)
    if (HEAD in state and HEAD not in fitted.weights) or not any(name in state for name in fitted.weights):
        fitted = _of_other_code(checkpoint, path, algorithm, state) or fitted
    return load_matching(algorithm, fitted, path, type(algorithm).__name__, strict=strict)


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


def state_dict_of(checkpoint: dict, path: str) -> dict[str, Tensor]:
    """The weights in a checkpoint, see `flat_weights`; names of OpenSelfSup become ours (`encoder_q.0.` is `backbone.`).

    Raises:
        CheckpointError: there are none.
    """
    _mention_average(checkpoint, path)
    return upgrade(flat_weights(checkpoint, path))


def _mention_average(checkpoint: dict, path: str) -> None:
    if any(isinstance(checkpoint.get(key), dict) for key in OFFICIAL_AVERAGES):
        logger.info(
            '%s holds averaged weights too, which are not used; to use them: python tools/extract_backbone_weights.py %s OUT.pth '
            '--ema',
            path,
            path,
        )


def _backbone_of(checkpoint: dict, path: str, state: dict[str, Tensor]) -> tuple[Fitted, Classifier | None]:
    """The backbone in a checkpoint as another one takes it, whose state dict is `state`; and its classifier."""
    in_file = find_backbone(checkpoint, path, state)
    if in_file.named.family and in_file.named.lacks:
        warnings.warn(
            f'The {in_file.named.family.name} in {path} ({in_file.layout}) was trained without the {in_file.named.lacks}, which the '
            'backbone has: fit to start a training from, but features of the untouched weights are other than in its own code.',
            SelfSupWarning,
            stacklevel=3,
        )
    fitted = fit_backbone(in_file.named, state)
    return Fitted(
        fitted.weights, in_file.layout, {**in_file.unused, **fitted.unused}, fitted.unread
    ), in_file.classifier


def _of_other_code(checkpoint: dict, path: str, algorithm: nn.Module, state: dict[str, Tensor]) -> Fitted | None:
    """A trained classifier of other code under the names of a `Classification`, whose state dict is `state`; None where there is none.

    Raises:
        CheckpointError: it holds the backbone of `algorithm`, and nothing else of it.
    """
    try:
        body, classifier = _backbone_of(checkpoint, path, algorithm.get_submodule('backbone').state_dict())
    except CheckpointError:
        return None
    whole = {f'backbone.{name}': value for name, value in body.weights.items()}
    if classifier is not None and HEAD in state and 'backbone.head.weight' not in state:
        unused = {name: reason for name, reason in body.unused.items() if name not in classifier.names}
        unread = frozenset(f'backbone.{name}' for name in body.unread)
        return Fitted({**whole, **classifier.named('head.norm.', 'head.fc_cls.')}, body.origin, unused, unread)
    names = (name.removeprefix('module.') for name in flat_weights(checkpoint, path))
    if any(name in state for name in whole) and not any(name in state for name in names):
        raise CheckpointError(
            f'{path} ({body.origin}) holds a backbone alone, not a {type(algorithm).__name__}: load it with --pretrained '
            '(or `pretrained` in the config) instead of load_from.'
        )
    return None


def load_matching(
    module: nn.Module, weights: Mapping[str, Tensor] | Fitted, path: str, what: str, *, strict: bool = False
) -> LoadReport:
    """Copy `weights` into `module`; log every name, and warn where a part was left over on either side.

    Args:
        module: to load into.
        weights: under the module's names; a `Fitted` tells what was left out already.
        path: the file, for messages.
        what: the module's name for messages ("the backbone").
        strict: a key missing on either side is an error too.

    Raises:
        CheckpointError: nothing matches, a tensor has another shape or kind of numbers, or `strict` and something is left over.
    """
    fitted = weights if isinstance(weights, Fitted) else Fitted(dict(weights))
    state = module.state_dict()
    matched = match(fitted.weights, state)
    pairs = [*matched.shapes.items(), *matched.dtypes.items()]
    wrong = [f'{name}: {in_file} in the file, {in_model} in the model' for name, (in_file, in_model) in pairs]
    if not matched.shared or wrong or (strict and (matched.missing or matched.extra)):
        fault = f'{len(matched.shared)} of its {len(fitted.weights)} tensors match the {len(state)} of {what}'
        if wrong:
            fault = f'{len(wrong)} tensors have another {"shape" if matched.shapes else "type"} ({listed(wrong)})'
        sides = (('missing in the file', matched.missing), ('only in the file', matched.extra))
        rest = ''.join(f'; {label}: {listed(names)}' for label, names in sides if names)
        origin = f' ({fitted.origin})' if fitted.origin else ''
        raise CheckpointError(
            f'{path}{origin} is not a checkpoint of {what} as configured: {fault}{rest}. '
            'Use the config it was trained with, or extract its backbone with tools/extract_backbone_weights.py.'
        )
    module.load_state_dict(
        {name: dealt_like(value, state[name]) if name in state else value for name, value in fitted.weights.items()},
        strict=False,
    )
    unused = {**fitted.unused, **dict.fromkeys(matched.extra, NO_SUCH)}
    report = LoadReport(path, what, fitted.origin, matched.shared, matched.missing, unused, fitted.unread, fitted.note)
    if report.partial:
        warnings.warn(f'{report.summary()}.', SelfSupWarning, stacklevel=3)
    else:
        logger.info(report.summary())
    for line in report.lines():
        logger.debug('%s: %s', path, line)
    return report
