"""Teachers of timm: convnets, vision transformers with or without register tokens, by their name on the hub or from a file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError, SelfSupError
from ...registry import TEACHERS
from ...weights.frame import flat_weights
from ...weights.read import check_finite, read_checkpoint
from ..backbones.timm_backbone import TIMMBackbone
from .teacher import Answer, Teacher
from .view import Normalization


class TIMMNetwork(nn.Module):
    """A timm model: the vector that it pools itself, and its map without class and register tokens."""

    def __init__(self, backbone: TIMMBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Answer:
        """(B, C, H, W) -> vector (B, D), map (B, D, h, w)."""
        features = self.backbone.model.forward_features(x)
        summary = self.backbone.model.forward_head(features, pre_logits=True)
        return Answer(summary.flatten(1), self.backbone.as_map(features, x.shape[-2:]))


class TokenNetwork(TIMMNetwork):
    """A vision transformer whose vector is its class token, whatever its classifier pools."""

    def forward(self, x: Tensor) -> Answer:
        features = self.backbone.model.forward_features(x)
        return Answer(features[:, 0], self.backbone.as_map(features, x.shape[-2:]))


@TEACHERS.register_module()
class TIMMTeacher(Teacher):
    """Any model of timm.

    The vector is the class token where the model has one, else what the model itself pools (an average, or its attention pool). Mean, std
    and size come from the model's own record.

    Args:
        model_name: e.g. 'vit_base_patch14_reg4_dinov2.lvd142m', 'convnext_tiny.dinov3_lvd1689m', 'resnet50.a1_in1k'.
        file: its weights, as downloaded (.safetensors, .pth); None asks the hub, or takes what an earlier run has downloaded.
        pretrained: False: weights drawn at random, always the same ones, for tests and to compare with; goes without `file`.
        model_args: further arguments of `timm.create_model`, such as `img_size`.
        **kwargs: see `Teacher`.

    Raises:
        UnknownNameError: timm has no such model.
        ConfigError: the weights are not to be had, or an argument does not fit.
        CheckpointError: `file` cannot be read, or holds other weights.
    """

    def __init__(
        self,
        model_name: str,
        file: str | None = None,
        pretrained: bool = True,
        model_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if file is not None and not pretrained:
            raise ConfigError(f"TIMMTeacher has file='{file}' and pretrained=False: leave one of them out.")
        given: dict[str, Any] = {'pretrained': pretrained, **(model_args or {})}
        if file is not None:
            given['pretrained_cfg_overlay'] = _from_file(model_name, file)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = self._built(model_name, file, given)
        cfg = backbone.model.pretrained_cfg
        self.start(
            (TokenNetwork if has_class_token(backbone) else TIMMNetwork)(backbone),
            name=model_name,
            licence=str(cfg.get('license') or ''),
            normalization=Normalization(mean=list(cfg['mean']), std=list(cfg['std'])),
            **sizes_of(backbone),
        )

    def _built(self, name: str, file: str | None, given: dict[str, Any]) -> TIMMBackbone:
        """The model, made for images of any size where it can be.

        Raises:
            SelfSupError: see the class.
        """
        try:
            if 'img_size' not in given and 'dynamic_img_size' not in given:
                try:
                    return TIMMBackbone(name, **given, dynamic_img_size=True)
                except TypeError:  # it takes any size as it is, or one alone
                    pass
            fixed = bool(self.size) and 'img_size' not in given and _takes_one_size(name)
            return TIMMBackbone(name, **{**given, **({'img_size': self.size} if fixed else {})})
        except SelfSupError:
            raise
        except Exception as error:  # of the hub, its client, the network below it, or of timm about a file
            reason = ' '.join(str(error).split())[:200] or type(error).__name__
            if file is not None:
                raise CheckpointError(f'{file} does not hold the weights of timm model {name}: {reason}') from None
            if not given['pretrained']:
                raise ConfigError(f'timm model {name} cannot be built with {given}: {reason}') from None
            raise ConfigError(_not_there(name, reason)) from None


def has_class_token(backbone: TIMMBackbone) -> bool:
    """Whether the first of its tokens stands for the image."""
    model = backbone.model
    return getattr(model, 'cls_token', None) is not None and getattr(model, 'num_prefix_tokens', 0) > 0


def sizes_of(backbone: TIMMBackbone) -> dict[str, Any]:
    """`fixed_size` and `multiple` of `Teacher.start`."""
    model, embed = backbone.model, getattr(backbone.model, 'patch_embed', None)
    patch = getattr(embed, 'patch_size', None)
    if getattr(model, 'dynamic_img_size', False) or getattr(embed, 'dynamic_img_pad', False):
        return {'multiple': max(patch) if patch else 1}
    if not model.pretrained_cfg.get('fixed_input_size'):
        return {}
    height, width = getattr(embed, 'img_size', None) or model.pretrained_cfg['input_size'][-2:]
    return {'fixed_size': (height, width)}


def _takes_one_size(name: str) -> bool:
    import timm

    cfg = timm.models.get_pretrained_cfg(name)
    return bool(cfg and cfg.fixed_input_size)


def _from_file(name: str, file: str) -> dict[str, Any]:
    """What timm is to know of the weights in a file. They have no classifier, like the model: so timm asks for each of its tensors."""
    import timm

    weights: dict[str, Tensor] = flat_weights(read_checkpoint(file), file)
    check_finite(weights, file)
    cfg = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    classifier = (cfg.classifier if cfg else None) or ()
    for layer in (classifier,) if isinstance(classifier, str) else classifier:
        weights = {key: value for key, value in weights.items() if key not in (f'{layer}.weight', f'{layer}.bias')}
    return {'state_dict': weights, 'source': '', 'num_classes': 0}


def _not_there(name: str, reason: str) -> str:
    """What to do where the hub cannot be asked."""
    import timm

    if name.startswith('local-dir:'):
        return f'timm cannot load {name}: {reason}.'
    cfg = timm.models.get_pretrained_cfg(name) if ':' not in name else None
    hub = (cfg.hf_hub_id if cfg else None) or name.partition(':')[2]
    if cfg is not None and not cfg.has_weights:
        return f'timm has no weights of {name}: give file=, or a name with a tag, as timm.list_pretrained() shows them.'
    return (
        f'The weights of timm model {name} are not on this machine and could not be downloaded ({reason}). Download '
        f'https://huggingface.co/{hub}/resolve/main/model.safetensors where there is a network, put the file anywhere on this machine, '
        "and name it in the teacher: file='PATH/model.safetensors'."
    )
