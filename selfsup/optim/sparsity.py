"""Dynamic sparse training: how many weights each layer keeps, which ones, and how the choice moves.

Plain functions on tensors; `Masks`, at the end, holds those of a model and puts the functions together.

A mask is a contiguous bool tensor of its weight's shape; True: the weight is active, False: it is held at exact zero. The density of a
layer is its share of active weights, sparsity is 1 - density. Functions whose name ends in `_` change the mask they are given.

Sources: random growth SET (Mocanu et al. 2018, arXiv 1707.04780); ERK and growth by gradient RigL (Evci et al. 2020, arXiv 1911.11134,
section 3); growth by momentum (Dettmers, Zettlemoyer 2019, arXiv 1907.04840); SNIP (Lee et al. 2019, arXiv 1810.02340, equation 4);
together in SLaK (Liu et al. 2022, arXiv 2207.03620).

Differences from SLaK's code: masks and random growth have exact numbers, where it draws every weight on its own (`grow_bernoulli_` is
its way); pruning never counts an active weight that happens to be zero as one already removed; see also `snip_densities`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

DENSE = 0.99  # a layer of this density or more is left alone
ADAM_MOMENTS = ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq')


def uniform_densities(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """The same density for every layer."""
    return dict.fromkeys(shapes, density)


def erk_densities(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Erdos-Renyi-kernel: a layer's density is proportional to the sum of its shape over the product of it (RigL, section 3).

    Layers for which that would exceed 1 are dense, the others share the rest.

    Args:
        shapes: layer -> shape of its weight.
        density: of all weights together, in (0, 1].

    Returns:
        Layer -> density in (0, 1]; sum(density * size) is `density` times the number of weights.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    total = density * sum(sizes.values())
    dense: set[str] = set()
    while True:
        rest = [name for name in shapes if name not in dense]
        budget = total - sum(sizes[name] for name in dense)
        factor = budget / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        largest = max((raw[name] for name in rest), default=0.0)
        if largest * factor <= 1:
            return {name: 1.0 if name in dense else raw[name] * factor for name in shapes}
        dense |= {name for name in rest if raw[name] == largest}


def snip_densities(scores: Mapping[str, Tensor], density: float, share_ties: bool = True) -> dict[str, float]:
    """Densities from SNIP: the share of each layer in the weights with the largest scores |w * dL/dw|, over all layers.

    Args:
        scores: layer -> scores >= 0, of any shape.
        density: share of all weights that is kept, in [0, 1].
        share_ties: weights whose score equals the last one kept share what is left of the budget, so the densities add up to
            `density`. It matters where many scores are exactly zero, as of taps of a large kernel that see nothing but padding.
            False counts strictly larger scores only, as SLaK's code does: then such a network gets sparser than was asked for.

    Returns:
        Layer -> density in [0, 1].
    """
    joined = torch.cat([score.flatten() for score in scores.values()])
    number = int(joined.numel() * density)
    if number == 0:
        return dict.fromkeys(scores, 0.0)
    threshold = joined.kthvalue(joined.numel() - number + 1).values
    above = {name: int((score > threshold).sum()) for name, score in scores.items()}
    if not share_ties:
        return {name: above[name] / score.numel() for name, score in scores.items()}
    equal = {name: int((score == threshold).sum()) for name, score in scores.items()}
    share = (number - sum(above.values())) / sum(equal.values())
    return {name: (above[name] + share * equal[name]) / score.numel() for name, score in scores.items()}


def kept_counts(sizes: Mapping[str, int], densities: Mapping[str, float], density: float) -> dict[str, int]:
    """How many weights each masked layer keeps, so that all layers together have exactly the density that was asked for.

    Layers of density `DENSE` or more keep all weights; what they have too much is taken from the others, in proportion.

    Args:
        sizes: layer -> number of its weights.
        densities: layer -> wanted density.
        density: of all weights together.

    Returns:
        Layer -> number of active weights, without the dense layers.
    """
    sparse = [name for name in sizes if densities[name] < DENSE]
    budget = round(density * sum(sizes.values())) - sum(
        size for name, size in sizes.items() if densities[name] >= DENSE
    )
    wanted = {name: densities[name] * sizes[name] for name in sparse}
    scale = max(budget, 0) / (sum(wanted.values()) or 1)
    counts = {name: min(int(wanted[name] * scale), sizes[name]) for name in sparse}
    # The largest part cut off comes first.
    rounding = sorted(sparse, key=lambda name: counts[name] - wanted[name] * scale)
    for name in rounding[: max(0, budget - sum(counts.values()))]:
        counts[name] = min(counts[name] + 1, sizes[name])
    return counts


def sample_mask(shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """A mask on the CPU with `count` active weights at random places."""
    mask = torch.zeros(shape, dtype=torch.bool)
    grow_random_(mask, count, generator)
    return mask


def prune_smallest_(mask: Tensor, weight: Tensor, rate: float) -> int:
    """Take ceil(rate * active) active weights of least magnitude out of the mask; their number. Of equal ones the first goes first."""
    active = mask.view(-1).nonzero().squeeze(1)
    number = math.ceil(rate * len(active))
    order = weight.detach().flatten()[active].abs().sort(stable=True).indices
    mask.view(-1)[active[order[:number]]] = False
    return number


def grow_random_(mask: Tensor, number: int, generator: torch.Generator) -> None:
    """Activate exactly `number` inactive weights. The generator is one of the CPU: the same draw on any device and rank."""
    free = (~mask).view(-1).nonzero().squeeze(1)
    chosen = torch.randperm(len(free), generator=generator)[:number]
    mask.view(-1)[free[chosen.to(free.device)]] = True


def grow_bernoulli_(mask: Tensor, number: int, generator: torch.Generator) -> None:
    """Activate every inactive weight with probability `number` / inactive, so that the number varies (SLaK's code)."""
    free = (~mask).view(-1).nonzero().squeeze(1)
    if len(free):
        chosen = torch.rand(len(free), generator=generator) < number / len(free)
        mask.view(-1)[free[chosen.to(free.device)]] = True


def grow_largest_(mask: Tensor, number: int, score: Tensor) -> None:
    """Activate the `number` inactive weights of largest |score| (a gradient, say). Of equal ones the first goes first."""
    free = (~mask).view(-1).nonzero().squeeze(1)
    order = score.detach().flatten()[free].abs().sort(descending=True, stable=True).indices
    mask.view(-1)[free[order[:number]]] = True


def prune_rate_at(step: int, max_steps: int, start: float, end: float = 0.005) -> float:
    """Share of the active weights that is exchanged: half a cosine from `start` at step 0 to `end` at step `max_steps`."""
    return end + (start - end) * (1 + math.cos(math.pi * min(step / max_steps, 1.0))) / 2


def pack_mask(mask: Tensor) -> Tensor:
    """Eight weights per byte, for a checkpoint: uint8 (ceil(N / 8),) on the CPU; the first weight is the lowest bit."""
    bits = mask.flatten().cpu().to(torch.uint8)
    bits = torch.cat([bits, bits.new_zeros(-len(bits) % 8)]).view(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def unpack_mask(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `pack_mask`: bool of `shape`, on the CPU."""
    bits = packed.cpu()[:, None] >> torch.arange(8, dtype=torch.uint8) & 1
    return bits.flatten()[: math.prod(shape)].bool().view(shape)


class Change(NamedTuple):
    """What an exchange did to one layer."""

    pruned: int  # weights that were active and are not
    grown: int  # weights that were not and are


class Masks(dict[str, Tensor]):
    """The masks of a model by the names of their weights, on the devices of the weights; a weight without a mask is dense.

    Args:
        weights: every weight that may be masked, by name.
        growth: which zeros become active in an exchange: 'random', 'gradient' (largest gradient), 'momentum' (largest mean update; Adam's
            or SGD's), each as many as were pruned; 'bernoulli': a random number of random ones.
        mask_moments: `apply` holds Adam's moments at zero too. SGD's momentum always is, but with growth='momentum', which reads it.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], growth: str = 'random', mask_moments: bool = False) -> None:
        super().__init__()
        self.weights, self.growth = weights, growth
        self._moments = () if growth == 'momentum' else ('momentum_buffer', *(ADAM_MOMENTS if mask_moments else ()))
        self._active = 0  # weights that are not masked, of all

    @property
    def sparsity(self) -> float:
        """Share of zeros among all weights that may be masked."""
        return 1 - self._active / sum(weight.numel() for weight in self.weights.values())

    def assign(self, masks: Mapping[str, Tensor]) -> None:
        """Begin with `masks`."""
        self.update(masks)
        self._count()

    def _count(self) -> None:
        dense = sum(weight.numel() for name, weight in self.weights.items() if name not in self)
        self._active = dense + sum(int(mask.sum()) for mask in self.values())

    @torch.no_grad()
    def apply(self, optimizer: Optimizer | None = None) -> None:
        """Multiply weights, and where an optimizer is given its moments, by the masks."""
        for name, mask in self.items():
            weight = self.weights[name]
            weight.mul_(mask)
            state = {} if optimizer is None else optimizer.state.get(weight, {})
            for key in self._moments:
                if isinstance(moment := state.get(key), Tensor):
                    moment.mul_(mask)

    def exchange(
        self, rate: float, optimizer: Optimizer, generator: Callable[[int], torch.Generator]
    ) -> dict[str, Change]:
        """Prune the smallest active weights of every layer, then let as many weights grow in it.

        Args:
            rate: share of the active weights that is pruned, in [0, 1].
            optimizer: whose moments growth='momentum' reads.
            generator: number of a layer -> what its random growth draws from.

        Returns:
            What was done to each layer.
        """
        changes = {}
        for layer, (name, mask) in enumerate(self.items()):
            weight, before = self.weights[name], mask.clone()
            number = prune_smallest_(mask, weight, rate)
            if self.growth == 'random':
                grow_random_(mask, number, generator(layer))
            elif self.growth == 'bernoulli':
                grow_bernoulli_(mask, number, generator(layer))
            else:
                grow_largest_(mask, number, self._score(weight, optimizer))
            changes[name] = Change(pruned=int((before & ~mask).sum()), grown=int((mask & ~before).sum()))
        self._count()
        return changes

    def _score(self, weight: nn.Parameter, optimizer: Optimizer) -> Tensor:
        """What the growth sorts by; zeros for a weight that had no gradient yet."""
        if self.growth == 'gradient':
            return torch.zeros_like(weight) if weight.grad is None else weight.grad
        state = optimizer.state.get(weight, {})
        if 'exp_avg' in state:
            return state['exp_avg'] / (state['exp_avg_sq'].sqrt() + 1e-8)
        return state.get('momentum_buffer', torch.zeros_like(weight))

    def packed(self) -> dict[str, Tensor]:
        """The masks as bits, for a checkpoint."""
        return {name: pack_mask(mask) for name, mask in self.items()}

    def assign_packed(self, packed: Mapping[str, Tensor]) -> None:
        """Go on with the masks that `packed` gave."""
        self.assign(
            {
                name: unpack_mask(bits, self.weights[name].shape).to(self.weights[name].device)
                for name, bits in packed.items()
            }
        )
