"""Training engine: mmengine's Runner with the repairs that exact, atomic and CPU-capable training needs.

Importing this package registers the runner, the loop, the optimizer wrappers and the schedulers.
"""

from . import loop, optim_wrapper, runner, schedulers  # noqa: F401
from .resume.state import unwrap
from .run import Run
from .runner import Runner
from .start import train

__all__ = ['Run', 'Runner', 'train', 'unwrap']
