"""A linear classifier beside or inside a backbone: found in files, and under the names of other libraries."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..registry import HEADS

EPS = 1e-6  # of the norm before the classifier of a ConvNeXt or SLaK, as published
# Where it stands in the backbone, under our names, and beside it: beginning of its norm, of what holds its linear layer and nothing
# else, and the layer's name in there.
_INSIDE = (('norm.', 'head.', ''), ('', 'fc.', ''))
_BESIDE = (
    ('head.norm.', 'head.fc_cls.', ''),
    ('', 'head.fc.', ''),
    ('', 'heads.', '0.clf.0.'),
    ('', 'classifier.', ''),
)
# Signs of pretraining in the names beside a backbone and before its own: a linear layer there is a projection, or a probe of the training.
_PRETRAINING = re.compile(
    r'(^|\.)(neck\.|projector\.|momentum_|projection_head|prediction_head|predictor\.|prototypes|queue|encoder_k\.|'
    r'target_|key_)'
)
_PRETRAINED = re.compile(r'(^|\.)(encoder|base_encoder|online|student|teacher)')


@dataclass(frozen=True)
class Classifier:
    """Logits from average-pooled features (B, D): an optional layer norm, then a linear layer.

    Attributes:
        weights: `fc_cls.weight` (K, D), `fc_cls.bias` (K), and perhaps `norm.weight` and `norm.bias` (D): names of a `ClsHead`; float32.
        names: the tensors' names where `find_classifier` found them.
    """

    weights: dict[str, Tensor]
    names: frozenset[str]

    @property
    def classes(self) -> int:
        """K."""
        return len(self.weights['fc_cls.bias'])

    @property
    def channels(self) -> int:
        """D."""
        return self.weights['fc_cls.weight'].shape[1]

    @property
    def normed(self) -> bool:
        """True with a layer norm."""
        return 'norm.weight' in self.weights

    def config(self) -> dict:
        """Config of the head."""
        norm = {'norm_cfg': {'type': 'LN', 'eps': EPS}} if self.normed else {}
        return {
            'type': 'ClsHead',
            'with_avg_pool': True,
            'in_channels': self.channels,
            'num_classes': self.classes,
            **norm,
        }

    def build(self) -> nn.Module:
        """The head, in eval mode."""
        head = HEADS.build(self.config()).eval()
        head.load_state_dict(self.weights)
        return head

    def named(self, norm: str, linear: str) -> dict[str, Tensor]:
        """Its tensors with other beginnings of their names."""
        return {name.replace('norm.', norm).replace('fc_cls.', linear): value for name, value in self.weights.items()}


def find_classifier(prefix: str, backbone: Mapping[str, Tensor], beside: Mapping[str, Tensor]) -> Classifier | None:
    """The classifier that a file was trained with; None where there is none, or something else than a linear layer.

    Args:
        prefix: before the names of the backbone in the file.
        backbone: its weights under our names (`in_our_names`).
        beside: the other weights of the file, under its names.
    """
    if _PRETRAINED.search(prefix) or any(map(_PRETRAINING.search, beside)):
        return None
    for weights, places in ((backbone, _INSIDE), (beside, _BESIDE)):
        for norm, beginning, layer in places:
            linear, norms = _part(weights, beginning), _part(weights, norm)
            if weights is beside and not norm:  # MMPretrain keeps the norm of a ConvNeXt in the backbone
                norms = _part(backbone, 'norm.')
            if linear.keys() == {f'{layer}weight', f'{layer}bias'} and norms.keys() in ({'weight', 'bias'}, set()):
                renamed = {
                    **{f'norm.{name}': value for name, value in norms.items()},
                    **{f'fc_cls.{name}': linear[f'{layer}{name}'] for name in ('weight', 'bias')},
                }
                renamed = {name: value.float() for name, value in renamed.items()}
                inside = _places(backbone, 'norm.') if norms else []
                names = frozenset(_places(weights, beginning, norm) + inside)
                return Classifier(renamed, names) if _linear(renamed) else None
    return None


def _linear(weights: Mapping[str, Tensor]) -> bool:
    """True for the shapes of a linear layer and, perhaps, a layer norm."""
    weight = weights['fc_cls.weight']
    return weight.dim() == 2 and all(
        value.shape == weight.shape[:1] if name == 'fc_cls.bias' else value.shape == weight.shape[1:]
        for name, value in weights.items()
        if value is not weight
    )


def _part(weights: Mapping[str, Tensor], beginning: str) -> dict[str, Tensor]:
    """What stands under `beginning`; nothing under ''."""
    return {name[len(beginning) :]: weights[name] for name in _places(weights, beginning)}


def _places(names: Collection[str], *beginnings: str) -> list[str]:
    return [name for name in names if name.startswith(tuple(filter(None, beginnings)))]
