"""One training loop, for runs counted in epochs and runs counted in iterations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from mmengine.runner.base_loop import BaseLoop
from torch import nn

from ..arguments import Count
from ..contracts import CutsAnywhere, Progress
from ..datasets.loaders import DeviceLoader
from ..datasets.robust import share_unreadable
from ..distributed import rank, unwrap
from ..errors import ConfigError, DataError
from ..heartbeat import beat
from ..registry import LOOPS
from .optim_wrapper import OptimWrapper
from .processes.ddp import exchanging, explain_unfinished, refuse_unused
from .processes.fsdp import with_weights
from .resume.state import seed_iteration
from .run import Run
from .run_checks import check_run

if TYPE_CHECKING:
    from ..models.algorithms.base import Algorithm, Step


class Begun(NamedTuple):
    """Where a resumed run began in an epoch.

    Attributes:
        epoch: which.
        done: iterations of it that were finished.
        samples: samples of it that were done; None: as many as those iterations hold.
    """

    epoch: int
    done: int
    samples: int | None


@LOOPS.register_module()
class TrainLoop(BaseLoop):
    """Epochs over a `DeviceLoader`, able to start in the middle of one.

    Every micro-batch is one iteration, as in the documented system: schedules, logs and checkpoints count micro-batches.
    An accumulation window of `update_interval` iterations starts with its epoch, or where a resumed run goes on, and ends at the
    latest with the epoch (the gradient of a short last window is the mean over what it holds).

    Args:
        runner: the Runner.
        dataloader: built loader with `set_position(epoch, skip_batches, start)`.
        max_epochs: length of the run in epochs; or
        max_iters: in iterations.
    """

    _begun = Begun(0, 0, None)

    def __init__(
        self,
        runner: Run,
        dataloader: DeviceLoader,
        max_epochs: Count | None = None,
        max_iters: Count | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self.iters_per_epoch = len(dataloader)
        if self.iters_per_epoch == 0:
            raise DataError(
                f'The training data give no batch: {len(dataloader.dataset)} images, batches of '
                f'{dataloader.batch_size} per process. Lower data.imgs_per_gpu or set data.drop_last=False.'
            )
        if max_epochs is not None and max_iters is None:
            self._max_epochs, self._max_iters = max_epochs, max_epochs * self.iters_per_epoch
        elif max_iters is not None and max_epochs is None:
            self._max_epochs, self._max_iters = -(-max_iters // self.iters_per_epoch), max_iters
        else:
            raise ConfigError(f'Give total_epochs or total_iters, one of them; got {max_epochs} and {max_iters}.')
        with_weights(runner.model, lambda: check_run(unwrap(runner.model), dataloader, self._max_iters))
        self._epoch = 0
        self._iter = 0
        self.window_closed = True  # no gradient is pending; the checkpoint hook waits for it
        # True where the latest iteration moved the weights: it closed a window, and fp16 did not skip the step.
        self.stepped = False
        self.stop_training = False  # hooks (early stopping) may set it
        self.may_give_up = False  # an evaluation that goes on now would be done again by a resumed run
        self.closed_by: list[str] = []  # hooks that have closed the epoch, where others have not yet
        self._must_close = False
        self._carries: list[dict] = []
        self._gradients_seen = False

    epoch = property(lambda self: self._epoch, doc='Epochs finished.')
    iter = property(lambda self: self._iter, doc='Iterations (micro-batches) finished.')
    max_epochs = property(lambda self: self._max_epochs, doc='Epochs of the whole run.')
    max_iters = property(lambda self: self._max_iters, doc='Iterations of the whole run.')

    @property
    def max_steps(self) -> int:
        """Optimizer steps of the whole run, if fp16 skips none."""
        size = self.runner.optim_wrapper.update_interval
        epochs, rest = divmod(self._max_iters, self.iters_per_epoch)
        return epochs * -(-self.iters_per_epoch // size) + -(-rest // size)

    def start_at(self, epoch: int, iteration: int, closed_by: Sequence[str] = (), samples: int | None = None) -> None:
        """Continue after `iteration` finished iterations, `epoch` finished epochs.

        A run that ended in the middle of an epoch has counted that epoch as finished; a longer one goes on in it.

        Args:
            epoch: finished ones.
            iteration: finished ones.
            closed_by: classes of the hooks that have closed the epoch after those, where the run was stopped between its hooks.
            samples: samples of the epoch after those that are done; None: as many as its finished iterations hold.
        """
        self._epoch, self._iter = min(epoch, iteration // self.iters_per_epoch), iteration
        self._must_close = epoch * self.iters_per_epoch < iteration
        self.closed_by = list(closed_by) if self._must_close else []
        done = iteration - self._epoch * self.iters_per_epoch
        if samples is not None and samples == done * getattr(self.dataloader.sampler, 'global_batch', 0):
            samples = None  # whole batches from the first sample on
        self._begun = Begun(self._epoch, done, samples)

    def samples_at(self, epoch: int, iteration: int) -> int | None:
        """Samples of the epoch that are done after `iteration` finished iterations, `epoch` finished epochs.

        Returns:
            all of them at its end; None where the sampler cannot cut its epoch anywhere.
        """
        sampler = self.dataloader.sampler
        if not isinstance(sampler, CutsAnywhere):
            return None
        epoch = min(epoch, iteration // self.iters_per_epoch)
        index = iteration - epoch * self.iters_per_epoch
        if index >= self.iters_per_epoch:
            return sampler.samples
        begun = self._begun_in(epoch)
        before = begun.done * sampler.global_batch if begun.samples is None else begun.samples
        return before + (index - begun.done) * sampler.global_batch

    def _begun_in(self, epoch: int) -> Begun:
        return self._begun if self._begun.epoch == epoch else Begun(epoch, 0, None)

    def run(self) -> nn.Module:
        runner = self.runner
        self.may_give_up = True
        runner.call_hook('before_train')
        while (self._iter < self._max_iters or self._must_close) and not self.stop_training:
            self._run_epoch()
        runner.checkpoints.wait()  # what is called now may read them
        runner.call_hook('after_train')
        return runner.model

    def _run_epoch(self) -> None:
        runner = self.runner
        done = self._iter - self._epoch * self.iters_per_epoch  # > 0 after a resume in mid-epoch
        begun = self._begun_in(self._epoch)
        if begun.samples:
            self.dataloader.set_position(self._epoch, done - begun.done, begun.samples)
        else:
            self.dataloader.set_position(self._epoch, done)
        self.may_give_up = False
        runner.call_hook('before_train_epoch')
        runner.model.train()
        if self._iter < self._max_iters and done < self.iters_per_epoch:  # else only its hooks are left to do
            for index, batch in enumerate(self.dataloader, start=done):
                self._run_iter(index, batch)
                if self.window_closed:
                    runner.safe_point()
                if self._iter >= self._max_iters or self.stop_training:
                    break
        # Before the hooks: none of them is to wait for a rank that stops here.
        share_unreadable(self.dataloader.dataset)
        self.may_give_up = True
        self._close_epoch()
        if self._iter < self._max_iters:
            runner.safe_point()

    def _close_epoch(self) -> None:
        """Call `after_train_epoch` of every hook that has not closed this epoch yet: a resumed run goes on between two of them."""
        runner, before = self.runner, Counter(self.closed_by)
        for hook in runner.hooks:
            name = type(hook).__name__
            if before[name]:
                before[name] -= 1
                continue
            hook.after_train_epoch(runner)
            self.closed_by.append(name)
        self._epoch += 1
        self.closed_by, self._must_close = [], False

    def _window(self, index: int) -> tuple[int, bool]:
        """Length of the accumulation window that holds batch `index` of the epoch, and whether it ends there."""
        size = self.runner.optim_wrapper.update_interval
        first = self._begun_in(self._epoch).done  # checkpoints are taken where a window ends
        start = index - (index - first) % size
        rest = self._max_iters - self._epoch * self.iters_per_epoch  # an iteration-counted run may stop in mid-epoch
        length = min(size, min(self.iters_per_epoch, rest) - start)
        return length, index + 1 == start + length

    def _run_iter(self, index: int, batch: dict) -> None:
        runner, optim = self.runner, self.runner.optim_wrapper
        runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
        length, closes = self._window(index)
        seed_iteration(runner.seed, rank(), self._iter)
        beat(f'iteration {self._iter + 1}', waiting=True)  # gathers and gradients wait for the slowest process
        step = self._forward_backward(batch, length, closes)
        self._carries.append(step.carry)
        self.window_closed = closes
        if closes:
            self._refuse_unused()
        optim.progress = Progress(self._iter, self._max_iters, self.iters_per_epoch)
        self.stepped = closes and optim.step()
        if self.stepped:
            runner.call_hook('after_optimizer_step')
            algorithm = cast('Algorithm', unwrap(runner.model))
            algorithm.after_update(self._carries, optim.progress)
        if closes:
            self._carries = []
        beat(f'hooks after iteration {self._iter + 1}')
        runner.call_hook('after_train_iter', batch_idx=index, data_batch=batch, outputs=step)
        self._iter += 1

    def _forward_backward(self, batch: dict, length: int, closes: bool) -> Step:
        """Add the gradient of one micro-batch; ranks exchange gradients only with the last of a window."""
        model, optim = self.runner.model, self.runner.optim_wrapper
        with exchanging(model, closes):
            return self._accumulate(model, optim, batch, length)

    def _accumulate(self, model: nn.Module, optim: OptimWrapper, batch: dict, length: int) -> Step:
        with optim.autocast():
            with explain_unfinished(model):
                step: Step = model(batch, mode='loss')
            loss = step.total / length
        if not loss.requires_grad:
            raise ConfigError(
                f'The losses of {type(unwrap(model)).__name__} ({", ".join(step.losses)}) depend on no parameter that is '
                'trained, so nothing can be learned: are they detached, or is everything frozen?'
            )
        if not self._carries:
            # A window opens. Not right after the step: on the CPU, memory freed there goes back to the system and is
            # fetched anew, page by page, by the next forward pass (a tenth of the time of a ResNet-50 step).
            optim.zero_grad()
        optim.backward(loss)
        return step

    def _refuse_unused(self) -> None:
        """Once, after the first gradients that ranks exchanged."""
        if not self._gradients_seen:
            refuse_unused(self.runner.model)
        self._gradients_seen = True
