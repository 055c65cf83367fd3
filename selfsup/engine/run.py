"""What a hook may ask of the training it is called in, and what of its loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import LogProcessor
from mmengine.visualization import Visualizer
from torch import nn

from ..config import RunConfig
from ..datasets.loaders import DeviceLoader
from .logs.log import LogTrouble
from .optim_wrapper import OptimWrapper
from .resume.changes import Changes


class Loop(Protocol):
    """Where a training stands. Iterations are micro-batches."""

    dataloader: DeviceLoader
    iters_per_epoch: int
    window_closed: bool  # no gradient is pending: the latest iteration ended an accumulation window
    stepped: bool  # the latest iteration moved the weights: it closed a window, and fp16 did not skip the step
    stop_training: bool  # a hook may set it: the run ends after this iteration
    may_give_up: bool  # an evaluation that goes on now would be done again by a resumed run
    closed_by: list[str]  # classes of the hooks that have closed the epoch, while others have not yet

    @property
    def epoch(self) -> int:
        """Epochs finished."""

    @property
    def iter(self) -> int:
        """Iterations finished."""

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run."""

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""

    @property
    def max_steps(self) -> int:
        """Optimizer steps of the whole run, if fp16 skips none."""

    def start_at(self, epoch: int, iteration: int, closed_by: Sequence[str] = ()) -> None:
        """Continue after `iteration` finished iterations, `epoch` finished epochs and some hooks of the end of the next."""


class Saving(Protocol):
    """What becomes of the checkpoints of a run."""

    last: Path | None  # the newest that is known to be written

    @property
    def failed(self) -> bool:
        """One could not be written in the background: known to rank 0."""

    def collect(self) -> None:
        """Take note of what was written meanwhile; does not wait."""

    def wait(self) -> None:
        """Wait until everything is written. All processes call it."""


class Run(Protocol):
    """A training that goes on: what hooks are called with, and what the loop runs in.

    `Runner` is the one class that is this. It is an mmengine Runner too, so that hooks written for mmengine find there what they use.
    """

    config: RunConfig
    model: nn.Module  # the algorithm, inside of DistributedDataParallel where there are several processes: see `unwrap`
    train_loop: Loop
    checkpoints: Saving
    train_dataloader: DeviceLoader
    optim_wrapper: OptimWrapper
    param_schedulers: list[Any]
    hooks: list[Hook]  # in the order in which they are called
    epoch: int  # finished ones, as in the loop
    iter: int
    max_epochs: int
    max_iters: int
    seed: int
    device: torch.device
    rank: int
    world_size: int
    work_dir: str
    log_dir: str  # of this start of the run, inside the work dir
    timestamp: str  # name of this start of the run
    environment: dict[str, str]  # versions, machine and command
    logger: MMLogger
    log_trouble: LogTrouble  # `guarding(path)` around the writing of files that the run does not depend on
    log_processor: LogProcessor
    message_hub: MessageHub  # scalars that the next log line shows
    visualizer: Visualizer  # curves

    @property
    def images_per_step(self) -> int:
        """Images of one optimizer step, of all processes."""

    @property
    def changes(self) -> Changes:
        """What differs from the run that is resumed."""

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint of this run, or the one it was resumed from. Waits for one that is being written."""

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the method `fn_name` of every hook that has it, with this run and `kwargs`."""

    def save_checkpoint(
        self,
        name: str,
        *,
        epoch: int,
        iteration: int,
        keep: int = -1,
        keep_every_hours: float | None = None,
        wait: bool = True,
    ) -> Path:
        """Write the state of the run to `name` in the work dir; with `wait=False` while training goes on."""

    def save_position(self) -> Path | None:
        """Save the state at a safe point, unless a checkpoint holds it; the file that does, None where nothing was trained."""

    def ask(self, bits: int) -> None:
        """Ask for something at the next safe point, see `processes.agreement`; any thread may call, and any rank alone."""

    def safe_point(self) -> None:
        """All processes may save or stop here: no gradient is pending, and no hook half done."""

    def may_give_up_evaluation(self) -> None:
        """Between two batches of an evaluation, on all ranks: ends it where the run was asked to stop."""
