"""One file per family of networks, each with one record (`Family`, in `family.py`): what its weights are called by whom, how its size
is read off them, and as what it leaves for other libraries. No other file of `weights` knows a network by name.

To read: `family.py` for the form of a record, then `resnet.py`. To add a family: one file with its record, and its entry in `FAMILIES`.

Our names are torchvision's for ResNet and the authors' for ConvNeXt, ConvNeXt V2 and SLaK.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from .convnext import CONVNEXT
from .family import Family, Spelling
from .resnet import RESNET
from .slak import SLAK
from .timm_backbone import TIMM_BACKBONE

FAMILIES = (RESNET, CONVNEXT, SLAK, TIMM_BACKBONE)  # the first one with a mark in the names of some weights counts


@dataclass(frozen=True)
class Named:
    """Weights of a backbone with what their names tell. `model.` may stand before the names.

    Attributes:
        weights: under the names of the file.
        family: of the network; None where it is not known by its weights.
        spelling: whose names these are; None for ours, and where the network is not known.
    """

    weights: dict[str, Tensor]
    family: Family | None = None
    spelling: Spelling | None = None

    @property
    def title(self) -> str:
        """Network and whose names, for messages; '' where it is not known."""
        return f'{self.family.name}, {self.spelling.title}' if self.family and self.spelling else ''

    @property
    def lacks(self) -> str:
        """What the network lacks that its family has; '' for nothing."""
        return self.family.lacks(self.weights) if self.family else ''

    @cached_property
    def ours(self) -> dict[str, Tensor]:
        """The weights under the names of our backbones; those of a network that is not known as they are."""
        return self.spelling.to_ours(_plain(self.weights)) if self.spelling else self.weights

    def without(self, names: Collection[str]) -> Named:
        """The weights under our names but for `names`."""
        return Named({name: value for name, value in self.ours.items() if name not in names}, self.family)

    def spellings(self) -> list[dict[str, Tensor]]:
        """The weights under all the names that a backbone may have: the file's, ours and timm's, with and without `model.`."""
        plain = [_plain(self.weights)]
        if self.family:
            plain += [self.ours, self.family.timm_names(self.ours)]
        return [self.weights, *plain, *({f'model.{name}': value for name, value in names.items()} for names in plain)]


def recognise(weights: Mapping[str, Tensor]) -> Named:
    """What the names of a backbone's weights tell."""
    return Named(dict(weights), *_identified(weights))


def is_known(names: Iterable[str]) -> bool:
    """True where the names of a backbone's weights tell its family."""
    return _identified(names) != ()


def _identified(names: Iterable[str]) -> tuple[Family, Spelling] | tuple[()]:
    plain = [name.removeprefix('model.') for name in names]
    pairs = ((family, spelling) for family in FAMILIES for spelling in family.spellings)
    return next((pair for pair in pairs if any(map(pair[1].mark.match, plain))), ())


def in_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network that is known, under the names of our backbones; others as they are."""
    return recognise(weights).ours


def of_type(kind: str | None) -> Family | None:
    """The family of one of our backbones; None for one of the user's own."""
    return next((family for family in FAMILIES if kind in family.types), None)


def prefixes(names: Iterable[str]) -> list[str]:
    """What stands before known networks in `names`: `trunk.` of `trunk.layer1.0.conv1.weight`."""
    mark = re.compile('|'.join(f'(?:{spelling.mark.pattern})' for family in FAMILIES for spelling in family.spellings))
    before: dict[str, None] = {}
    for name in names:
        starts = [0, *(dot.end() for dot in re.finditer(r'\.', name))]
        start = next((start for start in starts if mark.match(name, start)), None)
        if start is not None:
            before[name[:start]] = None
    return list(before)


def known(word: str, networks: bool = False) -> str:
    """What is known by its weights, as text: families, or all their networks, with `word` ("and") before the last."""
    told = [family for family in FAMILIES if family.spellings]
    names = [name for family in told for name in (family.networks if networks else (family.name,))]
    return f'{", ".join(names[:-1])} {word} {names[-1]}'


def is_transformer(names: Iterable[str]) -> bool:
    """True for names of a vision transformer or a Swin."""
    return any('.attn.' in name or '.self_attention.' in name for name in names)


def infer(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """The config of the backbone that `weights` fit, read off their names and shapes.

    What shapes do not tell is taken as published: the strides, the norms' epsilon, and that a bottleneck strides in its 3x3 convolution.

    Args:
        weights: of a backbone alone, under our names.
        source: the file, for messages.

    Raises:
        CheckpointError: no network that is known, a tensor that tells the shape is missing, or numbers of blocks that no published
            network has.
    """
    family = recognise(weights).family
    if family is None or family.infer is None:
        what = f'{len(weights)} tensors such as {", ".join(list(weights)[:3])}'
        raise CheckpointError(
            f'{source} holds {"a vision transformer" if is_transformer(weights) else what}: the network is known by its '
            f'weights for {known("and", networks=True)} only. For another one give --config, the config of its run.'
        )
    try:
        return family.infer(weights, source)
    except KeyError as error:
        raise CheckpointError(
            f'{source} lacks {error.args[0]}, without which its {family.name} cannot be told. If it is complete, give '
            '--config, a config with its network (TIMMBackbone for those of timm).'
        ) from None
    except (IndexError, TypeError, ValueError, ZeroDivisionError, RuntimeError):
        # The shapes have other axes, or there are numbers of stages that no such network has.
        raise CheckpointError(
            f'{source} has tensors whose shapes are those of no {family.name}. If it is complete, give --config, a config '
            'with its network.'
        ) from None


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix('model.'): value for name, value in weights.items()}
