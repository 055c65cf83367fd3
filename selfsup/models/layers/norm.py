"""Normalisation layers from config dicts, with a fallback where SyncBN cannot run.

mmcv is imported inside the functions: it costs about a second that `--help` should not pay.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from ... import distributed
from ...errors import ConfigError, SelfSupWarning, did_you_mean

NORMS = ('BN', 'BN1d', 'BN2d', 'BN3d', 'SyncBN', 'GN', 'LN', 'LN2d', 'IN', 'IN1d', 'IN2d', 'IN3d')
CONV_TYPES = ('Conv1d', 'Conv2d', 'Conv3d', 'Conv', 'ConvWS', 'ConvAWS')


def can_sync_bn() -> bool:
    """True where SyncBN does what it says: several processes, each on a GPU."""
    return distributed.world_size() > 1 and torch.cuda.is_available()


def resolve_sync_bn(norm_cfg: dict, fallback: str = 'BN') -> dict:
    """`norm_cfg`, with SyncBN replaced by `fallback` where SyncBN cannot run.

    With one process the two compute the same; on CPUs SyncBN does not exist. Names in the state dict stay the same.

    Args:
        norm_cfg: `dict(type='BN' | 'SyncBN' | 'GN' | ..., **arguments)`; left unchanged.
        fallback: 'BN' for maps (B, C, H, W), 'BN1d' for vectors (B, C).

    Raises:
        ConfigError: `norm_cfg` is no dict.
    """
    if not isinstance(norm_cfg, dict):
        raise ConfigError(f"norm_cfg is written dict(type='BN', ...); got {norm_cfg!r}.")
    if norm_cfg.get('type') != 'SyncBN' or can_sync_bn():
        return norm_cfg
    # No stacklevel: all warnings then come from this one line, and python's default filter shows only the first.
    warnings.warn('SyncBN was replaced by BN: it needs several processes with a GPU each.', SelfSupWarning)
    return {**norm_cfg, 'type': fallback}


def build_norm(norm_cfg: dict, channels: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """Name and layer for `norm_cfg`: ('bn1', BatchNorm2d) for `dict(type='BN')` with postfix 1.

    Args:
        norm_cfg: `dict(type=..., requires_grad=True, **arguments)`, after `resolve_sync_bn`.
        channels: number of channels to normalise.
        postfix: appended to the abbreviation of the layer.

    Raises:
        ConfigError: unknown type, or arguments that the layer does not take.
    """
    from mmcv.cnn import build_norm_layer

    sync = isinstance(norm_cfg, dict) and norm_cfg.get('type') == 'SyncBN'
    try:
        name, layer = build_norm_layer({**norm_cfg, 'type': 'BN'} if sync else norm_cfg, channels, postfix=postfix)
        return name, SyncBatchNorm.like(layer) if sync else layer
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise _bad_layer('norm_cfg', norm_cfg, NORMS, error) from None


def norm_layer(norm_cfg: dict | None) -> Callable[[int], nn.Module] | None:
    """What torchvision's builders take as `norm_layer`: channels -> layer, SyncBN resolved; None for no norm."""
    if norm_cfg is None:
        return None
    resolved = resolve_sync_bn(norm_cfg)
    return lambda channels: build_norm(resolved, channels)[1]


def build_conv(conv_cfg: dict | None, *args: int, **kwargs: int | bool) -> nn.Module:
    """A convolution: `nn.Conv2d(*args, **kwargs)` for None, else what `conv_cfg['type']` names (e.g. 'ConvWS').

    Raises:
        ConfigError: unknown type, or arguments that the layer does not take.
    """
    from mmcv.cnn import build_conv_layer

    try:
        return build_conv_layer(conv_cfg, *args, **kwargs)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise _bad_layer('conv_cfg', conv_cfg, CONV_TYPES, error) from None


