"""What of a model is trained and what is frozen, and whether that is what a protocol says."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..errors import ConfigError

ON_FROZEN = ('linear',)  # protocols that train a head on a backbone that stays as it is
OF_ALL = ('semi', 'finetune')  # protocols that train the backbone too
PROTOCOLS = (*ON_FROZEN, *OF_ALL)


def trained_and_frozen(module: nn.Module) -> tuple[int, int]:
    """Number of parameters with and without gradient."""
    counts = {True: 0, False: 0}
    for p in module.parameters():
        counts[p.requires_grad] += p.numel()
    return counts[True], counts[False]


def parameters_by_part(model: nn.Module) -> dict[str, dict[str, int]]:
    """Part of the model ('backbone', 'head', ...) -> how many of its parameters are `trained` and `frozen`; parts without any left out."""
    parts = {
        name: dict(zip(('trained', 'frozen'), trained_and_frozen(part), strict=True))
        for name, part in model.named_children()
    }
    return {name: counts for name, counts in parts.items() if any(counts.values())}


def check_counts(protocol: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse to call by the name of a protocol what is another.

    Args:
        protocol: 'linear', 'semi', 'finetune'; others are not looked at.
        counts: see `parameters_by_part`.

    Raises:
        ConfigError: the backbone is trained where it must be frozen, or the other way round.
    """
    backbone = counts.get('backbone', {'trained': 0, 'frozen': 0})
    every = sum(backbone.values())
    if protocol in ON_FROZEN and backbone['trained']:
        raise ConfigError(
            f"The protocol '{protocol}' trains a head on a frozen backbone, but {backbone['trained']:,} of the {every:,} "
            'parameters of the backbone are trained. Set model.backbone.frozen_stages to its last stage (4 for a ResNet), or '
            'take benchmarks/dist_train_finetune.sh.'
        )
    if protocol in OF_ALL and every and not backbone['trained']:
        raise ConfigError(
            f"The protocol '{protocol}' trains the backbone, but all its {every:,} parameters are frozen. Remove "
            'model.backbone.frozen_stages, or take benchmarks/dist_train_linear.sh.'
        )


def check_protocol(protocol: str, model: nn.Module) -> None:
    """`check_counts` of a model, and for a frozen backbone its statistics.

    Raises:
        ConfigError: see `check_counts`; or a batch norm of the frozen backbone goes on with its running statistics in training.
    """
    check_counts(protocol, parameters_by_part(model))
    if protocol not in ON_FROZEN:
        return
    model.train()
    moving = [
        name
        for name, module in model.get_submodule('backbone').named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.track_running_stats
    ]
    if moving:
        raise ConfigError(
            f"The protocol '{protocol}' trains a head on a frozen backbone, but {len(moving)} batch norms of the backbone, "
            f'such as {moving[0]}, take the statistics of each batch. Set model.backbone.frozen_stages or norm_eval=True.'
        )
