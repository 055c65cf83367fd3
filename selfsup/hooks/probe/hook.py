"""Online linear probe: a classifier of frozen features that learns while the features do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from torch import Tensor

from ... import distributed as dist
from ...arguments import Count, Part, Positive, Whole
from ...datasets.loaders import DeviceLoader, build_loader
from ...datasets.robust import unreadable
from ...engine import Run
from ...engine.processes.fsdp import with_weights
from ...errors import CheckpointError, ConfigError, SelfSupWarning
from ...evaluation.features import collect, readable_rows
from ...evaluation.labelled import check_classes
from ...heartbeat import awaiting
from ...registry import DATASETS, HOOKS
from ..evaluation_hook import EvaluationHook, ordered_loader, with_left_out
from .classifiers import Classifiers
from .features import LAST, layer_features, untouched

STATE = 'probe'  # entry of a checkpoint
_STREAM = (0x9406E,)  # sets the seed of the probe's images apart from that of the run


@HOOKS.register_module()
class ProbeHook(EvaluationHook):
    """Trains a linear classifier on the detached features of the network while that is trained, and logs its accuracy as `probe_top1`.

    Every `every` iterations it reads a batch of `train` with a loader and a seed of its own, takes the features with the network in
    evaluation mode, and makes one step of SGD (momentum 0.9, no decay) behind a batch norm without affine. Every `interval` epochs it
    classifies `test`. The run does not notice: modes, running statistics, random numbers and gradients are as without the hook, so its
    weights are the same, bit for bit.

    All processes take one and the same step on the features of all of them: two processes with half the batch each equal one. State is in
    the checkpoint, and a resumed run goes on exactly; with other `layers`, classes or another network, or where they diverged, the
    classifiers begin anew.

    Args:
        train: labelled dataset config (`ClassificationDataset`) that the classifier learns from, with or without augmentation.
        test: labelled dataset config whose images are classified.
        layers: names of modules of the backbone, such as 'layer2' or 'stages.1', which get a classifier each (`probe_top1_layer2`),
            beside that of the averaged last map.
        every: iterations of the run between two steps of the classifiers, each of which costs the forward pass of a batch.
        lr: learning rate for features of 128 numbers; for D numbers it is lr * 128 / D, so that it fits any network and layer.
        imgs_per_gpu: batch size per process, of training and testing, >= 2.
        workers_per_gpu: loader workers per process.
        interval: epochs between two evaluations.

    Raises:
        ConfigError: images without labels, a layer that is none, a second ProbeHook in the run.
        DataError: before training, where the two have different classes, or `train` has fewer images than a batch of all processes.
    """

    on_offered = False  # the classifiers know the features of the network that is trained, not those of its average

    def __init__(
        self,
        train: Annotated[dict, Part(DATASETS)],
        test: Annotated[dict, Part(DATASETS)],
        layers: Sequence[str] = (),
        every: Count = 10,
        lr: Positive = 0.02,
        imgs_per_gpu: Annotated[int, Ge(2)] = 128,
        workers_per_gpu: Whole = 2,
        interval: Count = 1,
    ) -> None:
        super().__init__(interval, initial=False)
        self.datasets, self.layers, self.every, self.lr = (train, test), tuple(layers), every, lr
        self.loading = (imgs_per_gpu, workers_per_gpu)
        self.classifiers: Classifiers | None = None
        self._saved: Mapping[str, Any] | None = None  # from the checkpoint, until the network is ready
        self._loader: DeviceLoader | None = None
        self._batches: Iterator[dict[str, Tensor]] = iter(())

    # ---- before training ----

    def before_train(self, runner: Run) -> None:
        if any(isinstance(hook, ProbeHook) and hook is not self for hook in runner.hooks):
            raise ConfigError(
                'custom_hooks holds two ProbeHooks: a checkpoint keeps the state of one. Give one hook all `layers`.'
            )
        super().before_train(runner)
        if runner.max_iters < self.every:
            warnings.warn(
                f'ProbeHook: the run has {runner.max_iters} iterations, so classifiers with every={self.every} learn nothing and '
                'probe_top1 is that of chance. Set every lower.',
                SelfSupWarning,
                stacklevel=2,
            )
        self._loader = self._open(runner)
        classes = int(np.max(self._loader.dataset.labels)) + 1
        first = self._loader.peek(2)
        _check_labelled(first, self._loader)
        with ordered_loader(runner, self.datasets[1], *self.loading) as loader:
            _check_labelled(loader.peek(1), loader)
        features = self._features(runner, first['img'])
        widths = {layer: rows.shape[1] for layer, rows in features.items()}
        self.classifiers = Classifiers(widths, classes, self.lr, runner.device)
        if self._saved is not None:
            self._take_up(runner, self._saved)
            self._saved = None
        self._batches = self._endless(self._loader, self.classifiers.steps)

    def check(self, runner: Run) -> str | None:
        train, test = (DATASETS.build(dataset) for dataset in self.datasets)
        for dataset in (train, test):
            if getattr(dataset, 'labels', None) is None:
                raise _unlabelled(dataset)
        return check_classes(train, test)

    def _open(self, runner: Run) -> DeviceLoader:
        """The loader of the training images: an order, views and workers of its own."""
        section = runner.config.train_dataloader
        shared = {key: section[key] for key in ('max_unreadable',) if key in section}
        cfg = {
            **shared,
            'dataset': self.datasets[0],
            'batch_size': self.loading[0],
            'num_workers': self.loading[1],
            'drop_last': True,
            'pipeline_backend': runner.config.pipeline_backend,
        }
        seed = int(np.random.SeedSequence([runner.seed, *_STREAM]).generate_state(1)[0])
        return build_loader(cfg, seed=seed, device=runner.device, rank=dist.rank(), world_size=dist.world_size())

    def _endless(self, loader: DeviceLoader, steps: int) -> Iterator[dict[str, Tensor]]:
        """Batches from that of step `steps` on, epoch after epoch."""
        while True:
            epoch, done = divmod(steps, len(loader))
            loader.set_position(epoch, done)
            for batch in loader:
                steps += 1
                yield batch

    # ---- while training ----

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if (runner.iter + 1) % self.every or self.classifiers is None:
            return
        batch = next(self._batches)
        features = self._features(runner, batch['img'])
        with awaiting():
            labels = dist.gather_no_grad(batch['gt_label'].long())
            joined = {layer: dist.gather_no_grad(rows) for layer, rows in features.items()}
        losses = self.classifiers.step(joined, labels)
        runner.message_hub.update_scalar('train/probe_loss', float(losses[LAST]))

    def _features(self, runner: Run, img: Tensor) -> dict[str, Tensor]:
        """Features of this rank's images by layer, computed with the precision of the run."""

        def act() -> dict[str, Tensor]:
            with untouched(runner) as algorithm, runner.optim_wrapper.autocast():
                return layer_features(algorithm, img, self.layers)

        return with_weights(runner.model, act)

    def evaluate(self, runner: Run) -> dict[str, float]:
        classifiers = self._ready()
        for value in classifiers.model.state_dict().values():
            dist.broadcast(value)  # equal already, unless the devices of the processes differ

        def forward(batch: dict) -> dict[str, Tensor]:
            with runner.optim_wrapper.autocast():
                features = layer_features(algorithm, batch['img'], self.layers)
            predicted = classifiers.predict(features)
            return {**{f'of {layer}': rows for layer, rows in predicted.items()}, 'labels': batch['gt_label'].long()}

        with ordered_loader(runner, self.datasets[1], *self.loading) as loader, untouched(runner) as algorithm:
            of_images = collect(forward, loader)
            rows, missing = readable_rows(loader.dataset), len(unreadable(loader.dataset))
        labels = of_images['labels'][rows]
        found = {
            _name(layer): 100 * float((of_images[f'of {layer}'][rows] == labels).double().mean())
            for layer in classifiers.layers
        }
        return with_left_out(found, missing)

    def after_train(self, runner: Run) -> None:
        self._batches = iter(())
        if self._loader is not None:
            self._loader.close()

    def _ready(self) -> Classifiers:
        assert self.classifiers is not None  # from `before_train` on
        return self.classifiers

    # ---- state ----

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        super().before_save_checkpoint(runner, checkpoint)
        if self.classifiers is not None:
            checkpoint[STATE] = self.classifiers.state_dict()

    def after_load_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        super().after_load_checkpoint(runner, checkpoint)
        state = checkpoint.get(STATE)
        if state is None:
            return
        if not _is_state(state):
            raise CheckpointError(
                f"{runner.config.resume_from}: '{STATE}' is not what a ProbeHook has written. Resume from another checkpoint of the run, "
                'or without the hook.'
            )
        self._saved = state

    def _take_up(self, runner: Run, state: Mapping[str, Any]) -> None:
        classifiers = self._ready()
        if classifiers.fits(state):
            classifiers.load_state_dict(state)
        else:
            runner.logger.info(
                'ProbeHook: the classifiers in the checkpoint are for other layers, classes or another network, or have diverged: '
                'they begin anew.'
            )


def _check_labelled(batch: Mapping[str, Any], loader: DeviceLoader) -> None:
    if 'gt_label' not in batch:
        raise _unlabelled(loader.dataset)


def _unlabelled(dataset: Any) -> ConfigError:
    kind = type(dataset).__name__
    return ConfigError(
        f'ProbeHook needs images with labels; {kind} gives none: use ClassificationDataset for train and test.'
    )


def _name(layer: str) -> str:
    return f'probe_top1_{layer}' if layer != LAST else 'probe_top1'


def _is_state(state: Any) -> bool:
    """Whether this has the form of `Classifiers.state_dict`."""
    if not isinstance(state, Mapping):
        return False
    tensors = [state.get(part) for part in ('weights', 'momentum')]
    return (
        isinstance(state.get('layers'), list)
        and type(state.get('steps')) is int
        and state['steps'] >= 0
        and all(isinstance(part, Mapping) for part in tensors)
        and all(isinstance(value, Tensor) for part in tensors if isinstance(part, Mapping) for value in part.values())
    )
