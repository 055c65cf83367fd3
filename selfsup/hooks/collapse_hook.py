"""Watch the embeddings of every method for collapse."""

from __future__ import annotations

import warnings
from typing import Any

from mmengine.hooks import Hook

from ..errors import ConfigError, SelfSupWarning
from ..evaluation.collapse import collapse_statistics
from ..registry import HOOKS


@HOOKS.register_module()
class CollapseHook(Hook):
    """Logs the spread of `Step.embedding` and warns when it vanishes.

    `embedding_std`: mean per-dimension standard deviation of the L2-normalised embeddings times sqrt(D); 1 when they
    point everywhere, 0 when all are the same. `embedding_rank`: effective rank, at most min(batch, D).

    Args:
        interval: iterations between two measurements, >= 1.
        min_std: below it a warning is given, in [0, 1].
        min_rank: below this effective rank a warning is given, >= 1.
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights
    priority = 'HIGH'  # before the log is written

    def __init__(self, interval: int = 10, min_std: float = 0.05, min_rank: float = 1.5) -> None:
        if interval < 1:
            raise ConfigError(f'CollapseHook interval={interval}: use 1 or more.')
        self.interval, self.min_std, self.min_rank = interval, min_std, min_rank
        self._warned = False

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        due = (runner.iter + 1) % self.interval == 0 or runner.iter == 0
        if not due or outputs is None or outputs.embedding is None or len(outputs.embedding) < 2:
            return
        found = collapse_statistics(outputs.embedding)
        std, rank = float(found['std']), float(found['effective_rank'])
        runner.message_hub.update_scalar('train/embedding_std', std)
        runner.message_hub.update_scalar('train/embedding_rank', rank)
        if not self._warned and (std < self.min_std or rank < self.min_rank):
            self._warned = True
            warnings.warn(
                f'The embeddings collapse: at iteration {runner.iter + 1} their std is {std:.3f} (1 = spread out, 0 = all equal) '
                f'and their effective rank {rank:.1f}. Check the learning rate, the temperature and the views '
                '(tools/show_views.py).',
                SelfSupWarning,
                stacklevel=2,
            )
