"""What the evaluation hooks share: when they run, the loader they use, where their numbers go."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook

from .. import distributed as dist
from ..engine.resume.state import unwrap
from ..errors import ConfigError
from ..evaluation.features import evaluation_loader
from ..registry import DATASETS
from .ema_hook import EMAHook

LEFT_OUT = 'left_out'  # of the numbers of an evaluation: images, not percent
MEASURED = (
    'measured'  # all evaluations of a run, a dict of numbers each, in its message hub and in `meta` of its checkpoints
)


def ordered_loader(
    runner: Any,
    dataset: dict,
    batch_size: int,
    num_workers: int,
    prefetch: bool = False,
    img_norm_cfg: dict | None = None,
) -> Any:
    """Loader of a dataset config that gives every sample once and in order, shared between the ranks; to be closed after use."""
    section = {'dataset': dataset, 'prefetch': prefetch, 'img_norm_cfg': img_norm_cfg}
    return evaluation_loader(
        section, batch_size=batch_size, num_workers=num_workers, device=runner.device, seed=runner.seed
    )


def build_dataset(dataset: dict, prefetch: bool) -> Any:
    """The data set that `ordered_loader` makes of a dataset config, for a look at its classes."""
    return DATASETS.build({'prefetch': True, **dataset} if prefetch else dataset)


def share_statistics(runner: Any) -> None:
    """Give every rank the buffers of rank 0: each keeps its own running statistics, but all must evaluate one and the same network."""
    for buffer in unwrap(runner.model).buffers():
        dist.broadcast(buffer)


def with_left_out(metrics: dict[str, float], count: int) -> dict[str, float]:
    """`metrics`, and as `LEFT_OUT` how many images the numbers do not count because they cannot be read; no such entry for none."""
    return {**metrics, LEFT_OUT: count} if count else metrics


class EvaluationHook(Hook):
    """Calls `evaluate` before training and every `interval` epochs, and logs what it returns.

    Where an `EMAHook` asks for it, `evaluate` is called once more with the average as `runner.model`; its numbers are logged as `ema_...`.

    Args:
        interval: epochs between two evaluations, >= 1; the last epoch is always evaluated.
        initial: evaluate before the first iteration too (not when a run is resumed).
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights
    priority = 'LOW'  # after the optimizer and its schedules, before the checkpoint
    on_average = True  # False: `evaluate` does more than measure, and is not for the average

    def __init__(self, interval: int = 1, initial: bool = True) -> None:
        if interval < 1:
            raise ConfigError(f'{type(self).__name__} interval={interval}: use 1 or more epochs.')
        self.interval, self.initial = interval, initial

    def before_train(self, runner: Any) -> None:
        if self.initial and runner.iter == 0:
            self._run(runner, 0)

    def after_train_epoch(self, runner: Any) -> None:
        done = runner.epoch + 1
        if done % self.interval == 0 or runner.iter >= runner.max_iters:
            self._run(runner, done)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """What the run has measured goes with it: the best epoch may lie before a resume."""
        checkpoint['meta'][MEASURED] = runner.message_hub.get_info(MEASURED, [])

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        runner.message_hub.update_info(MEASURED, checkpoint.get('meta', {}).get(MEASURED, []))

    def evaluate(self, runner: Any) -> dict[str, float]:
        """Numbers by name; called on every rank."""
        raise NotImplementedError

    def _run(self, runner: Any, epoch: int) -> None:
        start = time.perf_counter()
        share_statistics(runner)
        metrics = self.evaluate(runner)
        for hook in runner.hooks if self.on_average else ():
            if isinstance(hook, EMAHook) and hook.evaluate and hook.steps:
                with hook.in_place_of_the_model(runner):
                    share_statistics(runner)
                    metrics.update(
                        {f'ema_{key}': value for key, value in self.evaluate(runner).items() if key != LEFT_OUT}
                    )
        shown = '  '.join(f'{k}: {v}' if k == LEFT_OUT else f'{k}: {v:.2f}' for k, v in metrics.items())
        runner.logger.info(f'{type(self).__name__} after epoch {epoch}: {shown}  ({time.perf_counter() - start:.1f} s)')
        line = {**metrics, 'epoch': epoch, 'iter': runner.iter}
        runner.visualizer.add_scalars(line, step=runner.iter, file_path=f'{runner.timestamp}.json')
        numbers = {
            name: float(value) for name, value in line.items()
        }  # no NumPy scalars: they would be no plain checkpoint
        runner.message_hub.update_info(MEASURED, [*runner.message_hub.get_info(MEASURED, []), numbers])
