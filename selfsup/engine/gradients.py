"""What is done to gradients between the backward pass and the optimizer's step: clipping one by one, and dropping at first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import distributed as dist
from ..arguments import require
from ..contracts import Progress
from ..errors import ConfigError
from ..optim.options import Freeze, freeze_problems
from ..optim.paramwise import nearest_names

KEY = 'optimizer_config.freeze'


class FrozenAtFirst(NamedTuple):
    """Parameters that stay as they are at the beginning of a run.

    Attributes:
        parameters: which.
        iters: the optimizer steps at iterations 0 to `iters` - 1 leave them; iterations are micro-batches, as everywhere; or
        epochs: those of the epochs 0 to `epochs` - 1.
    """

    parameters: list[nn.Parameter]
    iters: int | None = None
    epochs: int | None = None

    def holds(self, at: Progress) -> bool:
        """Whether the step at that position leaves them."""
        return at.iteration < self.iters if self.iters is not None else at.epoch < (self.epochs or 0)


def frozen_at_first(model: nn.Module, rules: Sequence[Freeze] | None) -> list[FrozenAtFirst]:
    """The parameters that `optimizer_config.freeze` names.

    Args:
        model: the algorithm, not wrapped.
        rules: dicts of `parameters`, a regular expression that is searched (`re.search`) in the names of the parameters, and one of
            `iters` and `epochs`.

    Raises:
        ConfigError: a rule is not written so, or finds no parameter.
    """
    named = {name.removeprefix('module.'): p for name, p in model.named_parameters()}
    found = []
    for number, rule in enumerate(rules or ()):
        require(Freeze, rule, f'{KEY}.{number}')
        for problem in freeze_problems(rule):
            raise ConfigError(f'{KEY}.{number} {problem}')
        chosen = [p for name, p in named.items() if re.search(rule['parameters'], name)]
        if not chosen:
            raise ConfigError(
                f'{KEY}: {rule["parameters"]!r} matches no parameter of {type(model).__name__}, so nothing would be '
                f'frozen.{nearest_names(rule["parameters"], list(named))}'
            )
        found.append(FrozenAtFirst(chosen, rule.get('iters'), rule.get('epochs')))
    return found


@torch.no_grad()
def clip_each(parameters: Sequence[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Scale the gradient of each parameter by min(1, max_norm / (its norm + 1e-6)), as DINO's code does (`utils.clip_gradients`).

    Where weights are dealt out over processes a collective: the norm is that of the whole gradient. No step waits for the device.

    Args:
        parameters: with gradients.
        max_norm: largest norm that a gradient keeps, > 0.
        norm_type: which norm, > 0.

    Returns:
        Norms before clipping, (number of parameters,).
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(0)
    shares = [dist.local_share(grad) for grad in grads]
    norms = torch.stack(torch._foreach_norm(shares, norm_type))
    if any(dist.is_dealt(grad) for grad in grads):
        norms = dist.sum(norms**norm_type) ** (1 / norm_type)
    torch._foreach_mul_(shares, list((max_norm / (norms + 1e-6)).clamp(max=1.0).unbind()))
    return norms
