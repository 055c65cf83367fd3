"""Accuracy of the heads on a labelled set during training."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from ..arguments import Count, Part, Whole
from ..datasets.wrappers import build_dataset
from ..engine import Run, unwrap
from ..errors import ConfigError, did_you_mean
from ..evaluation.features import collect, evaluating, left_out
from ..evaluation.labelled import check_classes
from ..prefetch import Prefetch, read_prefetch
from ..registry import DATASETS, HOOKS
from .evaluation_hook import EvaluationHook, ordered_loader, with_left_out


@HOOKS.register_module()
class ValidateHook(EvaluationHook):
    """Runs the model over `dataset` and logs what `dataset.evaluate` says of every head (`head0_top1`, ...).

    Args:
        dataset: dataset config (`ClassificationDataset`).
        dist_mode: accepted for old configs; the ranks always share the work.
        initial: evaluate before training too.
        interval: epochs between two evaluations.
        imgs_per_gpu: batch size per process.
        workers_per_gpu: loader workers per process.
        prefetch: normalise on the device; a dict is read as True, as there is nothing to augment.
        img_norm_cfg: dict(mean, std) for prefetch, where the pipeline does not end in Normalize.
        eval_param: arguments of `dataset.evaluate`, such as dict(topk=(1, 5)).

    Raises:
        ConfigError: a dataset that cannot evaluate, or an `eval_param` that its `evaluate` does not take.
        DataError: before training, where `dataset` has other classes than the training images.
    """

    def __init__(
        self,
        dataset: Annotated[dict, Part(DATASETS)],
        dist_mode: bool = True,
        initial: bool = True,
        interval: Count = 1,
        imgs_per_gpu: Count = 32,
        workers_per_gpu: Whole = 0,
        prefetch: bool | Prefetch = False,
        img_norm_cfg: dict | None = None,
        eval_param: dict | None = None,
    ) -> None:
        super().__init__(interval, initial)
        self.dataset, self.eval_param = dataset, dict(eval_param or {})
        self.loading = (imgs_per_gpu, workers_per_gpu, read_prefetch(prefetch).on, img_norm_cfg)
        self._check()

    def _check(self) -> None:
        """What is misspelt must not wait for the first evaluation, which may be hours away."""
        name = self.dataset['type']
        evaluate = getattr(DATASETS.get(name), 'evaluate', None)
        if evaluate is None:
            raise ConfigError(f'ValidateHook dataset.type={name!r} has no evaluate(): use ClassificationDataset.')
        parameters = inspect.signature(evaluate).parameters
        known = list(parameters)[3:]  # after self, scores and the name of the head
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for key in self.eval_param:
            if key not in known and not anything:
                raise ConfigError(
                    f'ValidateHook eval_param={self.eval_param}: {name}.evaluate takes no {key!r}.{did_you_mean(key, known)}'
                )

    def check(self, runner: Run) -> str | None:
        train = runner.train_loop.dataloader.dataset
        loss: Any = unwrap(runner.model).loss
        if 'gt_label' in inspect.signature(loss).parameters and getattr(train, 'labels', None) is not None:
            return check_classes(train, build_dataset(self.dataset, self.loading[2]))
        return None

    def evaluate(self, runner: Run) -> dict[str, float]:
        model = unwrap(runner.model)
        with ordered_loader(runner, self.dataset, *self.loading) as loader, evaluating(model):
            scores = collect(lambda batch: {k: v.float() for k, v in model(batch, mode='test').items()}, loader)
        results: dict[str, float] = {}
        for name, value in scores.items():
            results.update(loader.dataset.evaluate(value, name, **self.eval_param))
        return with_left_out(results, left_out(loader.dataset))
