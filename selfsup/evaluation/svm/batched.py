"""The solver of the VOC2007 protocols by matrix products, on a CPU or a GPU.

Problems over the same samples are solved together, the small sets of the low-shot protocol one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ...errors import ConfigError
from .kernel import inner_products, solve_costs
from .newton import Basis, eigenbasis, solve, solve_path
from .voc07 import FOLDS, POSITIVE_WEIGHT, FullScores
from .voc07_labels import DIFFICULT, POSITIVE


class BatchedSolver:
    """Args: device: that computes; tolerance: see `newton.solve`.

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
        """One class after the other, each sample by itself."""
        basis = eigenbasis(train.to(self.device))
        others = [basis.coordinates(x.to(self.device)) for x in others]
        columns = torch.stack([target.T.to(self.device) for target in labels], dim=1)  # (classes, sets, N)
        weights = self._fit_sets(basis, columns.flatten(0, 1), costs).unflatten(0, columns.shape[:2])
        for of_class in weights:
            yield [of_class @ x.T for x in others]

    def _fit_sets(self, basis: Basis, columns: Tensor, costs: Sequence[float]) -> Tensor:
        """Weights (sets, costs, r), in the basis that all share; columns: (sets, N) labels."""
        width = basis.samples.shape[1]
        rows_of_sets = [(column != DIFFICULT).nonzero().flatten() for column in columns]
        if any(len(rows) <= width for rows in rows_of_sets):
            products, head = inner_products(basis.samples, 2 * POSITIVE_WEIGHT * max(costs))

        def fit(column: Tensor, rows: Tensor) -> Tensor:
            samples, signs = basis.samples[rows], torch.where(column[rows] == POSITIVE, 1.0, -1.0)
            class_weights = torch.where(signs > 0, POSITIVE_WEIGHT, 1.0)
            if len(rows) > width:  # the problem is smaller in terms of w
                loss_weights = class_weights * signs.new_tensor(costs)[:, None]
                return solve(samples[None], signs[None, None], loss_weights[None], tolerance=self.tolerance).weights[0]
            coefficients = solve_costs(products.of(rows), signs, class_weights, costs, self.tolerance)
            weights = coefficients.float() @ samples
            weights[:, head] = (coefficients @ samples[:, head].double()).float()
            return weights

        with _one_core_each(self.device) as pool:  # one set is too small to keep several cores busy
            return torch.stack(list(pool.map(fit, columns, rows_of_sets)))


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
