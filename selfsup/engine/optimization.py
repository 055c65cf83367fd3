"""Optimizer and schedules of a run, from its config."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from ..config import RunConfig
from ..errors import ConfigError
from ..optim.base_lr import IMAGES, scaled_lr
from ..optim.paramwise import param_groups
from ..registry import OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, build_from_config
from .gradients import frozen_at_first
from .optim_wrapper import OptimWrapper
from .run import Loop
from .schedulers import check_optimizer, check_smallest


def build_optim_wrapper(
    config: RunConfig, model: nn.Module, *, images_per_step: int, device_type: str, logger: logging.Logger
) -> OptimWrapper:
    """The optimizer over the parameter groups of `model`, with its learning rate worked out from `base_lr` where that is given.

    Args:
        config: of the run.
        model: the algorithm, not wrapped.
        images_per_step: images of one optimizer step, of all processes.
        device_type: 'cpu' or 'cuda'.
        logger: is told the learning rate that follows from `base_lr`.
    """
    wrapper = dict(config.optim_wrapper)
    optimizer = wrapper.pop('optimizer')
    scaled = scaled_lr(optimizer, images_per_step)
    if 'base_lr' in optimizer:
        logger.info(
            f'Learning rate {scaled["lr"]:.6g}: base_lr {optimizer["base_lr"]:g} * {images_per_step} images per step / {IMAGES}'
        )
    groups = param_groups(model, scaled, wrapper.pop('paramwise_options', None), wrapper.pop('layer_decay', None))
    check_optimizer(scaled)
    freeze = frozen_at_first(model, wrapper.pop('freeze', None))
    return OPTIM_WRAPPERS.build(
        wrapper,
        optimizer=build_from_config(scaled, groups, registry=OPTIMIZERS),
        device_type=device_type,
        **({'freeze': freeze} if freeze else {}),
    )


def build_schedules(config: RunConfig, wrapper: OptimWrapper, loop: Loop) -> list[Any]:
    """The schedules, which are told the length of the run.

    Raises:
        ConfigError: one could not be built, or would climb to its end.
    """
    known: dict[str, dict[str, Any]] = {
        'PolicyLR': {
            'iters_per_epoch': loop.iters_per_epoch,
            'max_iters': loop.max_iters,
            'update_interval': wrapper.update_interval,
            'base_lr': config.optimizer.get('base_lr'),
        },
        'CosineWeightDecay': {'max_iters': loop.max_iters},
    }
    schedules = []
    for cfg in config.param_scheduler:
        by_epoch = {'epoch_length': loop.iters_per_epoch} if cfg.get('convert_to_iter_based') else {}
        try:
            schedules.append(
                PARAM_SCHEDULERS.build({**cfg, **known.get(cfg['type'], by_epoch)}, default_args={'optimizer': wrapper})
            )
        except (AssertionError, TypeError, ValueError) as error:  # mmengine asserts what a user may have written
            raise ConfigError(f"param_scheduler type='{cfg['type']}' could not be built: {error}") from error
        check_smallest(schedules[-1])
    return schedules
