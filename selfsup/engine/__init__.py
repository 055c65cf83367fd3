"""Training: from a compiled config to a trained model, exactly resumable, on one or many CPUs or GPUs.

Start reading at `start.train`, which is what tools/train.py calls: `start` decides what is gone on from, `runner.Runner` builds everything
in the order of its constructor and trains in the order of `train`, `loop` is the loop. `run` says what hooks may ask of all that.

    processes/     how processes start, agree and end     optimization   optimizer and schedules from the config
    environment    versions and machine, for the log      optim_wrapper  accumulation and mixed precision
    run_checks     before the first step                  gradients      clipped one by one, dropped at first
    logs/          log files, curves, why a run ended     schedulers     learning rate and weight decay, by position
    resume/        checkpoints, and whether one is of this run

A schedule, a loop or an optimizer wrapper of one's own is registered in `registry.py`'s tables; a hook goes to `hooks/`.
Importing this package registers the runner, the loop, the optimizer wrappers and the schedulers.
"""

from ..distributed import unwrap
from . import loop, optim_wrapper, runner, schedulers  # noqa: F401
from .run import Run
from .runner import Runner
from .start import train

__all__ = ['Run', 'Runner', 'train', 'unwrap']
