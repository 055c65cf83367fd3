"""Average precision of a detector during training."""

from __future__ import annotations

from typing import Annotated

from ..arguments import Count, Part, Whole
from ..datasets.wrappers import build_dataset
from ..engine import Run, unwrap
from ..errors import ConfigError
from ..evaluation.class_names import compare, naming_of
from ..evaluation.detection.average_precision import evaluate_detector
from ..prefetch import Prefetch, read_prefetch
from ..registry import DATASETS, HOOKS
from .evaluation_hook import EvaluationHook, ordered_loader


@HOOKS.register_module()
class DetectionHook(EvaluationHook):
    """Logs the average precisions of `evaluate_detector` on `dataset`.

    Args:
        dataset: config of a `DetectionDataset` whose source keeps images without objects.
        interval: epochs between two evaluations; the end of the run is always evaluated.
        initial: evaluate before training too.
        imgs_per_gpu: images per process and batch.
        workers_per_gpu: loader workers per process.
        prefetch: normalise on the device; a dict is read as True, as there is nothing to augment.
        img_norm_cfg: dict(mean, std) for prefetch, where the pipeline does not end in Normalize.

    Raises:
        ConfigError: the data set has no boxes.
        DataError: before training, where its classes are other ones, or numbered otherwise, than those of the training images.
    """

    def __init__(
        self,
        dataset: Annotated[dict, Part(DATASETS)],
        interval: Count = 1,
        initial: bool = False,
        imgs_per_gpu: Count = 1,
        workers_per_gpu: Whole = 0,
        prefetch: bool | Prefetch = False,
        img_norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(interval, initial)
        self.dataset = dataset
        self.loading = (imgs_per_gpu, workers_per_gpu, read_prefetch(prefetch).on, img_norm_cfg)
        if 'gt_boxes' not in getattr(DATASETS.get(dataset['type']), 'ragged', ()):
            raise ConfigError(f'DetectionHook dataset.type={dataset["type"]!r} has no boxes: use DetectionDataset.')

    def check(self, runner: Run) -> None:
        train, test = runner.train_loop.dataloader.dataset, build_dataset(self.dataset, self.loading[2])
        compare(naming_of(train, 'the training images'), naming_of(test, 'the test images'))

    def evaluate(self, runner: Run) -> dict[str, float]:
        with ordered_loader(runner, self.dataset, *self.loading) as loader:
            return evaluate_detector(unwrap(runner.model), loader)
