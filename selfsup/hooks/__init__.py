"""What happens beside the training steps: logging, evaluating, saving, and methods that change labels, masks or averages.

One hook per file; a hook with helpers of its own has a folder; `lidar.py` is a part of `CollapseHook`. Importing this package registers
them all. Start reading with `checkpoint_hook.py`, the plainest, and `evaluation_hook.py`, the base of all hooks that measure.

At one event, hooks are called in the order of their priorities:

| priority | hooks |
|---|---|
| `VERY_HIGH` | `RuntimeInfoHook`: losses and learning rate for the log; stops a run whose loss is not finite |
| `HIGH` | `SparseTrainingHook`, `ODCHook`: what changes the model after a step; `CollapseHook` |
| `ABOVE_NORMAL` | `EMAHook`: the average follows the weights as the hooks above leave them |
| `NORMAL` | `BYOLHook`, and every hook that does not say otherwise |
| `BELOW_NORMAL` | `LoggerHook` |
| `LOW` | the schedules (mmengine's); `KNNHook`, `ProbeHook`, `ValidateHook`, `DetectionHook`, `ReconstructionHook`; `DeepClusterHook` |
| `VERY_LOW` | `CheckpointHook`: after every hook that changes what is saved |
| `LOWEST` | `SparKLogHook`: after the checkpoint |

A new hook is a file here, a class with `@HOOKS.register_module()`, and a line below. One that measures on a data set derives from
`EvaluationHook` and defines `evaluate`. One that keeps state writes it under its own key of the checkpoint
(`before_save_checkpoint`, `after_load_checkpoint`); `after_save_checkpoint(runner, path, iteration)` is called on rank 0, between two
iterations, when a file is complete on the disk. One that changes no weight says so by `only_watches = True`, and a run may then be
resumed with other arguments of it. Which arguments are valid is declared in the signature (`selfsup/arguments.py`).
"""

from . import (  # noqa: F401
    byol_hook,
    checkpoint_hook,
    collapse_hook,
    deep_cluster,
    detection_hook,
    ema_hook,
    knn_hook,
    logger_hook,
    odc_hook,
    probe,
    reconstruction_hook,
    runtime_info_hook,
    spark_log_hook,
    sparse_training,
    validate_hook,
)
