"""Names of weights in checkpoints of OpenSelfSup, and ours for them.

OpenSelfSup kept a backbone and its neck in one `nn.Sequential` per network and stored the online backbone a second time under
`backbone.`; here each part has its own name and is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# beginning there -> beginning here
RENAMED = (
    ('encoder_q.0.', 'backbone.'),
    ('encoder_q.1.', 'neck.'),
    ('encoder_k.0.', 'key_backbone.'),
    ('encoder_k.1.', 'key_neck.'),
    ('online_net.0.', 'backbone.'),
    ('online_net.1.', 'neck.'),
    ('target_net.0.', 'target_backbone.'),
    ('target_net.1.', 'target_neck.'),
    ('head.criterion.weight', 'loss_weight'),  # of each cluster: DeepCluster and ODC
)
CONSTANT = ('sobel_layer.',)  # fixed filters, which are no weights here


def upgrade(weights: Mapping[str, Any]) -> dict[str, Any]:
    """`weights` under our names; names that are ours already stay, so doing it twice changes nothing.

    Args:
        weights: name -> tensor, with or without a `module.` in front of every name.
    """
    renamed: dict[str, Any] = {}
    for name, value in weights.items():
        name = name.removeprefix('module.')
        if not name.startswith(CONSTANT):
            renamed[_new_name(name)] = value  # the second copy of the backbone lands on the first
    return renamed


def _new_name(name: str) -> str:
    for old, new in RENAMED:
        if name.startswith(old):
            return new + name[len(old) :]
    return name
