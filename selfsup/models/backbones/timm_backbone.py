"""Any timm model as a backbone (https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...arguments import Count
from ...errors import ConfigError, ShapeError, UnknownNameError
from ...registry import BACKBONES
from ..layers.norm import resolve_sync_bn


@BACKBONES.register_module()
class TIMMBackbone(nn.Module):
    """A timm model without its classifier; it returns a tuple of feature maps (B, C, H, W).

    The names of the parameters are timm's own after `model.`, whatever `out_indices` says. Parameters that the returned maps do
    not depend on (a layer before the classifier, say) are frozen, so that DDP does not wait for their gradients.

    Args:
        model_name: e.g. 'resnet50', 'convnext_tiny', 'vit_small_patch16_224'; `timm.list_models()` lists them.
        pretrained: load timm's weights (downloads them once).
        out_indices: which of the model's feature levels to return, as timm counts them (resnet: 0 is the stem).
            None returns the output of `forward_features` only; tokens become a map, without the class token.
        in_channels: channels of the images.
        sync_bn: batch norms use the statistics of all processes, where that can run: several processes with a GPU each. Masked
            pretraining has a `sync_bn` of its own.
        **kwargs: for `timm.create_model`, e.g. `img_size=32, patch_size=4, drop_path_rate=0.1`.

    Attributes:
        channels: tuple, channels of each returned map.
        out_channels: channels of the last returned map.

    Raises:
        UnknownNameError: timm has no such model.
        ConfigError: the model cannot return the levels asked for.
    """

    model: Any  # timm's models have methods and attributes of their own

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        out_indices: Sequence[int] | None = None,
        in_channels: Count = 3,
        sync_bn: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise ConfigError('TIMMBackbone needs timm: pip install timm') from None
        # A name with a colon ('hf-hub:owner/name') is looked up by timm.
        if ':' not in model_name and not timm.is_model(model_name.split('.')[0]):
            near = difflib.get_close_matches(model_name, timm.list_models(), n=3)
            question = f' Did you mean {" or ".join(map(repr, near))}?' if near else ''
            raise UnknownNameError(
                f"model_name='{model_name}' is not a model of timm {timm.__version__}.{question} "
                f"timm.list_models('*part*') lists them."
            )
        self.model = timm.create_model(model_name, pretrained=pretrained, in_chans=in_channels, num_classes=0, **kwargs)
        self.in_channels = in_channels
        self.out_indices = None if out_indices is None else tuple(out_indices)
        if self.out_indices is not None and not hasattr(self.model, 'forward_intermediates'):
            raise ConfigError(
                f'timm model {model_name} returns its last map only: leave out_indices={self.out_indices} away.'
            )
        self.channels = self._probe(in_channels, kwargs.get('img_size'))
        self.out_channels = self.channels[-1]
        if sync_bn and resolve_sync_bn({'type': 'SyncBN'})['type'] == 'SyncBN':
            self.model = timm.layers.convert_sync_batchnorm(self.model)

    def _probe(self, in_channels: int, img_size: int | tuple[int, int] | None) -> tuple[int, ...]:
        """Run a copy once: find the channels of the maps, and freeze the parameters that do not reach them."""
        size = img_size or self.model.pretrained_cfg['input_size'][-2:]
        height, width = (size, size) if isinstance(size, int) else size
        probe = copy.deepcopy(self).to('meta').eval()  # shapes only: no memory, no arithmetic
        try:
            with torch.enable_grad():  # wherever the backbone is built
                maps = probe(torch.empty(2, in_channels, height, width, device='meta'))
                sum(m.sum() for m in maps).backward()
        except (IndexError, AssertionError, ValueError) as error:
            raise ConfigError(
                f'timm model {type(self.model).__name__} has no out_indices={self.out_indices}: {error}'
            ) from None
        for (_, parameter), (_, copied) in zip(self.named_parameters(), probe.named_parameters(), strict=True):
            if copied.grad is None:
                parameter.requires_grad_(False)
        return tuple(m.shape[1] for m in maps)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C, H, W) for images `x` (B, in_channels, H, W)."""
        if x.shape[1] != self.in_channels:
            raise ShapeError(
                f'TIMMBackbone has in_channels={self.in_channels}, but the images have {x.shape[1]}: '
                f'set in_channels={x.shape[1]}.'
            )
        if self.out_indices is not None:
            return tuple(
                self.model.forward_intermediates(
                    x, indices=list(self.out_indices), output_fmt='NCHW', intermediates_only=True, stop_early=True
                )
            )
        return (self.as_map(self.model.forward_features(x), x.shape[-2:]),)

    def as_map(self, features: Tensor, image_size: torch.Size) -> Tensor:
        """(B, C, H, W) from a map in either layout, or from tokens (B, prefix + H * W, C)."""
        # Several levels, for example. Maps of visible blocks are no tensors either, and allowed.
        if isinstance(features, list | tuple | dict):
            raise ShapeError(
                f'timm model {type(self.model).__name__} returns a {type(features).__name__}, neither a map nor tokens: set '
                'out_indices, if it has levels of features, or choose another model.'
            )
        if features.dim() == 4:
            return features.permute(0, 3, 1, 2) if getattr(self.model, 'output_fmt', 'NCHW') == 'NHWC' else features
        if features.dim() != 3:
            raise ShapeError(
                f'timm model {type(self.model).__name__} returns {tuple(features.shape)}: neither a map nor tokens.'
            )
        tokens = features[:, getattr(self.model, 'num_prefix_tokens', 0) :]
        embed: Any = getattr(self.model, 'patch_embed', None)
        if hasattr(embed, 'dynamic_feat_size'):
            height, width = embed.dynamic_feat_size(image_size)
        else:
            height = width = round(tokens.shape[1] ** 0.5)
        if height * width != tokens.shape[1]:
            raise ShapeError(
                f'timm model {type(self.model).__name__} returns {tokens.shape[1]} tokens for images of '
                f'{tuple(image_size)}: they fill no {height} x {width} map.'
            )
        return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
