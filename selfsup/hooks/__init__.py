"""Hooks, one per file. Importing this package registers them."""

from . import (  # noqa: F401
    byol_hook,
    checkpoint_hook,
    collapse_hook,
    deep_cluster_hook,
    detection_hook,
    ema_hook,
    knn_hook,
    logger_hook,
    odc_hook,
    reconstruction_hook,
    runtime_info_hook,
    spark_log_hook,
    sparse_training_hook,
    validate_hook,
)