def _bad_layer(key: str, cfg: object, known: tuple[str, ...], error: Exception) -> ConfigError:
    kind = cfg.get('type') if isinstance(cfg, dict) else None
    if kind in known:
        return ConfigError(
            f'{key}={cfg!r} could not be built: {error or "an argument is missing (GN needs num_groups)"}.'
        )
    return ConfigError(f'{key}={cfg!r} has no usable type.{did_you_mean(str(kind), known)}')


def batch_norm_1d(channels: int, sync: bool = False, **kwargs: Any) -> nn.Module:
    """Batch normalisation of vectors (B, C), over the batches of all processes if `sync` (and where that can run).

    `kwargs` are those of torch's layer: momentum (share of the NEW statistics), affine, eps.
    """
    if sync and resolve_sync_bn({'type': 'SyncBN'}, 'BN1d')['type'] == 'SyncBN':
        return nn.SyncBatchNorm(channels, **kwargs)
    return nn.BatchNorm1d(channels, **kwargs)


class SyncBatchNorm(nn.SyncBatchNorm):
    """torch's SyncBatchNorm, which also takes the partly visible maps of masked pretraining."""

    @classmethod
    def like(cls, layer: _BatchNorm) -> SyncBatchNorm:
        """A layer with the settings and the parameters of `layer`."""
        new = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        new.load_state_dict(layer.state_dict())
        for name, parameter in layer.named_parameters():
            new.get_parameter(name).requires_grad_(parameter.requires_grad)
        return new

    def forward(self, x: Tensor) -> Tensor:
        """Torch's function for SyncBN dispatches to no rule, so maps take that of BN; their rule gathers over the ranks."""
        return super().forward(x) if isinstance(x, Tensor) else _BatchNorm.forward(self, x)


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance per channel, (C,) each, and the number of positions, over those of all ranks, which may hold different numbers.

    Each rank sends its mean, variance and count; those of the union follow exactly. The gather sums the gradients of all ranks.

    Args:
        x: (N, C, ...), N >= 0, at least float32. The variance is divided by the number of positions ("biased").
    """
    others = [d for d in range(x.dim()) if d != 1]
    count = x.new_tensor(x.numel() // x.shape[1])
    mean = x.sum(others) / count.clamp(min=1)
    var = (x - mean.view([1, -1] + [1] * (x.dim() - 2))).square().sum(others) / count.clamp(min=1)
    every = distributed.gather(torch.cat([mean, var, count[None]])[None])
    means, variances, counts = every[:, : len(mean)], every[:, len(mean) : -1], every[:, -1:].detach()
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    return mean, (counts * (variances + (means - mean).square())).sum(0) / total, total


def sync_batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Batch norm with the statistics of all ranks, which may hold different numbers of positions. Updates the running statistics.

    On one process, and for the ranks together, this is `F.batch_norm` of the joined batch, value and gradient, see `moments`.

    Args:
        x: (N, C, ...), N >= 0.
        momentum: share of the NEW statistics.
    """
    shape = [1, -1] + [1] * (x.dim() - 2)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision cannot hold sums over a batch
    mean, var, total = moments(wide)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (total / (total - 1))).to(running_var.dtype), momentum)
    scale = (var + eps).rsqrt() if weight is None else (var + eps).rsqrt() * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype)


class _SyncedNorms(TorchFunctionMode):
    """Sends every call of `F.batch_norm` to `sync_batch_norm` where that is asked for statistics of the batch."""

    def __torch_function__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.batch_norm:
            return _synced(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _synced(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    return sync_batch_norm(x, running_mean, running_var, weight, bias, momentum, eps)


def synced_norms(sync: bool) -> AbstractContextManager:
    """Within it, if `sync`, batch norms of any network take the statistics of all ranks, on any device; its layers stay as they are."""
    return _SyncedNorms() if sync and distributed.world_size() > 1 else nullcontext()


def set_eval(module: nn.Module) -> None:
    """Put every batch norm inside `module` in eval mode: running statistics are used and stay."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within it, batch norms in train mode normalise as usual but leave their running statistics alone.

    Activation checkpointing computes a forward pass twice; without this the second one would count the batch twice.
    """
    layers = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:  # not track_running_stats=False: autograd must save the same tensors in both passes
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count
