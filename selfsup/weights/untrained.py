"""Stages of a backbone behind the last map that its run returned: they are in the checkpoint, and nothing has ever trained them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import SelfSupError
from ..registry import BACKBONES
from .families import of_type
from .frame import meta_of

_CLASSIFIER = ('model.head.', 'model.fc.', 'head.', 'norm.', 'fc.')  # may stand in a backbone; `classifier.py` finds it


def untrained(checkpoint: Mapping) -> tuple[tuple[str, ...], str]:
    """Names in the backbone of one of our checkpoints that its maps do not depend on, and the reason in words.

    Told from the config in `meta`: the backbone is built without memory and asked what it has frozen because no map comes of it.
    Nothing is found where the config is missing, has no `out_indices`, or is of a network of one's own, which may freeze anything.
    """
    config = _backbone_config(checkpoint)
    if not isinstance(config, dict) or not of_type(config.get('type')) or not config.get('out_indices'):
        return (), ''
    plain = {key: value for key, value in config.items() if key not in ('frozen_stages', 'pretrained')}
    try:
        with torch.device('meta'):
            backbone = BACKBONES.build(plain)
    except (SelfSupError, ValueError, TypeError, ImportError, RuntimeError):
        return (), ''  # a setting of another version, or timm is not installed
    reason = f'behind the last of out_indices={tuple(config["out_indices"])}, so never trained'
    return tuple(_unreached(backbone)), reason


def _unreached(backbone: nn.Module) -> list[str]:
    """Names of the modules' tensors of which no parameter asks for a gradient, although nothing was frozen by a setting."""
    unreached: dict[str, None] = {}
    for prefix, module in backbone.named_modules():
        parameters = list(module.parameters())
        if not parameters or f'{prefix}.'.startswith(_CLASSIFIER):
            continue
        frozen = [name for name, p in module.named_parameters(recurse=False) if not p.requires_grad]
        names = frozen if any(p.requires_grad for p in parameters) else module.state_dict()
        unreached.update(dict.fromkeys(f'{prefix}.{name}' if prefix else name for name in names))
    return list(unreached)


def _backbone_config(checkpoint: Mapping) -> Any:
    """`model.backbone` of the config text in `meta`, literals only; None where there is none."""
    text = meta_of(checkpoint).get('config')
    if not isinstance(text, str):
        return None
    try:
        body = ast.parse(text).body
        node = next(
            line.value for line in body if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == 'model'
        )
        model = ast.literal_eval(_Dicts().visit(node))
    except (SyntaxError, ValueError, StopIteration, RecursionError, MemoryError):
        return None
    return model.get('backbone') if isinstance(model, dict) else None


class _Dicts(ast.NodeTransformer):
    """`dict(a=1)` as `{'a': 1}`, which `ast.literal_eval` takes."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.func, ast.Name) or node.func.id != 'dict' or node.args:
            return node
        return ast.Dict(
            [ast.Constant(keyword.arg) for keyword in node.keywords], [word.value for word in node.keywords]
        )
