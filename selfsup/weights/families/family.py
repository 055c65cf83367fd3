"""The form of the records of this room: `Family`, with the `Spelling`s of its names and the `Library` networks it leaves as."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError
from ..network import Network


@dataclass(frozen=True)
class Spelling:
    """Names that one library gives to the weights of a family.

    Attributes:
        title: whose names these are, for messages.
        mark: fits the beginning of a name that only such weights have.
        to_ours: takes the weights under these names and returns them under ours. A classifier comes along: as `fc.` if it follows the
            average directly, as `norm.` and `head.` if a norm stands before it.
    """

    title: str
    mark: re.Pattern[str]
    to_ours: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict


@dataclass(frozen=True)
class Library:
    """A network of another library that takes over ours.

    Attributes:
        weights: our weights under the names of that library.
        build: makes the network that runs them, with a classifier where `weights` have one: that of the library, or ours for a library
            that need not be installed.
        last_map: takes that network and images (B, C, H, W) and returns the last map (B, D, h, w).
        usage: lines of Python (or yaml, for detectron2) that load the file `{path}`; () where the network has sizes that the
            library has not published.
        optional: names in that network beyond those of `weights`; its last map does not depend on them.
        names: for each name in what `build` makes its name in `weights`, if the two spell names in different ways.
    """

    weights: dict[str, Any]
    build: Callable[[], nn.Module]
    last_map: Callable[[nn.Module, Tensor], Tensor]
    usage: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """Networks of one kind: how their weights are known, read and handed on.

    Attributes:
        name: for messages.
        networks: all that it covers, for messages.
        types: our backbones that belong to it.
        spellings: what its weights are known by, the first that fits; () for backbones that nothing but a config tells.
        block: fits the beginning of our name of a tensor in a block and gives the numbers of its stage and block.
        infer: takes weights under our names, and the file for messages, and returns the config of the backbone that they fit. It raises a
            KeyError where a tensor is missing that it needs for that.
        cut: takes a config and a number of stages and returns the config of the first stages.
        as_used: takes a config and returns the one with which such a network is used after pretraining, with notes for the user.
        lacks: takes the names in a file and says what the network in it lacks ("ReLU after its first norm") because its code cut it out
            of a larger one; '' for nothing.
        merge: folds layers that can be computed in one step into each other, in a network in eval mode.
        normed: whether a layer norm stands before the classifier in other libraries; None: it makes no difference.
        timm_names: takes weights under our names and returns them under timm's; names of timm stay.
        libraries: by name of a library that has such models, a function that takes our network and returns the library's model for it.
        instead: the target that a user is sent to where a library has no such network.
    """

    name: str
    networks: tuple[str, ...]
    types: tuple[str, ...]
    spellings: tuple[Spelling, ...] = ()
    block: re.Pattern[str] = re.compile(r'(?!)')
    infer: Callable[[Mapping[str, Tensor], str], dict[str, Any]] | None = None
    cut: Callable[[Mapping[str, Any], int], dict[str, Any]] = lambda config, stages: dict(config)
    as_used: Callable[[dict[str, Any]], tuple[dict[str, Any], tuple[str, ...]]] = lambda config: (config, ())
    lacks: Callable[[Collection[str]], str] = lambda names: ''
    merge: Callable[[nn.Module], nn.Module] | None = None
    normed: bool | None = None
    timm_names: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
    libraries: Mapping[str, Callable[[Network], Library]] = field(default_factory=dict)
    instead: str = 'safetensors'


def blocks(names: Iterable[str], block: re.Pattern[str]) -> tuple[int, ...]:
    """Blocks per stage, from the highest number of each."""
    last: dict[int, int] = {}
    for match in filter(None, map(block.match, names)):
        last[int(match[1])] = max(last.get(int(match[1]), -1), int(match[2]))
    return tuple(last[stage] + 1 for stage in sorted(last))


def unpublished(source: str, sizes: str, network: str, known: Iterable[str]) -> CheckpointError:
    """The error for a `network` of `sizes` that are not among the published ones, `known`."""
    return CheckpointError(
        f'{source} holds a {network} of {sizes}; published are {", ".join(known)}. If it is a network of your own, '
        'give --config, the config of its run; if not, the file is not complete.'
    )


def absent(network: Network, library: str, instead: str) -> ConfigError:
    """The error for a network that `library` does not have."""
    return ConfigError(f'{library} has no {network.title}. Use --to onnx or {instead}.')


def timm_model(
    network: Network,
    name: str,
    kwargs: dict[str, Any],
    weights: dict[str, Tensor],
    *,
    change: Callable[[nn.Module], nn.Module] = lambda model: model,
    change_usage: tuple[str, ...] = (),
    last_map: Callable[[nn.Module, Tensor], Tensor] | None = None,
    optional: tuple[str, ...] = (),
) -> Library:
    """The model `name` of timm, made with the number of classes of the network's classifier, or with `num_classes=0`.

    Args:
        network: ours.
        name: of the model.
        kwargs: of `timm.create_model`; channels of the images and classes are added.
        weights: ours, under its names.
        change: what is done to the model before it takes them.
        change_usage: the same as lines of Python.
        last_map: as in `Library`; None: `forward_features`.
        optional: as in `Library`; all are of the classifier.
    """
    classes = network.classifier.classes if network.classifier else 0
    if network.in_channels != 3:
        kwargs = {**kwargs, 'in_chans': network.in_channels}

    def build() -> nn.Module:
        import timm

        return change(timm.create_model(name, num_classes=classes, **kwargs))

    def features(model: Any, images: Tensor) -> Tensor:
        return model.forward_features(images)

    settings = ''.join(f', {key}={value!r}' for key, value in kwargs.items())
    usage = (
        'import timm, torch',
        f"model = timm.create_model('{name}', num_classes={classes}{settings})",
        *change_usage,
        f"model.load_state_dict(torch.load('{{path}}'){', strict=False)  # head.norm is not pretrained' if optional else ')'}",
    )
    return Library(weights, build, last_map or features, usage, optional)
