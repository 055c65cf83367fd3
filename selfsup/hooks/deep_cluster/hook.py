"""Pseudo labels from clustering the features of the whole training set (Caron et al. 2018, arXiv 1807.05520, section 3.2)."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import torch
from annotated_types import Ge
from mmengine.hooks import Hook
from torch import Tensor

from ... import distributed as dist
from ...arguments import Count, Part, Share, Whole
from ...contracts import ClusterMemory, PseudoLabelled, SamplesUniformly, TakesLabels
from ...engine import Run, unwrap
from ...engine.resume.state_checks import check_labels
from ...errors import ConfigError, SelfSupError
from ...evaluation.features import collect, evaluating
from ...heartbeat import working
from ...prefetch import Prefetch
from ...registry import DATASETS, HOOKS
from ..evaluation_hook import ordered_loader, share_statistics
from .clustering import Backend, cluster
from .label_statistics import label_change, report, save_labels

STATE = 'deep_cluster'  # entry of the checkpoint


class _Extractor(TypedDict):
    dataset: Annotated[dict, Part(DATASETS)]
    imgs_per_gpu: Count


class Extractor(_Extractor, total=False):
    """The training images as they are clustered, and how they are loaded."""

    workers_per_gpu: Whole
    prefetch: bool | Prefetch
    img_norm_cfg: dict | None


class _Clustering(TypedDict):
    k: Annotated[int, Ge(2)]


class Clustering(_Clustering, total=False):
    """Arguments of `cluster`; there is one type."""

    type: Literal['Kmeans']
    pca_dim: Count | Literal[-1]
    backend: Backend


@HOOKS.register_module()
class DeepClusterHook(Hook):
    """Clusters before training and after every `interval` epochs, assigns the labels and renews the classifier.

    The labels are in the checkpoint, so a resumed run goes on with them and does not cluster at its start. After the last epoch
    nothing is clustered, so the last checkpoint holds the trained head (OpenSelfSup renewed it once more). The labels of epoch n
    (from 0) are in `cluster_epoch_{n}.npy` in the work dir.

    Args:
        extractor: dict(dataset, imgs_per_gpu, workers_per_gpu[, prefetch, img_norm_cfg]): the training images as they are clustered.
        clustering: dict(k=clusters[, pca_dim=-1, type='Kmeans', backend='auto']), see `clustering.cluster`.
        unif_sampling: draw the samples of every epoch uniformly by cluster.
        reweight: weight the loss of each cluster by its size to the power -`reweight_pow`.
        reweight_pow: in [0, 1]; the paper's is 0.5.
        init_memory: also start `model.memory_bank` from features and labels (ODC).
        initial: cluster before the first iteration; without it there is nothing to learn from, unless the run is resumed.
        interval: epochs between two clusterings, >= 1.
        dist_mode, data_loaders: accepted for old configs. The ranks always share the work, loaders are built here.

    Raises:
        ConfigError: an argument that cannot be used, or a model or dataset without pseudo labels.
    """

    priority = 'LOW'  # after optimizer and schedules, before the checkpoint that holds the labels

    def __init__(
        self,
        extractor: Extractor,
        clustering: Clustering,
        unif_sampling: bool,
        reweight: bool,
        reweight_pow: Share = 0.5,
        init_memory: bool = False,
        initial: bool = True,
        interval: Count = 1,
        dist_mode: bool = True,
        data_loaders: list | None = None,
    ) -> None:
        DATASETS.get(extractor['dataset'].get('type', ''))  # a misspelt name must not wait for the first clustering
        self.extractor = extractor
        self.clustering: dict[str, Any] = {key: value for key, value in clustering.items() if key != 'type'}
        self.unif_sampling, self.reweight, self.reweight_pow = unif_sampling, reweight, reweight_pow
        self.init_memory, self.initial, self.interval = init_memory, initial, interval
        self.labels: Tensor | None = None  # (N,) int64 on the CPU

    def before_train(self, runner: Run) -> None:
        self._check(runner)
        if self.initial and runner.iter == 0:
            self._cluster(runner, 0)
        if self.labels is None:
            raise ConfigError(
                'DeepClusterHook has no labels to begin with: set initial=True'
                + ('.' if runner.iter == 0 else ', or resume from a checkpoint of a run that had this hook.')
            )

    def before_train_epoch(self, runner: Run) -> None:
        """What an epoch reads follows from the labels alone, so that an epoch begun anew in its middle is the same."""
        self._dataset.assign_labels(self.labels)
        if self.unif_sampling:
            self._sampler.set_uniform_indices(self.labels, self.clustering['k'])

    def after_train_epoch(self, runner: Run) -> None:
        done = runner.epoch + 1
        if done % self.interval == 0 and runner.iter < runner.max_iters:
            self._cluster(runner, done)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        checkpoint[STATE] = {'labels': self.labels}

    def after_load_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        state = checkpoint.get(STATE, {})
        self.labels = state.get('labels') if isinstance(state, dict) else state
        if self.labels is not None:
            check_labels(self.labels, len(runner.train_loop.dataloader.dataset), self.clustering['k'])

    def _check(self, runner: Run) -> None:
        model, loader = unwrap(runner.model), runner.train_loop.dataloader
        memory: Any = getattr(model, 'memory_bank', None)
        if not isinstance(model, PseudoLabelled):
            raise ConfigError(
                f'DeepClusterHook needs a model with pseudo labels (DeepCluster, ODC); this is {type(model).__name__}.'
            )
        if not isinstance(loader.dataset, TakesLabels):
            raise ConfigError(
                f'DeepClusterHook needs a data set that takes labels; data.train is a {type(loader.dataset).__name__}: use '
                'DeepClusterDataset.'
            )
        if self.unif_sampling and not isinstance(loader.sampler, SamplesUniformly):
            raise ConfigError(
                f'DeepClusterHook unif_sampling=True: a {type(loader.sampler).__name__} cannot do it. Use EpochSampler.'
            )
        if model.head.num_classes < self.clustering['k']:
            raise ConfigError(
                f'DeepClusterHook makes k={self.clustering["k"]} clusters, but the head has num_classes='
                f'{model.head.num_classes}: make them equal.'
            )
        if self.init_memory and not isinstance(memory, ClusterMemory):
            raise ConfigError(
                f'DeepClusterHook init_memory=True, but {type(model).__name__} has no memory_bank: remove it.'
            )
        self._model, self._memory = model, memory
        self._dataset: TakesLabels = loader.dataset
        self._sampler: Any = loader.sampler

    def _cluster(self, runner: Run, epoch: int) -> None:
        """Labels for `epoch` (from 0), and everything that follows from them. Every rank calls."""
        start = time.perf_counter()
        seed = int(np.random.SeedSequence([runner.seed, epoch]).generate_state(1)[0])
        share_statistics(runner)
        features = self._features(runner)
        old, (self.labels, objective) = self.labels, self._solve(runner, features, seed)
        save_labels(runner, self.labels, epoch)
        self._dataset.assign_labels(self.labels)
        if self.reweight:
            self._model.set_reweight(self.labels, self.reweight_pow)
        if self.init_memory:
            self._memory.init_memory(features, self.labels)
        torch.manual_seed(seed)
        self._model.head.reset()
        for parameter in self._model.head.parameters():
            dist.broadcast(parameter.data)
        change = {} if old is None else {'cluster_change': label_change(old, self.labels)}
        report(runner, self.labels, self.clustering['k'], {**change, 'cluster_objective': objective / len(self.labels)})
        runner.logger.info(f'DeepClusterHook: labels of epoch {epoch} ({time.perf_counter() - start:.1f} s)')

    def _features(self, runner: Run) -> Tensor | None:
        """(N, D) on rank 0, None elsewhere."""
        with ordered_loader(runner, **self.extractor) as loader, evaluating(unwrap(runner.model)):
            return collect(lambda batch: {'z': self._model.embed(batch['img']).float()}, loader, main_only=True).get(
                'z'
            )

    def _solve(self, runner: Run, features: Tensor | None, seed: int) -> tuple[Tensor, float]:
        """Rank 0 clusters; its labels, or its error, on all ranks."""
        error: SelfSupError | None = None
        labels, objective = torch.empty(0), 0.0
        if features is not None:
            try:
                with working('clustering'):
                    labels, objective = cluster(features, seed=seed, device=runner.device, **self.clustering)
            except SelfSupError as problem:
                error = problem
        error, objective, size = dist.broadcast_object((error, objective, len(labels)))
        if error is not None:
            raise error
        labels = torch.empty(size, dtype=torch.int64) if features is None else labels
        return dist.broadcast(labels.to(runner.device)).cpu(), objective
