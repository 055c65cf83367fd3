"""Online kNN: how good the features are while they are being learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import MinLen

from ..arguments import Count, Part, Positive, Whole
from ..datasets.robust import unreadable
from ..engine import Run
from ..errors import ConfigError
from ..evaluation.effective_rank import rankme_of_some
from ..evaluation.features import extract_features
from ..evaluation.knn import knn_accuracy
from ..evaluation.labelled import check_classes
from ..registry import DATASETS, HOOKS
from .evaluation_hook import EvaluationHook, ordered_loader, with_left_out


@HOOKS.register_module()
class KNNHook(EvaluationHook):
    """Weighted kNN top-1 (Wu et al. 2018, arXiv:1805.01978) of average-pooled backbone features; logged as `knn_{k}` in percent.

    Args:
        train: labelled dataset config (`ClassificationDataset` with an evaluation pipeline) whose images vote.
        test: labelled dataset config whose images are classified.
        k: number of neighbours, >= 1, or a list of numbers.
        temperature: of the exponential weights, > 0.
        imgs_per_gpu: batch size per process.
        workers_per_gpu: loader workers per process.
        interval: epochs between two evaluations.
        initial: measure the untrained network too.
        rankme: log RankMe of the features of `train` too, as `rankme_n{N}`: their effective rank, which needs no labels.

    Raises:
        ConfigError: images without labels.
        DataError: before training, where the two have different classes.
    """

    def __init__(
        self,
        train: Annotated[dict, Part(DATASETS)],
        test: Annotated[dict, Part(DATASETS)],
        k: Count | Annotated[Sequence[Count], MinLen(1)] = 20,
        temperature: Positive = 0.07,
        imgs_per_gpu: Count = 256,
        workers_per_gpu: Whole = 0,
        interval: Count = 1,
        initial: bool = True,
        rankme: bool = False,
    ) -> None:
        super().__init__(interval, initial)
        self.rankme = rankme
        self.datasets, self.temperature, self.loading = (train, test), temperature, (imgs_per_gpu, workers_per_gpu)
        self.k = list(k) if isinstance(k, Sequence) else [k]

    def check(self, runner: Run) -> str | None:
        return check_classes(*(DATASETS.build(dataset) for dataset in self.datasets))

    def evaluate(self, runner: Run) -> dict[str, float]:
        features, missing = [], 0
        for dataset in self.datasets:
            with ordered_loader(runner, dataset, *self.loading) as loader:
                features.append(extract_features(runner.model, loader))
                missing += len(unreadable(loader.dataset))
        (train, train_labels), (test, test_labels) = features
        if train_labels is None or test_labels is None:
            raise ConfigError('KNNHook needs images with labels: use ClassificationDataset for train and test.')
        accuracy = knn_accuracy(train, train_labels, test, test_labels, self.k, self.temperature)
        ranks = rankme_of_some(train) if self.rankme else {}
        return with_left_out({**{f'knn_{k}': value for k, value in accuracy.items()}, **ranks}, missing)
