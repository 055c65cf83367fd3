"""What the evaluation hooks share: when they run, the loader they use, where their numbers go."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, Protocol, runtime_checkable

from mmengine.hooks import EMAHook as MMEMAHook
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import Dataset

from .. import distributed as dist
from ..arguments import Count
from ..datasets.loaders import DeviceLoader
from ..engine import Run, unwrap
from ..engine.processes.fsdp import with_weights
from ..engine.processes.interruption import EvaluationGivenUp
from ..errors import CheckpointError
from ..evaluation.features import evaluation_loader
from ..evaluation.results.accuracies import LEFT_OUT, MEASURED, is_evaluation
from ..prefetch import Prefetch


def ordered_loader(
    runner: Run,
    dataset: dict | Dataset,
    imgs_per_gpu: int,
    workers_per_gpu: int = 0,
    prefetch: bool | Prefetch = False,
    img_norm_cfg: dict | None = None,
) -> closing[DeviceLoader]:
    """Loader of a data set or its config that gives every sample once and in order, shared between the ranks; for a `with` statement.

    Between two batches the run may end, see `Run.may_give_up_evaluation`.
    """
    training = runner.config.train_dataloader
    shared: dict[str, Any] = {key: training[key] for key in ('max_unreadable',) if key in training}
    section = {**shared, 'dataset': dataset, 'prefetch': prefetch, 'img_norm_cfg': img_norm_cfg}
    section['pipeline_backend'] = runner.config.pipeline_backend
    loader = evaluation_loader(
        section, batch_size=imgs_per_gpu, num_workers=workers_per_gpu, device=runner.device, seed=runner.seed
    )
    loader.before_batch = runner.may_give_up_evaluation
    return closing(loader)


def share_statistics(runner: Run) -> None:
    """Give every rank the buffers of rank 0: each keeps its own running statistics, but all must evaluate one and the same network."""
    for buffer in unwrap(runner.model).buffers():
        dist.broadcast(buffer)


def with_left_out(metrics: dict[str, float], count: int) -> dict[str, float]:
    """`metrics`, and as `LEFT_OUT` how many images the numbers do not count because they cannot be read; no such entry for none."""
    return {**metrics, LEFT_OUT: count} if count else metrics


@runtime_checkable
class OffersModel(Protocol):
    """A hook that makes another model of the one that is trained, such as `EMAHook` an average, to be measured too."""

    def offered_model(self) -> tuple[str, nn.Module] | None:
        """What the names of its numbers begin with, and the model; None where there is nothing to measure."""


class EvaluationHook(Hook):
    """Calls `evaluate` before training and every `interval` epochs, and logs what it returns.

    Where another hook offers a model, `evaluate` is called once more with that as `runner.model`: the numbers of an `EMAHook`'s average are
    logged as `ema_...`. The trained weights are not touched.

    Args:
        interval: epochs between two evaluations, >= 1; the last epoch is always evaluated.
        initial: evaluate before the first iteration too (not when a run is resumed).
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights
    priority = 'LOW'  # after the optimizer and its schedules, before the checkpoint
    on_offered = True  # False: `evaluate` does more than measure, and is not for the models of other hooks

    def __init__(self, interval: Count = 1, initial: bool = True) -> None:
        self.interval, self.initial = interval, initial

    def before_train(self, runner: Run) -> None:
        if (line := self.check(runner)) is not None:
            runner.logger.info(line)
        if self.initial and runner.iter == 0:
            self._run(runner, 0)

    def after_train_epoch(self, runner: Run) -> None:
        done = runner.epoch + 1
        if done % self.interval == 0 or runner.iter >= runner.max_iters:
            # in mmengine's words: its EMAHook puts the average into the model, its EarlyStoppingHook looks at the numbers
            runner.call_hook('before_val_epoch')
            try:
                metrics = self._run(runner, done)
            except EvaluationGivenUp:
                for hook in runner.hooks:
                    if isinstance(hook, MMEMAHook):
                        hook.after_val_epoch(runner)  # the weights back in their place
                raise
            runner.call_hook('after_val_epoch', metrics=metrics)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        """What the run has measured goes with it: the best epoch may lie before a resume."""
        checkpoint['meta'][MEASURED] = runner.message_hub.get_info(MEASURED, [])

    def after_load_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        measured = checkpoint.get('meta', {}).get(MEASURED, [])
        if not isinstance(measured, list) or not all(map(is_evaluation, measured)):
            raise CheckpointError(
                f'{runner.config.resume_from}: {MEASURED} in its meta is {measured!r:.80}, not a list of evaluations, a dict of '
                'numbers each. Resume from another checkpoint of the run.'
            )
        runner.message_hub.update_info(MEASURED, measured)

    def check(self, runner: Run) -> str | None:
        """Refuse what does not fit before training, as the first evaluation may be hours away; a line for the log, or None."""

    def evaluate(self, runner: Run) -> dict[str, float]:
        """Numbers by name; called on every rank."""
        raise NotImplementedError

    def _run(self, runner: Run, epoch: int) -> dict[str, float]:
        start = time.perf_counter()
        share_statistics(runner)
        metrics = with_weights(runner.model, lambda: self.evaluate(runner))
        offers = [hook.offered_model() for hook in runner.hooks if isinstance(hook, OffersModel) and self.on_offered]
        for prefix, model in filter(None, offers):
            trained, runner.model = runner.model, model
            try:
                share_statistics(runner)
                numbers = self.evaluate(runner)
            finally:
                runner.model = trained
            metrics.update({f'{prefix}{key}': value for key, value in numbers.items() if key != LEFT_OUT})
        shown = '  '.join(f'{k}: {v}' if k == LEFT_OUT else f'{k}: {v:.2f}' for k, v in metrics.items())
        runner.logger.info(f'{type(self).__name__} after epoch {epoch}: {shown}  ({time.perf_counter() - start:.1f} s)')
        line = {**metrics, 'epoch': epoch, 'iter': runner.iter}
        runner.visualizer.add_scalars(line, step=runner.iter, file_path=f'{runner.timestamp}.json')
        # No NumPy scalars: they would be no plain checkpoint.
        plain = {name: float(value) for name, value in line.items()}
        runner.message_hub.update_info(MEASURED, [*runner.message_hub.get_info(MEASURED, []), plain])
        return metrics
