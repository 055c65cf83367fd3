"""Rules for norms; every statistic is over visible positions only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .... import distributed
from ....errors import ConfigError, ShapeError
from ...layers.grn import formula, global_response_norm
from ...layers.norm import sync_batch_norm
from ..axes import dims_of
from ..block_map import BlockMap
from ..kernels.grn import can_fuse, normalised
from ..kernels.norm_relu import batch_norm_rows
from ..masked_map import MaskedMap
from ..messages import CONVOLUTIONS, where
from ..rule_table import rule
from ..visible_map import VisibleMap
from .statistics import image_count


@rule('batch_norm')
def batch_norm(
    x: BlockMap,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: object,
) -> BlockMap:
    """(B, C, H, W) of the same, over the visible positions: of the batch, or of all ranks if the blocks of `x` say so.

    The running variance is unbiased with the number of visible positions, as in SparK's public code.

    Raises:
        ShapeError: statistics of a single position.
    """
    need_channels_first(x, 'batch_norm')
    positions = x.positions()
    if training and x.blocks.sync and distributed.world_size() > 1:
        return x.with_positions(sync_batch_norm(positions, running_mean, running_var, weight, bias, momentum, eps))
    if training and positions.numel() == positions.shape[1]:
        raise ShapeError(f'Batch norm needs more than one visible position{where()}: use more images or larger ones.')
    if training and torch.is_grad_enabled():
        return x.with_normed(batch_norm_rows(positions, running_mean, running_var, weight, bias, momentum, eps))
    return x.with_positions(
        functional.batch_norm(positions, running_mean, running_var, weight, bias, training, momentum, eps)
    )


@rule('layer_norm')
def layer_norm(
    x: BlockMap,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> BlockMap:
    """(B, ..., C) of the same: over the channels of each position, which must be the last axis."""
    if x.axes[-1] != 'C' or tuple(normalized_shape) != (x.shape[-1],):
        raise ConfigError(
            f'layer_norm of a map is over the channels, as the last axis{where()}; got axes {x.axes}, '
            f'normalized_shape={tuple(normalized_shape)}. For GroupNorm-like statistics use GroupNorm.'
        )
    return x.with_stored(functional.layer_norm(x.stored, tuple(normalized_shape), weight, bias, eps), clean=False)


def _by_group(x: BlockMap, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> BlockMap:
    """Normalise each image and group of channels by mean and variance over its visible positions."""
    need_channels_first(x, 'group_norm')
    channels = x.shape[1]
    count = image_count(x)[:, None, None] * (channels // groups)
    wide = torch.promote_types(x.dtype, torch.float32)

    def group_mean(t: Tensor) -> Tensor:
        grouped = x.image_sum(t).view(-1, groups, channels // groups).sum(-1, keepdim=True) / count
        return grouped.expand(-1, -1, channels // groups).reshape(-1, channels, 1, 1)

    t = x.zeroed().to(wide)
    centred = x.hide(t - x.spread(group_mean(t)))
    out = centred * x.spread((group_mean(centred.square()) + eps).rsqrt())
    if weight is not None:
        out = out * weight.view(-1, 1, 1)
    if bias is not None:
        out = out + bias.view(-1, 1, 1)
    return x.with_stored(out.to(x.dtype), clean=bias is None)


@rule('group_norm')
def group_norm(
    x: BlockMap,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> BlockMap:
    """(B, C, H, W) of the same: per image and group of C / num_groups channels."""
    return _by_group(x, num_groups, weight, bias, eps)


@rule('instance_norm')
def instance_norm(
    x: BlockMap,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> BlockMap:
    """(B, C, H, W) of the same: per image and channel."""
    if running_mean is not None:
        raise ConfigError(
            f'instance_norm of a map keeps no running statistics{where()}: set track_running_stats=False.'
        )
    return _by_group(x, x.shape[1], weight, bias, eps)


@rule(global_response_norm, path='visible')
def response_norm(x: VisibleMap, gamma: Tensor, beta: Tensor, scope: str, eps: float) -> VisibleMap:
    """(B, H, W, C) of the same; gamma and beta (1, 1, 1, C): over the visible positions of each image, or of the batch."""
    if not can_fuse(x.stored, x.axes):
        return formula(x, gamma, beta, scope, eps)
    return x.with_stored(normalised(x.stored, x.blocks, gamma, beta, scope, eps), clean=False)


@rule(global_response_norm, path='masked')
def response_norm_masked(x: MaskedMap, gamma: Tensor, beta: Tensor, scope: str, eps: float) -> MaskedMap:
    """(B, H, W, C): the same, by rules of the operations that it is made of."""
    return formula(x, gamma, beta, scope, eps)


@rule('local_response_norm')
def local_response_norm(x: BlockMap, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> BlockMap:
    """(B, C, H, W) of the same: by the `size` channels around each."""
    need_channels_first(x, 'local_response_norm')
    return x.with_stored(functional.local_response_norm(x.stored, size, alpha, beta, k))


def need_channels_first(x: BlockMap, name: str) -> None:
    """Raise a ConfigError where the axes are not the usual ones."""
    if x.axes != 'NCHW':
        what_to_do = 'permute it first' if sorted(x.axes) == sorted('NCHW') else CONVOLUTIONS
        raise ConfigError(f'{name} of a map needs the axes NCHW{where()}; got {x.axes}: {what_to_do}.')


@rule('normalize')
def normalize(x: BlockMap, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> BlockMap:
    """A map of the same shape; unit length of the channels of each position."""
    if dims_of(x.axes)[dim] != 'C':
        raise ConfigError(f'normalize of a map is over the channels{where()}; got dim={dim}: {CONVOLUTIONS}.')
    return x.with_stored(functional.normalize(x.stored, p, x.axes.index('C'), eps))


@rule('dropout2d', 'feature_dropout')
def dropout2d(x: BlockMap, p: float = 0.5, training: bool = True, inplace: bool = False) -> BlockMap:
    """(B, C, H, W) of the same: whole channels of an image are dropped."""
    need_channels_first(x, 'dropout2d')
    keep = x.spread(functional.dropout2d(x.stored.new_ones(x.blocks.batch, x.stored.shape[1], 1, 1), p, training))
    return x.with_stored(x.stored.mul_(keep) if inplace else x.stored * keep)
