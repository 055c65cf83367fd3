"""Weights under our names, with their configs beside them: what `--pretrained` reads, and `load_from` with a classifier."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import BACKBONES, HEADS
from ..checksums import with_digest
from ..network import Network
from ..write import write_checkpoint_atomic
from .form import NEEDS_EXTRA, Form, Target


def _make(network: Network, size: tuple[int, int], maps: bool) -> Target:
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


SAFETENSORS = Form(_make, '.safetensors')
