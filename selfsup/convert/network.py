"""Any checkpoint that can be read, as one of our backbones with its weights: where every conversion starts."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint_io import averaged, read_checkpoint
from ..errors import CheckpointError, ConfigError
from ..models.backbones import SLaK
from ..registry import BACKBONES
from .architecture import infer
from .classifier import Classifier
from .families import in_our_names, lacks_stem_relu
from .incoming import convertible, for_backbone
from .layouts import find_backbone
from .untrained import cut, stages_of

OWN = ('ResNet', 'ResNeXt', 'ConvNeXt', 'ConvNeXtV2', 'SLaK')  # backbones that are known by their weights
# settings of training and of what a run reads, which the weights do not depend on
_OF_TRAINING = (
    'out_indices',
    'frozen_stages',
    'norm_eval',
    'with_cp',
    'zero_init_residual',
    'drop_path_rate',
    'pretrained',
    'num_classes',
)


@dataclass(frozen=True)
class Network:
    """A backbone in eval mode, with the weights of a file.

    Attributes:
        backbone: it; those of `OWN` return the maps of all stages, others their last.
        given: the same as it stands in the file: not merged.
        config: that builds it.
        layout: what the file was recognised as.
        unused: name in the file -> why it is left out.
        notes: what was settled without being said in the file.
        classifier: what follows the average of the last map, or None.
    """

    backbone: nn.Module
    given: nn.Module
    config: dict[str, Any]
    layout: str
    unused: dict[str, str]
    notes: tuple[str, ...] = ()
    classifier: Classifier | None = None

    @property
    def title(self) -> str:
        """Type and settings in one line."""
        shown = ', '.join(
            f'{key}={value!r}' for key, value in self.config.items() if key not in ('type', 'out_indices')
        )
        return f'{self.config["type"]}({shown})'

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.config.get('in_channels', 3)

    def weights(self) -> dict[str, Tensor]:
        """State dict of the backbone under the names of its authors or of timm, without what a `TIMMBackbone` puts before them."""
        return {
            name.removeprefix('model.'): value.detach().contiguous()
            for name, value in self.backbone.state_dict().items()
        }

    @torch.no_grad()
    def run(self, images: Tensor) -> dict[str, Tensor]:
        """What `given` makes of `images` (B, in_channels, H, W).

        Returns:
            `map1`, `map2`, ... (B, C, h, w), of the stages; `last map`; `features` (B, D), its average; `logits` (B, K) with a classifier.
        """
        maps = self._maps(images)
        found = {
            **{f'map{stage}': value for stage, value in enumerate(maps, 1)},
            'last map': maps[-1],
            'features': maps[-1].mean((2, 3)),
        }
        return {**found, 'logits': self.classifier.build()(maps)['head0']} if self.classifier else found

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of the backbone; a network of the user's own may give something else.

        Raises:
            ConfigError: it gives no tuple of maps (B, C, h, w), or cannot take such images.
        """
        kind = self.config['type']
        try:
            maps = self.given(images)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise ConfigError(
                f'{kind} cannot be run on images {tuple(images.shape)}: {reason}. Give --size, and in_channels in its config '
                'where it is not 3.'
            ) from None
        if (
            not isinstance(maps, tuple | list)
            or not maps
            or not all(isinstance(m, Tensor) and m.dim() == 4 for m in maps)
        ):
            given = f'a tensor {tuple(maps.shape)}' if isinstance(maps, Tensor) else f'a {type(maps).__name__}'
            raise ConfigError(
                f'{kind} gives {given}, not a tuple of maps (B, C, h, w), which is what a backbone of ours gives: change its '
                'forward.'
            )
        return tuple(maps)


