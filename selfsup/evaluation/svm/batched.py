"""The solver of the VOC2007 protocols that handles all SVMs together, on a CPU or a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ...errors import ConfigError
from .kernel import inner_products, solve_costs
from .newton import Basis, eigenbasis, own_bases, solve, solve_path
from .voc07 import FOLDS, POSITIVE_WEIGHT, FullScores
from .voc07_labels import DIFFICULT, POSITIVE

OWN_BASIS_SAMPLES = 160  # sets up to this size get an eigenbasis of their own: it costs less than it saves
NUMBERS_AT_ONCE = 2**26  # float32 in the samples of the sets that are solved together: 256 MiB


class BatchedSolver:
    """Args: device: that computes; tolerance: see `svm.solve`.

    Raises:
        ConfigError: there is no such device.
    """

    def __init__(self, device: torch.device | str = 'cpu', tolerance: float = 1e-4) -> None:
        try:
            self.device = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:  # torch raises either
            raise ConfigError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from None
        self.tolerance = tolerance

    def fit_full(
        self, train: Tensor, positive: Tensor, folds: Tensor, test: Tensor, costs: Sequence[float]
    ) -> FullScores:
        """All classes and folds at once, one cost after the other."""
        basis = eigenbasis(train.to(self.device))
        other = basis.coordinates(test.to(self.device))
        positive, folds = positive.T.to(self.device), folds.T.to(self.device)
        classes = len(positive)
        signs = torch.where(positive, 1.0, -1.0).repeat(FOLDS + 1, 1)[None]
        seen = torch.cat([torch.ones_like(positive), *(folds != fold for fold in range(FOLDS))])
        class_weights = torch.where(signs > 0, POSITIVE_WEIGHT, 1.0) * seen
        held_out = torch.empty(len(costs), *positive.shape, device=self.device)
        judged = torch.empty(len(costs), classes, len(test), device=self.device)
        for cost, solution in solve_path(basis.samples[None], signs, class_weights, costs, self.tolerance):
            at = list(costs).index(cost)
            of_folds = solution.scores[0, classes:].view(FOLDS, *positive.shape)
            held_out[at] = of_folds.gather(0, folds[None])[0]
            judged[at] = solution.weights[0, :classes] @ other.T
        return FullScores(held_out, judged)

    def fit_low_shot(
        self, train: Tensor, labels: Sequence[Tensor], others: Sequence[Tensor], costs: Sequence[float]
    ) -> Iterator[list[Tensor]]:
        """One class after the other; small samples in batches, large ones by their inner products."""
        basis = eigenbasis(train.to(self.device))
        others = [basis.coordinates(x.to(self.device)) for x in others]
        columns = torch.stack([target.T.to(self.device) for target in labels], dim=1)  # (classes, sets, N)
        weights = self._fit_sets(basis, columns.flatten(0, 1), costs).unflatten(0, columns.shape[:2])
        for of_class in weights:
            yield [of_class @ x.T for x in others]

    def _fit_sets(self, basis: Basis, columns: Tensor, costs: Sequence[float]) -> Tensor:
        """Weights (sets, costs, r), in the basis that all share; columns: (sets, N) labels."""
        rows = [(column != DIFFICULT).nonzero().flatten() for column in columns]
        width = basis.samples.shape[1]
        weights = basis.samples.new_empty(len(columns), len(costs), width)
        if any(OWN_BASIS_SAMPLES < len(r) <= width for r in rows):
            products, head = inner_products(basis.samples, 2 * POSITIVE_WEIGHT * max(costs))

        def fit_small(chosen: list[int]) -> None:
            samples, rotation = own_bases(torch.stack([basis.samples[rows[i]] for i in chosen]))
            signs, class_weights = _targets(torch.stack([columns[i, rows[i]] for i in chosen])[:, None])
            loss_weights = class_weights * signs.new_tensor(costs)[:, None]
            weights[chosen] = solve(samples, signs, loss_weights, tolerance=self.tolerance).weights @ rotation.mT

        def fit_large(chosen: int) -> None:
            of_set = rows[chosen]
            samples, (signs, class_weights) = basis.samples[of_set], _targets(columns[chosen, of_set])
            if len(of_set) > width:
                loss_weights = class_weights * signs.new_tensor(costs)[:, None]
                weights[chosen] = solve(
                    samples[None], signs[None, None], loss_weights[None], tolerance=self.tolerance
                ).weights[0]
            else:
                coefficients = solve_costs(products.of(of_set), signs, class_weights, costs, self.tolerance)
                weights[chosen] = coefficients.float() @ samples
                weights[chosen][:, head] = (coefficients @ samples[:, head].double()).float()

        large = []
        for size in sorted({len(r) for r in rows}):
            alike = [i for i, r in enumerate(rows) if len(r) == size]
            if size > min(OWN_BASIS_SAMPLES, width):
                large += alike
                continue
            at_once = max(1, NUMBERS_AT_ONCE // (size * width))
            for begin in range(0, len(alike), at_once):
                fit_small(alike[begin : begin + at_once])
        with _one_core_each(self.device) as pool:  # single large sets are too small to keep several cores busy
            for done in [pool.submit(fit_large, chosen) for chosen in large]:
                done.result()
        return weights


def _targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Signs y and class weights of labels of any shape."""
    signs = torch.where(labels == POSITIVE, 1.0, -1.0)
    return signs, torch.where(signs > 0, POSITIVE_WEIGHT, 1.0)


@contextlib.contextmanager
def _one_core_each(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Threads that run torch on one core each, as many as torch has cores; one thread for a GPU."""
    threads = torch.get_num_threads()
    workers = threads if device.type == 'cpu' else 1
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing new begins
        torch.set_num_threads(threads)  # MKL's number belongs to the whole process
