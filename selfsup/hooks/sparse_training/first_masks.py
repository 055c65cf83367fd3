"""Which weights of a model may be masked, and which of them are active at first."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ... import distributed as dist
from ...errors import ConfigError, SelfSupWarning, TrainingError
from ...optim import sparsity as sparse


def maskable(model: nn.Module, only: str = '') -> dict[str, nn.Parameter]:
    """Weights of the convolutions and linear layers that the optimizer trains, by name; those of momentum networks are not among them.

    Args:
        model: an algorithm, without DDP's wrapper.
        only: regex that must be found in the name (`re.search`).

    Raises:
        ConfigError: `only` is no regex, or is found in no name.
    """
    try:
        pattern = re.compile(only)
    except (re.error, TypeError) as error:
        raise ConfigError(f'SparseTrainingHook only={only!r} is no regular expression: {error}.') from None
    ids = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)}
    trained = {name: p for name, p in model.named_parameters() if id(p) in ids and p.requires_grad}
    chosen = {name: p for name, p in trained.items() if pattern.search(name)}
    if not chosen:
        shown = ', '.join(list(trained)[:5]) + (', ...' if len(trained) > 5 else '')
        raise ConfigError(
            f'SparseTrainingHook only={only!r} is found in none of the {len(trained)} weights of convolutions and linear '
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


def random_masks(
    weights: Mapping[str, nn.Parameter],
    densities: Mapping[str, float],
    density: float,
    generator: Callable[[int], torch.Generator],
) -> dict[str, Tensor]:
    """Masks with active weights at random places, without those of layers that are left dense.

    Args:
        weights: all that may be masked.
        densities: wanted of each layer.
        density: of all layers together, met exactly.
        generator: takes the number of a layer and returns the generator that its mask is drawn from.
    """
    counts = sparse.kept_counts({name: p.numel() for name, p in weights.items()}, densities, density)
    if empty := [name for name, count in counts.items() if count == 0]:
        warnings.warn(
            f'SparseTrainingHook leaves nothing of {len(empty)} layers ({", ".join(empty[:3])}): use a lower sparsity, or '
            "init='erk'.",
            SelfSupWarning,
            stacklevel=2,
        )
    return {
        name: sparse.sample_mask(tuple(weights[name].shape), count, generator(layer)).to(weights[name].device)
        for layer, (name, count) in enumerate(counts.items())
    }


def masks_of_zeros(weights: Mapping[str, nn.Parameter], sparsity: float | None) -> dict[str, Tensor]:
    """Masks whose active weights are those that are not zero; layers without zeros get none.

    Args:
        weights: all that may be masked.
        sparsity: what the config says; another share of zeros gives a warning.

    Raises:
        ConfigError: no weight is zero.
    """
    nonzero = {name: p.detach().ne(0).contiguous() for name, p in weights.items()}
    active = {name: int(mask.sum()) for name, mask in nonzero.items()}
    share = 1 - sum(active.values()) / sum(p.numel() for p in weights.values())
    if share == 0:
        raise ConfigError(
            "SparseTrainingHook init='resume' takes its masks from the zeros of the weights, and none is zero: load a "
            "sparse model with load_from or pretrained, or choose init='snip', 'erk' or 'uniform'."
        )
    if sparsity is not None and abs(share - sparsity) > 1e-3:
        warnings.warn(
            f"SparseTrainingHook init='resume' found sparsity {share:.4f} in the weights; sparsity={sparsity} is not used.",
            SelfSupWarning,
            stacklevel=2,
        )
    return {name: mask for name, mask in nonzero.items() if active[name] < sparse.DENSE * mask.numel()}
