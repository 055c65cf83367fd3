"""Keeps the memory of online deep clustering in order (Zhan et al. 2020, arXiv 2006.10645, section 3.3)."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from ..arguments import Count, Share
from ..contracts import ClusterMemory, PseudoLabelled
from ..engine import Run, unwrap
from ..errors import ConfigError
from ..registry import HOOKS
from .deep_cluster.label_statistics import report, save_labels

EPOCHS_PER_FILE = 10


@HOOKS.register_module()
class ODCHook(Hook):
    """Renews centroids, dissolves small clusters and reweights the loss, every so many iterations.

    An iteration inside an accumulation window (`update_interval`) has not moved the memory: what falls due there is done at the
    end of the window. Labels are written to `cluster_epoch_{n}.npy` after every tenth epoch n (counted from 0: 9, 19, ...).

    Args:
        centroids_update_interval: iterations between two renewals of all centroids, >= 1.
        deal_with_small_clusters_interval: iterations between two searches for small clusters, >= 1.
        evaluate_interval: iterations between two reports of the cluster sizes, >= 1.
        reweight: weight the loss by cluster size, anew after every step (OpenSelfSup did so whatever was given here).
        reweight_pow: power of the weights, in [0, 1]; 0.5 in the paper (OpenSelfSup used 0.5 whatever was given here).
        dist_mode: accepted for old configs.

    Raises:
        ConfigError: a model without the memory.
    """

    priority = 'HIGH'  # before the log is written and before the checkpoint

    def __init__(
        self,
        centroids_update_interval: Count,
        deal_with_small_clusters_interval: Count,
        evaluate_interval: Count,
        reweight: bool,
        reweight_pow: Share,
        dist_mode: bool = True,
    ) -> None:
        self.intervals = {
            'centroids': centroids_update_interval,
            'small': deal_with_small_clusters_interval,
            'report': evaluate_interval,
        }
        self.reweight, self.reweight_pow = reweight, reweight_pow
        self._due: set[str] = set()

    def before_train(self, runner: Run) -> None:
        model = unwrap(runner.model)
        memory = getattr(model, 'memory_bank', None)
        if not isinstance(memory, ClusterMemory) or not isinstance(model, PseudoLabelled):
            raise ConfigError(
                f'ODCHook needs a model with an ODCMemory (ODC); this is {type(model).__name__}. Remove the hook.'
            )
        self._model: Any = model
        self._memory = memory

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._due |= {name for name, interval in self.intervals.items() if (runner.iter + 1) % interval == 0}
        if not runner.train_loop.window_closed:
            return
        due, self._due = self._due, set()
        if 'centroids' in due:
            self._memory.update_centroids()
        if 'small' in due:
            self._memory.deal_with_small_clusters()
        if self.reweight:
            self._model.set_reweight(self._memory.label_bank, self.reweight_pow)
        if 'report' in due:
            change = {'change_ratio': float(self._model.change_ratio)}
            report(runner, self._memory.label_bank, self._memory.num_classes, change)

    def after_train_epoch(self, runner: Run) -> None:
        if (runner.epoch + 1) % EPOCHS_PER_FILE == 0:
            save_labels(runner, self._memory.label_bank, runner.epoch)