def _width(backbone: nn.Module, head: Classifier) -> int:
    """Channels of the last map; of a network of the user's own that does not say it, what its classifier reads."""
    return getattr(backbone, 'out_channels', head.channels)


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
    checkpoint = read_checkpoint(source)
    checkpoint = averaged(checkpoint, source) if average else checkpoint
    found = find_backbone(checkpoint, str(source), () if config is None else names_of(config))
    if lacks_stem_relu(found.weights):
        raise CheckpointError(
            f'{source} ({found.layout}) holds a ResNet without a ReLU after its first norm, as its code cut it out of a '
            'network that calls it as a function. No library has such a network. --pretrained starts a training from it.'
        )
    head = found.classifier
    weights = {
        name: value for name, value in in_our_names(found.weights).items() if head is None or name not in head.names
    }
    told = config is None
    if config is None:
        whole = infer(
            {**weights, **in_our_names({**found.weights, **found.untrained})} if found.untrained else weights,
            str(source),
        )
        config = _cut(whole, weights, str(source)) if found.untrained else whole
    config = settled(config)
    backbone = _built(config, str(source), told)
    unused, notes = _load(backbone, weights, config, str(source))
    unused = {
        **{name: reason for name, reason in found.unused.items() if head is None or name not in head.names},
        **unused,
    }
    if head and not (classifier and head.channels == _width(backbone, head)):
        reason = (
            f'a classifier of {head.channels} numbers, not of {_width(backbone, head)} averages'
            if classifier
            else 'the classifier'
        )
        unused, head = {**unused, **dict.fromkeys(sorted(head.names), reason)}, None
    if config.get('grn_scope') == 'image':
        notes = (
            *notes,
            "GRN takes its norms over each image (grn_scope='image'), as networks are used after pretraining",
        )
    given = backbone
    if found.untrained:
        notes = (*notes, f'its run trained {stages_of(weights)} stages; the others are left out')
    if merge:
        backbone = _merged(given, config, str(source))
        config['merged'] = True
    return Network(backbone, given, config, found.layout, unused, notes, head)


def _cut(config: dict[str, Any], weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """The config of the stages that `weights` have.

    Raises:
        CheckpointError: they have none.
    """
    stages = stages_of(weights)
    if not stages:
        raise CheckpointError(
            f'{source} is of a run that trained the stem of its network only, which is no network to convert: take the '
            'weights out with tools/extract_backbone_weights.py.'
        )
    return cut(config, stages)


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


def names_of(config: Mapping[str, Any]) -> list[str]:
    """Names in the state dict of the backbone of `config`, which is built without memory where it can be."""
    try:
        with torch.device('meta'):
            return list(BACKBONES.build(dict(config)).state_dict())
    except (ConfigError, NotImplementedError, RuntimeError):  # it reads numbers of a tensor while it is built
        return list(BACKBONES.build(dict(config)).state_dict())


def _merged(backbone: nn.Module, config: Mapping[str, Any], source: str) -> nn.Module:
    if not isinstance(backbone, SLaK):
        raise ConfigError(
            f'--merge is for SLaK, whose kernels have norms and small kernels beside them; {source} holds a '
            f'{config["type"]}.'
        )
    return backbone if config.get('merged') else copy.deepcopy(backbone).merge()


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's config without settings of training, with the maps that are converted."""
    kept = {key: value for key, value in config.items() if key not in _OF_TRAINING}
    if kept.get('type') in OWN:
        stages = len(kept['depths']) if kept.get('depths') else kept.get('num_stages', 4)
        kept['out_indices'] = tuple(range(1, stages + 1))
    if kept.get('type') == 'ConvNeXtV2':
        kept['grn_scope'] = 'image'
    return kept


def _load(
    backbone: nn.Module, weights: dict[str, Tensor], config: Mapping[str, Any], source: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Load all of `backbone`; which tensors were left out and why, and notes.

    Raises:
        CheckpointError: one is missing, left over without a reason, or of another shape.
    """
    own = backbone.state_dict()
    incoming = for_backbone(weights, own)
    given = incoming.weights
    absent = [name for name in own if name not in given and name not in incoming.spare]
    counters = [name for name in absent if name.endswith('num_batches_tracked')]
    missing, extra = [name for name in absent if name not in counters], [name for name in given if name not in own]
    wrong = [
        f'{name} {tuple(given[name].shape)} in the file, {tuple(own[name].shape)} in the network'
        for name in given
        if name in own and given[name].shape != own[name].shape
    ]
    kinds = [
        f'{name} {given[name].dtype} in the file, {own[name].dtype} in the network'
        for name in given
        if name in own and not convertible(given[name], own[name])
    ]
    faults = [
        f'{label} {", ".join(names[:5])}{f", ... ({len(names)} in all)" if len(names) > 5 else ""}'
        for label, names in (
            ('missing in the file:', missing),
            ('only in the file:', extra),
            ('another shape:', wrong),
            ('another type:', kinds),
        )
        if names
    ]
    if faults:
        settings = ', '.join(f'{key}={value!r}' for key, value in config.items() if key not in ('type', 'out_indices'))
        raise CheckpointError(
            f'{source} is not a complete {config["type"]}({settings}): {"; ".join(faults)}. Nothing was written. For '
            'another network, give --config, a config with it (TIMMBackbone for those of timm).'
        )
    backbone.load_state_dict(given, strict=False)
    notes = (
        (f'{len(counters)} counters of batch norms (num_batches_tracked) are not in the file and are 0',)
        if counters
        else ()
    )
    return incoming.unused, notes
