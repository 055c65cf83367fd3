"""`base_lr`: a learning rate that follows the batch."""

from __future__ import annotations

from ..arguments import NotNegative, require
from ..errors import ConfigError

IMAGES = 256  # to which a base rate refers (Goyal et al. 2017, arXiv:1706.02677, section 2.1)


def scaled_lr(optimizer_cfg: dict, images_per_step: int) -> dict:
    """`optimizer_cfg` with `lr` in place of `base_lr`: lr = base_lr * images_per_step / 256.

    Args:
        optimizer_cfg: `dict(type=..., lr=...)` or `dict(type=..., base_lr=...)`; left unchanged.
        images_per_step: images of one optimizer step, over all processes and accumulated batches.

    Raises:
        ConfigError: both or a `base_lr` that is no number >= 0.
    """
    if 'base_lr' not in optimizer_cfg:
        return optimizer_cfg
    rest = {name: value for name, value in optimizer_cfg.items() if name != 'base_lr'}
    base = optimizer_cfg['base_lr']
    if 'lr' in rest:
        raise ConfigError(f'optimizer: lr={rest["lr"]!r} and base_lr={base!r} are both given; keep one.')
    require(NotNegative, base, 'optimizer.base_lr')
    return {**rest, 'lr': base * images_per_step / IMAGES}
