"""Forms in which a backbone leaves: files of other libraries, each with the way to read it back and run it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ..checkpoint_bytes import with_digest
from ..checkpoint_io import write_checkpoint_atomic
from ..errors import CheckpointError, ConfigError
from ..registry import BACKBONES, HEADS
from .detectron2 import detectron2_name, to_detectron2, write_detectron2
from .in_timm import in_timm
from .in_torchvision import in_torchvision
from .library import Library, resnet_key
from .network import Network

NEEDS_EXTRA = "needs {}, which is not installed: pip install 'selfsup[convert]'"


@dataclass(frozen=True)
class Target:
    """What a network is to become.

    Attributes:
        tensors: number of tensors in the file.
        write: writes the file.
        run: (file, images (B, C, H, W)) -> name -> what the network in the file makes of them: `last map` (B, D, h, w) or `features`
            (B, D), which is its average over h and w, or both; `logits` (B, K) with a classifier.
        usage: lines of Python (or yaml, for detectron2) that load the file `{path}`.
    """

    tensors: int
    write: Callable[[Path], object]
    run: Callable[[Path, Tensor], dict[str, Tensor]]
    usage: tuple[str, ...]


def timm(network: Network, size: tuple[int, int], maps: bool) -> Target:
    """A state dict that timm loads."""
    return _of_library(in_timm(network), bool(network.classifier))


def torchvision(network: Network, size: tuple[int, int], maps: bool) -> Target:
    """A state dict that torchvision loads."""
    return _of_library(in_torchvision(network), bool(network.classifier))


def _of_library(library: Library, classifier: bool) -> Target:
    @torch.no_grad()
    def run(path: Path, images: Tensor) -> dict[str, Tensor]:
        model = library.build().eval()
        missing, unexpected = model.load_state_dict(torch.load(path, weights_only=True), strict=False)
        left = [name for name in missing if name not in library.optional]
        if left or unexpected:
            raise CheckpointError(
                f'{type(model).__name__} does not take {path.name}: it misses {left[:5]}, and does not know '
                f'{unexpected[:5]}.'
            )
        return {'last map': library.last_map(model, images), **({'logits': model(images)} if classifier else {})}

    return Target(len(library.weights), lambda path: write_checkpoint_atomic(library.weights, path), run, library.usage)


def detectron2(network: Network, size: tuple[int, int], maps: bool) -> Target:
    """A pickle for detectron2's `MODEL.WEIGHTS`. As detectron2 need not be installed, it is read back by its list of names."""
    depth, groups, width = resnet_key(network, 'detectron2')
    settings = {'DEPTH': depth, 'STRIDE_IN_1X1': False}
    if (groups, width) != (1, 64):
        settings.update(NUM_GROUPS=groups, WIDTH_PER_GROUP=width)
    if depth < 50:
        settings['RES2_OUT_CHANNELS'] = 64
    if network.in_channels != 3:
        raise ConfigError(
            f'detectron2 has no {network.title}: its ResNets take three channels. Use --to safetensors or onnx.'
        )
    weights = network.weights()
    converted = to_detectron2(weights)

    @torch.no_grad()
    def run(path: Path, images: Tensor) -> dict[str, Tensor]:
        content = pickle.loads(path.read_bytes())['model']  # just written by us
        backbone = BACKBONES.build(dict(network.config)).eval()
        backbone.load_state_dict({name: torch.from_numpy(content[detectron2_name(name)]) for name in weights})
        return {'last map': backbone(images)[-1]}

    usage = (
        'MODEL:',
        '  WEIGHTS: {path}',
        f'  RESNETS: {{{", ".join(f"{key}: {value}" for key, value in settings.items())}}}',
        '  PIXEL_MEAN: [123.675, 116.28, 103.53]  # of ImageNet, where the run had it',
        '  PIXEL_STD: [58.395, 57.12, 57.375]',
        'INPUT: {FORMAT: RGB}',
    )
    return Target(len(converted), lambda path: write_detectron2(path, converted), run, usage)


def safetensors(network: Network, size: tuple[int, int], maps: bool) -> Target:
    """Weights under our names, with their configs beside them: what `--pretrained` reads, and `load_from` with a classifier."""
    try:
        from safetensors import safe_open
        from safetensors.torch import save
    except ImportError:
        raise ConfigError(f'--to safetensors {NEEDS_EXTRA.format("safetensors")}.') from None
    weights = {name: value.detach().contiguous() for name, value in network.backbone.state_dict().items()}
    about, head = {'format': 'pt', 'backbone': json.dumps(network.config)}, network.classifier
    if head:
        weights = {
            **{f'backbone.{name}': value for name, value in weights.items()},
            **head.named('head.norm.', 'head.fc_cls.'),
        }
        about['head'] = json.dumps(head.config())

    @torch.no_grad()
    def run(path: Path, images: Tensor) -> dict[str, Tensor]:
        with safe_open(path, framework='pt') as file:
            parts = nn.ModuleDict({'backbone': BACKBONES.build(json.loads(file.metadata()['backbone']))})
            if head:
                parts['head'] = HEADS.build(json.loads(file.metadata()['head']))
            (parts if head else parts['backbone']).load_state_dict(
                {name: file.get_tensor(name) for name in file.keys()}
            )
        maps = parts.eval()['backbone'](images)
        return {'last map': maps[-1], **({'logits': parts['head'](maps)['head0']} if head else {})}

    def write(path: Path) -> object:
        return write_checkpoint_atomic(
            weights, path, save=lambda content, file: file.write(with_digest(save(content, about)))
        )

    usage = (
        '# python tools/train.py CFG --pretrained {path}',
        *(('# python tools/test.py CFG {path}',) if head else ()),
        'import safetensors.torch',
        "weights = safetensors.torch.load_file('{path}')",
    )
    return Target(len(weights), write, run, usage)


def onnx(network: Network, size: tuple[int, int], maps: bool) -> Target:
    """A graph for ONNX runtimes; see `convert/onnx.py`."""
    from .onnx import count, export, run

    model = export(network, size, maps)
    outputs = 'features, logits, *maps' if network.classifier else 'features, *maps'
    usage = (
        'import onnxruntime',
        "session = onnxruntime.InferenceSession('{path}')",
        f"{outputs} = session.run(None, {{'images': images}})  # float32, (any number, {network.in_channels}, {size[0]}, {size[1]})",
    )

    def write(path: Path) -> object:
        return write_checkpoint_atomic(model, path, save=lambda content, file: file.write(content))

    return Target(count(model), write, run, usage)


TARGETS = MappingProxyType({make.__name__: make for make in (timm, torchvision, detectron2, safetensors, onnx)})
