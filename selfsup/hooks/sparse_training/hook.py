"""Training with most weights at zero, and with a choice of them that moves (SLaK: Liu et al. 2022, arXiv 2207.03620, section 3.3)."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Interval
from mmengine.hooks import Hook
from torch import Tensor, nn

from ... import distributed as dist
from ...engine.resume.state import seed_iteration, unwrap
from ...engine.resume.state_checks import check_mask_state
from ...errors import CheckpointError, ConfigError, SelfSupWarning, TrainingError, did_you_mean
from ...optim import sparsity as sparse
from ...registry import HOOKS
from .table import Change, summary

STATE = 'sparse_training'  # entry of the checkpoint
INITS = ('snip', 'erk', 'uniform', 'resume')
GROWTHS = ('random', 'bernoulli', 'gradient', 'momentum')
PRUNES = ('magnitude',)
MASK_STREAM = (0, 0, 2)  # sets the draws of masks apart from those of samples, orders and iterations
ADAM_MOMENTS = ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq')


def maskable(model: nn.Module, only: str = '') -> dict[str, nn.Parameter]:
    """Weights of the convolutions and linear layers that the optimizer trains, by name; those of momentum networks are not among them.

    Args:
        model: an algorithm, without DDP's wrapper.
        only: regex that must be found in the name (`re.search`).

    Raises:
        ConfigError: `only` is no regex, or nothing is left.
    """
    try:
        pattern = re.compile(only)
    except (re.error, TypeError) as error:
        raise ConfigError(f'SparseTrainingHook only={only!r} is no regular expression: {error}.') from None
    ids = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)}
    found = {name: p for name, p in model.named_parameters() if id(p) in ids and p.requires_grad}
    chosen = {name: p for name, p in found.items() if pattern.search(name)}
    if not chosen:
        shown = ', '.join(list(found)[:5]) + (', ...' if len(found) > 5 else '')
        raise ConfigError(
            f'SparseTrainingHook only={only!r} is found in none of the {len(found)} weights of convolutions and linear '
            f'layers that are trained: {shown or "there are none"}.'
        )
    return chosen


def snip_scores(model: nn.Module, batch: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """|w * dL/dw| of weights for the loss of a batch, in train mode and full precision; the model stays as it is. Every rank calls.

    Args:
        model: an algorithm.
        batch: this rank's; gradients are averaged over ranks.
        names: of the weights.

    Raises:
        TrainingError: a gradient is not finite.
    """
    network = copy.deepcopy(model).train()
    network(batch, mode='loss').total.backward()
    parameters, scores = dict(network.named_parameters()), {}
    for name in names:
        weight = parameters[name]
        grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        scores[name] = (weight.detach() * dist.mean(grad)).abs()
        if not bool(scores[name].isfinite().all()):
            raise TrainingError(
                f"SparseTrainingHook init='snip': the gradient of {name} on the first batch is not finite. Look at the "
                "loss with init='erk'."
            )
    return scores


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
        sparsity: Annotated[float, Interval(ge=0, lt=1)] | None = None,
        init: Literal['snip', 'erk', 'uniform', 'resume'] = 'snip',
        update_interval: Annotated[int, Ge(1)] | None = 100,
        prune_rate: Annotated[float, Interval(gt=0, le=1)] = 0.3,
        final_prune_rate: Annotated[float, Interval(ge=0, le=1)] = 0.005,
        growth: Literal['random', 'bernoulli', 'gradient', 'momentum'] = 'random',
        prune: Literal['magnitude'] = 'magnitude',
        only: str = '',
        mask_moments: bool = False,
    ) -> None:
        for key, value, known in (('init', init, INITS), ('growth', growth, GROWTHS), ('prune', prune, PRUNES)):
            if value not in known:
                raise ConfigError(f'SparseTrainingHook has no {key}={value!r}.{did_you_mean(str(value), known)}')
        if sparsity is None and init != 'resume':
            raise ConfigError('SparseTrainingHook needs sparsity, the share of weights at zero, in [0, 1).')
        if sparsity is not None and not (_is_number(sparsity) and 0 <= sparsity < 1):
            raise ConfigError(
                f'SparseTrainingHook sparsity={sparsity!r}: use a number in [0, 1), the share of weights at zero.'
            )
        if update_interval is not None and (type(update_interval) is not int or update_interval < 1):
            raise ConfigError(
                f'SparseTrainingHook update_interval={update_interval!r}: use 1 or more optimizer steps, or None for fixed '
                'masks.'
            )
        if not (_is_number(prune_rate) and 0 < prune_rate <= 1):
            raise ConfigError(f'SparseTrainingHook prune_rate={prune_rate!r}: use a number in (0, 1].')
        if not (_is_number(final_prune_rate) and 0 <= final_prune_rate <= prune_rate):
            raise ConfigError(
                f'SparseTrainingHook final_prune_rate={final_prune_rate!r}: use a number in [0, prune_rate={prune_rate}].'
            )
        if mask_moments and growth == 'momentum':
            raise ConfigError(
                "SparseTrainingHook growth='momentum' reads the moments of masked weights: it needs mask_moments=False."
            )
        self.sparsity, self.init, self.update_interval = sparsity, init, update_interval
        self.prune_rates = prune_rate, final_prune_rate
        self.growth, self.only = growth, only
        self._moments = () if growth == 'momentum' else ('momentum_buffer', *(ADAM_MOMENTS if mask_moments else ()))
        self.weights: dict[str, nn.Parameter] = {}  # all that may be masked
        self.masks: dict[str, Tensor] | None = None  # of the layers that are; on the device of the weight
        self.steps = 0  # optimizer steps taken
        self._active = 0  # active weights, of all in `weights`

    @property
    def current_sparsity(self) -> float:
        """Share of zeros among all weights that may be masked."""
        return 1 - self._active / sum(p.numel() for p in self.weights.values())

    # ---- start, stop, resume ----------------------------------------------------------------------------------------

    def before_run(self, runner: Any) -> None:
        if sum(isinstance(hook, SparseTrainingHook) for hook in runner.hooks) > 1:
            raise ConfigError(
                'There are several SparseTrainingHooks, and a model has one set of masks: keep one; `only` is a regex, so '
                "'this|that' chooses several parts."
            )
        self.weights = maskable(unwrap(runner.model), self.only)
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

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        state = checkpoint.get(STATE)
        if state is None:
            raise CheckpointError(
                'The checkpoint holds no masks: its run had no SparseTrainingHook. Start a new run from its weights with '
                'load_from.'
            )
        check_mask_state(state, self.weights)
        if (
            state['sparsity'] != self.sparsity
            or state['only'] != self.only
            or not set(state['masks']) <= set(self.weights)
        ):
            raise CheckpointError(
                f'The checkpoint is of a sparse run with sparsity={state["sparsity"]}, only={state["only"]!r}; the '
                f'config says sparsity={self.sparsity}, only={self.only!r}. Resume with the config of the first run, or '
                'start a new one from its weights with load_from.'
            )
        self.masks = {
            name: sparse.unpack_mask(bits, self.weights[name].shape).to(self.weights[name].device)
            for name, bits in state['masks'].items()
        }
        self.steps = state['steps']

    def before_train(self, runner: Any) -> None:
        if self.masks is None:
            self.masks = self._first_masks(runner)
            self._mask_momentum_copies(unwrap(runner.model))
        self._count()
        self._apply()
        runner.logger.info(
            summary(
                f'Sparse training, step {self.steps}: sparsity {self.current_sparsity:.4f}', self.weights, self.masks
            )
        )

    def before_train_epoch(self, runner: Any) -> None:
        self._apply()  # a hook may have renewed a layer (DeepClusterHook: the head)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        masks = {name: sparse.pack_mask(mask) for name, mask in self.masks.items()} if dist.is_main() else {}
        checkpoint[STATE] = {
            'masks': masks,
            'steps': self.steps,
            'prune_rate': self._prune_rate(runner),
            'sparsity': self.sparsity,
            'only': self.only,
        }

    # ---- every step -------------------------------------------------------------------------------------------------

    def after_optimizer_step(self, runner: Any) -> None:
        self.steps += 1
        self._apply(runner.optim_wrapper.optimizer)
        if self.update_interval and self.steps % self.update_interval == 0 and self.steps < runner.train_loop.max_steps:
            self._exchange(runner)
            self._apply(runner.optim_wrapper.optimizer)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.message_hub.update_scalar('train/sparsity', self.current_sparsity)
        runner.message_hub.update_scalar('train/prune_rate', self._prune_rate(runner))

    def _prune_rate(self, runner: Any) -> float:
        return sparse.prune_rate_at(self.steps, runner.train_loop.max_steps, *self.prune_rates)

    @torch.no_grad()
    def _apply(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Multiply weights, and where an optimizer is given its moments, by the masks."""
        for name, mask in self.masks.items():
            weight = self.weights[name]
            weight.mul_(mask)
            for key in self._moments if optimizer is not None else ():
                if isinstance(moment := optimizer.state.get(weight, {}).get(key), Tensor):
                    moment.mul_(mask)

    def _count(self) -> None:
        dense = sum(p.numel() for name, p in self.weights.items() if name not in self.masks)
        self._active = dense + sum(int(mask.sum()) for mask in self.masks.values())

    def _generator(self, runner: Any, layer: int) -> torch.Generator:
        words = np.random.SeedSequence([runner.seed, self.steps, layer, *MASK_STREAM]).generate_state(2)
        return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))

    def _exchange(self, runner: Any) -> None:
        """Prune every layer, then let as many weights grow in it."""
        rate = self._prune_rate(runner)
        changes = {}
        for layer, (name, mask) in enumerate(self.masks.items()):
            weight, before = self.weights[name], mask.clone()
            number = sparse.prune_smallest_(mask, weight, rate)
            if self.growth in ('random', 'bernoulli'):
                grow = sparse.grow_random_ if self.growth == 'random' else sparse.grow_bernoulli_
                grow(mask, number, self._generator(runner, layer))
            else:
                sparse.grow_largest_(mask, number, self._score(weight, runner.optim_wrapper.optimizer))
            changes[name] = Change(pruned=int((before & ~mask).sum()), grown=int((mask & ~before).sum()))
        self._count()
        title = f'Sparse training, step {self.steps}: prune rate {rate:.4f}, sparsity {self.current_sparsity:.4f}'
        runner.logger.info(summary(title, self.weights, self.masks, changes))

    def _score(self, weight: nn.Parameter, optimizer: torch.optim.Optimizer) -> Tensor:
        """What the growth sorts by; zeros for a weight that had no gradient yet."""
        if self.growth == 'gradient':
            return torch.zeros_like(weight) if weight.grad is None else weight.grad
        state = optimizer.state.get(weight, {})
        if 'exp_avg' in state:
            return state['exp_avg'] / (state['exp_avg_sq'].sqrt() + 1e-8)
        return state.get('momentum_buffer', torch.zeros_like(weight))

    # ---- the first masks --------------------------------------------------------------------------------------------

    def _first_masks(self, runner: Any) -> dict[str, Tensor]:
        shapes = {name: tuple(p.shape) for name, p in self.weights.items()}
        sizes = {name: p.numel() for name, p in self.weights.items()}
        if self.init == 'resume':
            return self._masks_of_zeros(sizes)
        if self.init == 'snip':
            scores = self._snip_scores(runner)
            # rank 0's for all: sums over ranks may differ in the last bit
            densities = dist.broadcast_object(
                sparse.snip_densities(scores, 1 - self.sparsity) if dist.is_main() else None
            )
        else:
            densities = {'erk': sparse.erk_densities, 'uniform': sparse.uniform_densities}[self.init](
                shapes, 1 - self.sparsity
            )
        counts = sparse.kept_counts(sizes, densities, 1 - self.sparsity)
        if empty := [name for name, count in counts.items() if count == 0]:
            warnings.warn(
                f"SparseTrainingHook init='{self.init}' leaves nothing of {len(empty)} layers ({', '.join(empty[:3])}): use "
                "a lower sparsity, or init='erk'.",
                SelfSupWarning,
                stacklevel=2,
            )
        return {
            name: sparse.sample_mask(shapes[name], count, self._generator(runner, layer)).to(self.weights[name].device)
            for layer, (name, count) in enumerate(counts.items())
        }

    def _masks_of_zeros(self, sizes: dict[str, int]) -> dict[str, Tensor]:
        found = {name: p.detach().ne(0).contiguous() for name, p in self.weights.items()}
        active = {name: int(mask.sum()) for name, mask in found.items()}
        share = 1 - sum(active.values()) / sum(sizes.values())
        if share == 0:
            raise ConfigError(
                "SparseTrainingHook init='resume' takes its masks from the zeros of the weights, and none is zero: load a "
                "sparse model with load_from or pretrained, or choose init='snip', 'erk' or 'uniform'."
            )
        if self.sparsity is not None and abs(share - self.sparsity) > 1e-3:
            warnings.warn(
                f"SparseTrainingHook init='resume' found sparsity {share:.4f} in the weights; sparsity={self.sparsity} is not "
                'used.',
                SelfSupWarning,
                stacklevel=2,
            )
        return {name: mask for name, mask in found.items() if active[name] < sparse.DENSE * sizes[name]}

    def _snip_scores(self, runner: Any) -> dict[str, Tensor]:
        loader = runner.train_loop.dataloader
        if hasattr(loader.dataset, 'assign_labels'):
            raise ConfigError(
                f"SparseTrainingHook init='snip' looks at the loss of the first batch, and a {type(loader.dataset).__name__} "
                "gets its labels later, from clustering: use init='erk' or 'uniform'."
            )
        seed_iteration(runner.seed, dist.rank(), 0)
        return snip_scores(unwrap(runner.model), loader.peek(), self.weights)

    @torch.no_grad()
    def _mask_momentum_copies(self, model: nn.Module) -> None:
        parameters = dict(model.named_parameters())
        for part, follower in getattr(model, 'momentum_copies', ()):
            for name, mask in self.masks.items():
                if name.startswith(f'{part}.'):
                    parameters[f'{follower}{name.removeprefix(part)}'].mul_(mask)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
