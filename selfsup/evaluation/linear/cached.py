"""Linear classifiers on cached features: every head and every learning rate in one run.

The heads of different rates share nothing but the batches, so each ends with the weights that a run of its own would have
given, with one pass over the data for all.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...datasets.loaders.samplers import EpochSampler
from ...errors import ConfigError
from ...optim.paramwise import param_groups
from ...optim.schedules import policy_lr
from ...optim.trained import trained_and_frozen
from ...registry import OPTIMIZERS, build_from_config
from .feature_cache import FeatureCache

EVALUATED_AT_ONCE = 1024  # rows


def parse_rates(text: str | None, compiled: dict[str, Any]) -> list[float]:
    """Learning rates written with commas; without a text that of the config.

    Raises:
        ConfigError: not numbers, or the config gives no `lr`.
    """
    if text is None:
        rate = compiled['optim_wrapper']['optimizer'].get('lr')
        if rate is None:
            raise ConfigError('The optimizer of the config has no lr (base_lr depends on the processes): give --lrs.')
        return [rate]
    try:
        return [float(word) for word in text.split(',')]
    except ValueError:
        raise ConfigError(f'--lrs {text!r}: write numbers with commas, for example 0.1,1,10.') from None


def check_run(
    compiled: dict[str, Any], rates: Sequence[float], epochs: int | None = None, batch_size: int | None = None
) -> None:
    """Refuse what training on cached features could not follow, before features are extracted.

    Raises:
        ConfigError: gradient clipping, freezing or accumulation, another schedule than `lr_config`, a run counted in iterations; rates that
            are not one or more different numbers > 0; `epochs` or `batch_size` < 1.
    """
    if not rates or not all(0 < rate < math.inf for rate in rates) or len(set(rates)) != len(rates):
        raise ConfigError(f'Learning rates {list(rates)}: give one or more different numbers > 0.')
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f'batch_size={batch_size}: use 1 or more images per step.')
    if epochs is not None and epochs < 1:
        raise ConfigError(f'epochs={epochs}: train for 1 or more.')
    wrapper, schedule = compiled['optim_wrapper'], compiled['param_scheduler']
    problems = []
    if wrapper.get('clip_grad'):
        problems.append('grad_clip (it would couple the heads)')
    if wrapper.get('freeze'):
        problems.append('optimizer_config.freeze')
    if wrapper.get('accumulative_counts', 1) != 1:
        problems.append('update_interval (choose --batch-size instead)')
    if len(schedule) > 1 or any(cfg['type'] != 'PolicyLR' for cfg in schedule):
        problems.append('schedules other than lr_config')
    sampler = compiled['train_dataloader'].get('sampler') or {}
    if sampler.get('type', 'EpochSampler') != 'EpochSampler' or sampler.get('replace'):
        problems.append('sampler but one that draws each image once per epoch')
    if epochs is None and not compiled['train_cfg'].get('max_epochs'):
        problems.append('total_iters (give --epochs)')
    if problems:
        raise ConfigError(
            f'Training on cached features knows no {", no ".join(problems)}. Remove them from the config.'
        )


class CachedHeads:
    """Copies of a head, one per learning rate, trained together.

    Args:
        head: with `pool`, `classify` and `loss`, such as `ClsHead` and `MultiClsHead`.
        rates: learning rates, see `check_run`.
        compiled: runner config, for optimizer and schedule.
        cache: training features.
        batch_size: images per step.
        epochs: length of the run.
        seed: of the order of the images: that of a run of tools/train.py with this seed in one process.
        drop_last: leave out the last batch of an epoch if it is smaller.

    Raises:
        ConfigError: a batch would hold one image, and the head has a batch norm over images.
    """

    def __init__(
        self,
        head: nn.Module,
        rates: Sequence[float],
        compiled: dict[str, Any],
        cache: FeatureCache,
        *,
        batch_size: int,
        epochs: int,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.rates, self.cache, self.epochs, self.batch_size = list(rates), cache, epochs, batch_size
        self.device = next(head.parameters()).device
        lonely = batch_size == 1 or (len(cache) % batch_size == 1 and not drop_last)
        if lonely and any(isinstance(module, nn.BatchNorm1d) for module in head.modules()):
            raise ConfigError(
                f'A batch would hold one image ({len(cache)} in batches of {batch_size}), of which the batch norm of the '
                'head has one value per channel: choose another --batch-size, or set data.drop_last=True.'
            )
        self.heads: Any = nn.ModuleList(copy.deepcopy(head) for _ in rates)
        self.sampler = EpochSampler(len(cache), shuffle=True, seed=seed, batch_size=batch_size, drop_last=drop_last)
        self._build_optimizer(compiled)
        self.iteration = 0

    def _build_optimizer(self, compiled: dict[str, Any]) -> None:
        cfg, options = dict(compiled['optim_wrapper']['optimizer']), compiled['optim_wrapper'].get('paramwise_options')
        cfg.pop('base_lr', None)
        groups = []
        for head, rate in zip(self.heads, self.rates, strict=True):
            of_head = param_groups(nn.ModuleDict({'head': head}), {**cfg, 'lr': rate}, options)
            groups += [{'lr': rate, **group} for group in of_head]
        self.optimizer = build_from_config({**cfg, 'lr': self.rates[0]}, groups, registry=OPTIMIZERS)
        self.base = [group['lr'] for group in self.optimizer.param_groups]
        self.policy = next(
            ({k: v for k, v in cfg.items() if k != 'type'} for cfg in compiled['param_scheduler']), {'policy': 'fixed'}
        )

    def train_epoch(self, epoch: int) -> list[float]:
        """One pass over the training features, epoch `epoch` from 0 on; the last loss of each rate (NaN where it diverged)."""
        self.heads.train()
        self.sampler.set_position(epoch)
        order = torch.tensor([draw.index for draw in self.sampler])
        for index in order.split(self.batch_size):
            for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
                if group.get('constant_lr'):
                    continue
                group['lr'] = policy_lr(
                    self.iteration,
                    base,
                    iters_per_epoch=self.sampler.num_batches,
                    max_iters=self.sampler.num_batches * self.epochs,
                    **self.policy,
                )
            losses = self._step(
                self.cache.rows(epoch % self.cache.views, index.numpy(), self.device),
                self.cache.labels[index].to(self.device),
            )
            self.iteration += 1
        return losses.tolist()

    def _step(self, pooled: list[Tensor], labels: Tensor) -> Tensor:
        """One optimizer step; the loss of each rate (their gradients do not meet)."""
        losses = torch.stack(
            [
                sum(value for key, value in head.loss(head.classify(pooled), labels).items() if key.startswith('loss'))
                for head in self.heads
            ]
        )
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        return losses.detach()

    def parameters(self, model: Any) -> dict[str, dict[str, int]]:
        """How many parameters of the backbone of `model`, and of the head of each rate, are trained and frozen."""
        head = dict(zip(('trained', 'frozen'), trained_and_frozen(self.heads[0]), strict=True))
        return {'backbone': {'trained': 0, 'frozen': sum(trained_and_frozen(model.backbone))}, 'head': head}

    @torch.no_grad()
    def evaluate(
        self, cache: FeatureCache, accuracy: Callable[[Tensor, str], dict[str, float]]
    ) -> list[dict[str, float]]:
        """Accuracies of each rate on the first draw of `cache`; `accuracy(scores, name)` is the data set's `evaluate`."""
        self.heads.eval()
        scores: list[dict[str, list[Tensor]]] = [{} for _ in self.heads]
        for start in range(0, len(cache), EVALUATED_AT_ONCE):
            pooled = cache.rows(0, slice(start, start + EVALUATED_AT_ONCE), self.device)
            for head, of_head in zip(self.heads, scores, strict=True):
                for name, logits in head.classify(pooled).items():
                    of_head.setdefault(name, []).append(logits.float().cpu())
        return [
            {key: value for name, parts in of_head.items() for key, value in accuracy(torch.cat(parts), name).items()}
            for of_head in scores
        ]


def best_rates(
    results: Sequence[dict[str, float]], rates: Sequence[float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Numbers of a result: accuracies at every rate, `head0_top1_lr0.1`, and those at the rate of the largest top-1, `head0_top1`.

    The rate is chosen on the test set, as the published settings are.

    Returns:
        The numbers, and for each head its rate.
    """
    numbers, chosen = {}, {}
    for name in results[0]:
        head = name.split('_')[0]
        best = max(range(len(rates)), key=lambda i: results[i].get(f'{head}_top1', results[i][name]))
        numbers[name], chosen[head] = round(results[best][name], 4), rates[best]
        numbers.update(
            {f'{name}_lr{rate:g}': round(result[name], 4) for rate, result in zip(rates, results, strict=True)}
        )
    return numbers, chosen
