"""Prediction of one projection from another (BYOL, arXiv 2006.07733, equation 2)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from ...arguments import Part
from ...registry import HEADS, NECKS
from ..layers.functional import l2_normalize, require_same_length


@HEADS.register_module()
class LatentPredictHead(nn.Module):
    """Minus two times the cosine between a prediction and its target.

    The paper's squared distance of unit vectors is this plus 2; the constant is left out as in the reference code.

    Args:
        predictor: config of a neck (usually `NonLinearNeckV2` with `with_avg_pool=False`), or a module.
        size_average: mean over the batch; False sums over it.
    """

    def __init__(self, predictor: Annotated[dict | nn.Module, Part(NECKS)], size_average: bool = True) -> None:
        super().__init__()
        self.predictor = predictor if isinstance(predictor, nn.Module) else NECKS.build(predictor)
        self.size_average = size_average

    def forward(self, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Loss, in [-2, 2] when averaged.

        Args:
            x: (N, D) projections to predict from.
            target: (N, D) projections to predict; pass them without a gradient.

        Raises:
            ShapeError: predictions are not as long as targets.
        """
        prediction = self.predictor(x)
        require_same_length(self, prediction, target)
        cosines = (l2_normalize(prediction) * l2_normalize(target)).sum(dim=1)
        return {'loss': -2 * (cosines.mean() if self.size_average else cosines.sum())}
