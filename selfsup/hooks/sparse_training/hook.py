"""Training with most weights at zero, and with a choice of them that moves (SLaK: Liu et al. 2022, arXiv 2207.03620, section 3.3)."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval
from mmengine.hooks import Hook
from torch import Tensor, nn

from ... import distributed as dist
from ...arguments import Count, Share, ShareBelowOne
from ...contracts import TakesLabels
from ...engine import Run, unwrap
from ...engine.resume.state import seed_iteration
from ...engine.resume.state_checks import check_mask_state
from ...errors import CheckpointError, ConfigError, SelfSupWarning
from ...optim import sparsity as sparse
from ...registry import HOOKS
from .first_masks import maskable, masks_of_zeros, random_masks, snip_scores
from .table import summary

STATE = 'sparse_training'  # entry of the checkpoint
MASK_STREAM = (0, 0, 2)  # sets the draws of masks apart from those of samples, orders and iterations


@HOOKS.register_module()
class SparseTrainingHook(Hook):
    """Holds a share `sparsity` of all weights at exact zero; now and then the smallest active ones are exchanged for others.

    Masked are the weights of convolutions and linear layers (the 2-D and 4-D parameters of SLaK). The masks are applied after every
    optimizer step, before momentum networks follow, so weights are exact zeros in every forward pass, with mixed precision,
    accumulation and clipping as without. Steps are optimizer steps; those that fp16 skips do not count. A layer whose density comes
    out at 0.99 or more is left dense, and the others make up for it: the number of active weights is exact.

    Masks and steps are in the checkpoint, so a resumed run continues exactly. All draws follow from (run seed, step, layer), so all
    ranks have the same masks without talking about them. Momentum copies (MoCo's keys, BYOL's target) get the first masks too, so that
    they start as copies; from then on they follow the weights.

    Args:
        sparsity: share of zeros over all masked layers, in [0, 1); SLaK: 0.4. May be left out with init='resume'.
        init: first densities of the layers: 'snip' (from the loss of the method on the first batch of the training data, in full
            precision, gradients averaged over ranks), 'erk', 'uniform'; or 'resume': masks are the non-zero weights of a sparse model
            that was loaded (`load_from`, `pretrained`), to fine-tune it. To continue a run, resume it instead.
        update_interval: optimizer steps between two exchanges, >= 1; None keeps the first masks. SLaK-T: 2000, S and B: 100. There is
            none at the last step: nothing would train what it grows.
        prune_rate: share of the active weights of each layer exchanged at first, in (0, 1]; SLaK-T: 0.5, S and B: 0.3.
        final_prune_rate: the same at the end, along a cosine; in [0, prune_rate].
        growth: which zeros become active: 'random', 'gradient' (largest gradient), 'momentum' (largest mean update; Adam's or SGD's),
            each as many as were pruned; 'bernoulli' is random with a random number, as in SLaK's code. They start at zero; one that was
            pruned in the same exchange keeps its value.
        prune: 'magnitude'.
        only: regex that must be found in the names of masked weights; SLaK's `--only-L` is 'large_kernel\\.LoRA'.
        mask_moments: hold Adam's moments at zero where the weight is masked. SGD's momentum always is (but not with growth='momentum',
            which reads it).

    Raises:
        ConfigError: an argument that cannot be used, or a model or optimizer that it does not fit.
    """

    priority = 'HIGH'  # before EMAHook, which follows the masked weights, and before all that evaluates or saves

    def __init__(
        self,
        sparsity: ShareBelowOne | None = None,
        init: Literal['snip', 'erk', 'uniform', 'resume'] = 'snip',
        update_interval: Count | None = 100,
        prune_rate: Annotated[float, Interval(gt=0, le=1)] = 0.3,
        final_prune_rate: Share = 0.005,
        growth: Literal['random', 'bernoulli', 'gradient', 'momentum'] = 'random',
        prune: Literal['magnitude'] = 'magnitude',
        only: str = '',
        mask_moments: bool = False,
    ) -> None:
        if sparsity is None and init != 'resume':
            raise ConfigError('SparseTrainingHook needs sparsity, the share of weights at zero, in [0, 1).')
        if final_prune_rate > prune_rate:
            raise ConfigError(
                f'SparseTrainingHook final_prune_rate={final_prune_rate!r}: use a number in [0, prune_rate={prune_rate}].'
            )
        if mask_moments and growth == 'momentum':
            raise ConfigError(
                "SparseTrainingHook growth='momentum' reads the moments of masked weights: it needs mask_moments=False."
            )
        self.sparsity, self.init, self.update_interval = sparsity, init, update_interval
        self.prune_rates = prune_rate, final_prune_rate
        self.growth, self.only, self.mask_moments = growth, only, mask_moments
        self.weights: dict[str, nn.Parameter] = {}  # all that may be masked
        self.masks = sparse.Masks({})  # of the layers that are
        self.steps = 0  # optimizer steps taken
        self._resumed = False  # the masks are those of a checkpoint

    @property
    def current_sparsity(self) -> float:
        """Share of zeros among all weights that may be masked."""
        return self.masks.sparsity

    # ---- start, stop, resume ----------------------------------------------------------------------------------------

    def before_run(self, runner: Run) -> None:
        if sum(isinstance(hook, SparseTrainingHook) for hook in runner.hooks) > 1:
            raise ConfigError(
                'There are several SparseTrainingHooks, and a model has one set of masks: keep one; `only` is a regex, so '
                "'this|that' chooses several parts."
            )
        self.weights = maskable(unwrap(runner.model), self.only)
        self.masks = sparse.Masks(self.weights, self.growth, self.mask_moments)
        groups = runner.optim_wrapper.param_groups
        if self.growth == 'momentum' and not any('betas' in group or group.get('momentum') for group in groups):
            raise ConfigError(
                f"SparseTrainingHook growth='momentum': {type(runner.optim_wrapper.optimizer).__name__} keeps none; use an "
                "optimizer of the Adam family or momentum > 0, or growth='gradient'."
            )
        steps = runner.train_loop.max_steps
        if self.update_interval is not None and self.update_interval >= steps:
            warnings.warn(
                f'SparseTrainingHook update_interval={self.update_interval}: the run has {steps} optimizer steps, so the masks '
                'will never change.',
                SelfSupWarning,
                stacklevel=2,
            )

    def after_load_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        state = checkpoint.get(STATE)
        if state is None:
            raise CheckpointError(
                'The checkpoint holds no masks: its run had no SparseTrainingHook. Start a new run from its weights with '
                'load_from.'
            )
        check_mask_state(state, self.weights)
        known = set(state['masks']) <= set(self.weights)
        if not known or (state['sparsity'], state['only']) != (self.sparsity, self.only):
            raise CheckpointError(
                f'The checkpoint is of a sparse run with sparsity={state["sparsity"]}, only={state["only"]!r}; the '
                f'config says sparsity={self.sparsity}, only={self.only!r}. Resume with the config of the first run, or '
                'start a new one from its weights with load_from.'
            )
        self.masks.assign_packed(state['masks'])
        self.steps, self._resumed = runner.changes.steps_now(state['steps']), True

    def before_train(self, runner: Run) -> None:
        if not self._resumed:
            self.masks.assign(self._first_masks(runner))
            self._mask_momentum_copies(unwrap(runner.model))
        self.masks.apply()
        runner.logger.info(
            summary(f'Sparse training, step {self.steps}: sparsity {self.current_sparsity:.4f}', self.masks)
        )

    def before_train_epoch(self, runner: Run) -> None:
        self.masks.apply()  # a hook may have renewed a layer (DeepClusterHook: the head)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        checkpoint[STATE] = {
            'masks': self.masks.packed() if dist.is_main() else {},
            'steps': self.steps,
            'prune_rate': self._prune_rate(runner),
            'sparsity': self.sparsity,
            'only': self.only,
        }

    # ---- every step -------------------------------------------------------------------------------------------------

    def after_optimizer_step(self, runner: Run) -> None:
        self.steps += 1
        optimizer = runner.optim_wrapper.optimizer
        self.masks.apply(optimizer)
        if self.update_interval and self.steps % self.update_interval == 0 and self.steps < runner.train_loop.max_steps:
            rate = self._prune_rate(runner)
            changes = self.masks.exchange(rate, optimizer, lambda layer: self._generator(runner, layer))
            title = f'Sparse training, step {self.steps}: prune rate {rate:.4f}, sparsity {self.current_sparsity:.4f}'
            runner.logger.info(summary(title, self.masks, changes))
            self.masks.apply(optimizer)

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.message_hub.update_scalar('train/sparsity', self.current_sparsity)
        runner.message_hub.update_scalar('train/prune_rate', self._prune_rate(runner))

    def _prune_rate(self, runner: Run) -> float:
        return sparse.prune_rate_at(self.steps, runner.train_loop.max_steps, *self.prune_rates)

    def _generator(self, runner: Run, layer: int) -> torch.Generator:
        words = np.random.SeedSequence([runner.seed, self.steps, layer, *MASK_STREAM]).generate_state(2)
        return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))

    # ---- the first masks --------------------------------------------------------------------------------------------

    def _first_masks(self, runner: Run) -> dict[str, Tensor]:
        if self.sparsity is None or self.init == 'resume':
            return masks_of_zeros(self.weights, self.sparsity)
        density = 1 - self.sparsity
        shapes = {name: tuple(p.shape) for name, p in self.weights.items()}
        if self.init == 'snip':
            dataset = runner.train_loop.dataloader.dataset
            if isinstance(dataset, TakesLabels):
                raise ConfigError(
                    f"SparseTrainingHook init='snip' looks at the loss of the first batch, and a {type(dataset).__name__} "
                    "gets its labels later, from clustering: use init='erk' or 'uniform'."
                )
            seed_iteration(runner.seed, dist.rank(), 0)
            scores = snip_scores(unwrap(runner.model), runner.train_loop.dataloader.peek(), self.weights)
            # rank 0's for all: sums over ranks may differ in the last bit
            densities = dist.broadcast_object(sparse.snip_densities(scores, density) if dist.is_main() else {})
        elif self.init == 'erk':
            densities = sparse.erk_densities(shapes, density)
        else:
            densities = sparse.uniform_densities(shapes, density)
        return random_masks(self.weights, densities, density, lambda layer: self._generator(runner, layer))

    @torch.no_grad()
    def _mask_momentum_copies(self, model: nn.Module) -> None:
        parameters = dict(model.named_parameters())
        for part, follower in getattr(model, 'momentum_copies', ()):
            for name, mask in self.masks.items():
                if name.startswith(f'{part}.'):
                    parameters[f'{follower}{name.removeprefix(part)}'].mul_(mask)
