"""What a run is made of, under names that a type checker knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .backend import Backend, backend_of


@dataclass(frozen=True)
class RunConfig:
    """A compiled config. `RunConfig.of` makes it; `changed` gives one with other values.

    A section that builds an object of a registry stays a dict (`type` and arguments): the class that it names knows its arguments.

    Args:
        model: the algorithm.
        pretrained: weights to start the backbone from.
        train_dataloader: of the training images; `val_dataloader` and `test_dataloader` of others, where the config names some.
        optim_wrapper: with `optimizer`, `paramwise_options`, `clip_grad`, `accumulative_counts` and, where given, `layer_decay`.
        param_scheduler: schedules of the learning rate and of the weight decay.
        train_cfg: `max_epochs` or `max_iters`.
        default_hooks: slot -> hook, None where the config leaves a slot empty.
        custom_hooks: further hooks: dicts, or objects.
        env_cfg: `cudnn_benchmark`, and `dist_cfg` for the process group.
        visualizer, log_processor, log_level: how logs are written.
        load_from: weights of the whole model to start from.
        resume_from: checkpoint to go on from.
        work_dir: where logs and checkpoints go; '' where it is not chosen yet.
        seed: of the run; None: not given.
        default_scope: of mmengine's registries.
        find_unused_parameters, channels_last, deterministic: flags.
        allow_changed: settings whose new values count in a resumed run.
        elastic: a resumed run may have another number of processes, or another batch.
        compiled: all of this as plain dicts, in the form of `compiled.json` and of checkpoints.
    """

    model: dict[str, Any]
    pretrained: str | None = None
    train_dataloader: dict[str, Any] = field(default_factory=dict)
    val_dataloader: dict[str, Any] | None = None
    test_dataloader: dict[str, Any] | None = None
    optim_wrapper: dict[str, Any] = field(default_factory=dict)
    param_scheduler: list[dict[str, Any]] = field(default_factory=list)
    train_cfg: dict[str, Any] = field(default_factory=dict)
    default_hooks: dict[str, Any] = field(default_factory=dict)
    custom_hooks: list[Any] = field(default_factory=list)
    env_cfg: dict[str, Any] = field(default_factory=dict)
    visualizer: dict[str, Any] = field(default_factory=dict)
    log_processor: dict[str, Any] = field(default_factory=dict)
    log_level: str = 'INFO'
    load_from: str | None = None
    resume_from: str | None = None
    work_dir: str = ''
    seed: int | None = None
    default_scope: str = 'selfsup'
    find_unused_parameters: bool = False
    channels_last: bool = False
    deterministic: bool = False
    allow_changed: Sequence[str] = ()
    elastic: bool = False
    compiled: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, compiled: Mapping[str, Any]) -> RunConfig:
        """From the result of `compile_config`, to which a command line may have added values.

        Raises:
            TypeError: a key that no compiled config has.
        """
        sections = {key: value for key, value in compiled.items() if value is not None}
        return cls(**sections, compiled=dict(compiled))

    def changed(self, **values: Any) -> RunConfig:
        """The same with other values."""
        return RunConfig.of({**self.compiled, **values})

    @property
    def optimizer(self) -> dict[str, Any]:
        """`type` of the optimizer and its arguments."""
        return self.optim_wrapper['optimizer']

    @property
    def update_interval(self) -> int:
        """Micro-batches per optimizer step."""
        return self.optim_wrapper.get('accumulative_counts', 1)

    @property
    def pipeline_backend(self) -> Backend:
        """How the training images are decoded and their pipelines computed; hooks read theirs the same way."""
        return backend_of(self.compiled)

    @property
    def dist_cfg(self) -> dict[str, Any]:
        """Arguments of `engine.processes.launch.init_distributed`."""
        return {key: value for key, value in self.env_cfg.get('dist_cfg', {}).items() if key != 'stop_within_s'}

    @property
    def stop_within_s(self) -> float:
        """Seconds from a signal to the next safe point, and from there until the checkpoint is written."""
        return self.env_cfg.get('dist_cfg', {}).get('stop_within_s', 60.0)
